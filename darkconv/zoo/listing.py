"""What can be fetched, and what has come, in words and in cells of tables."""

from collections.abc import Iterator, Mapping

from darkconv.darknet.cfg import read_cfg
from darkconv.files.sizes import format_size
from darkconv.presentation.numerals import format_count
from darkconv.zoo.fetch import Fetched
from darkconv.zoo.models import MODELS, Published
from darkconv.zoo.requirement import usual_size

HEADERS = ("name", "classes", "size", "source")


def sizes() -> dict[str, int]:
    """Return the bytes of the weights of each model, as documented or as its cfg says."""
    return {model.name: model.size or usual_size(read_cfg(model.cfg)) for model in MODELS.values()}


def rows(sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return the cells under `HEADERS`; `sizes` are those of `sizes()`."""
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
    """Yield where the weights are, and whether they are those that were published."""
    state = "" if found.address else " is there already"
    published = ", as published" if found.sha256 == model.sha256 else ""
    yield f"{found.weights}{state}: {format_count(found.size)} bytes"
    yield f"SHA-256 {found.sha256}{published}"
