"""Data sets: pictures with labelled boxes, from every form in which users have them."""

from darkconv.dataset.open import open_dataset
from darkconv.dataset.sample import Dataset, Sample, only_classes

__all__ = ["Dataset", "Sample", "only_classes", "open_dataset"]
