"""Format the models that can be fetched, and a fetched model, as lines and cells of tables."""

from collections.abc import Iterator, Mapping

from darkconv.darknet.cfg import read_cfg
from darkconv.files.sizes import format_size
from darkconv.presentation.numerals import format_count
from darkconv.zoo.fetch import Fetched
from darkconv.zoo.models import MODELS, Published
from darkconv.zoo.requirement import usual_size

HEADERS = ("name", "classes", "size", "source")


def sizes() -> dict[str, int]:
    """Return the bytes of the weights of each model, as documented or computed from its cfg."""
    return {model.name: model.size or usual_size(read_cfg(model.cfg)) for model in MODELS.values()}


def rows(sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return the cells of all models under `HEADERS`.

    Args:
        sizes: bytes of the weights by name, the result of `sizes()`.
    """
    return [
        (
            model.name,
            f"{format_count(model.classes.count)} {model.classes.data_set}",
            format_size(sizes[model.name]),
            model.source,
        )
        for model in MODELS.values()
    ]


def fetched_lines(model: Published, found: Fetched) -> Iterator[str]:
    """Yield where the weights are, and whether they are the published ones.

    Args:
        model: the model.
        found: its files.
    """
    state = "" if found.address else " is there already"
    published = ", as published" if found.sha256 == model.sha256 else ""
    yield f"{found.weights}{state}: {format_count(found.size)} bytes"
    yield f"SHA-256 {found.sha256}{published}"
