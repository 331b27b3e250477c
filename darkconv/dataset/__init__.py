"""Data sets: pictures with labelled bounding boxes, read from every common layout."""

from darkconv.dataset.class_folders import ClassifiedDataset, open_classified
from darkconv.dataset.open import list_splits, open_dataset, open_splits
from darkconv.dataset.sample import Dataset, Sample, only_classes

__all__ = [
    "ClassifiedDataset",
    "Dataset",
    "Sample",
    "list_splits",
    "only_classes",
    "open_classified",
    "open_dataset",
    "open_splits",
]
