"""The whole way from a model to a smaller one for some classes: cut, profile, prune, refit."""

from darkconv.dissection.pipeline import Specimen, dissect, examine
from darkconv.dissection.result import Dissection

__all__ = ["Dissection", "Specimen", "dissect", "examine"]
