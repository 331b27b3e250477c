"""The whole way from a model to a smaller one: cut classes, prune, refit, recover, report."""

from darkconv.dissection.pipeline import dissect
from darkconv.dissection.result import Dissection
from darkconv.dissection.specimen import Specimen, examine

__all__ = ["Dissection", "Specimen", "dissect", "examine"]
