"""Views of a data set: a line of text, and a table for notebooks."""

from darkconv.dataset.sample import Dataset
from darkconv.presentation.notebook import html_table

MOST_NAMED = 10


def as_text(dataset: Dataset) -> str:
    """Return a line of text with the counts of a data set.

    Args:
        dataset: the data set to describe.
    """
    names = ", ".join(dataset.names[:MOST_NAMED])
    more = ", ..." if len(dataset.names) > MOST_NAMED else ""
    classes = f" ({names}{more})" if names else ""
    return f"Dataset {', '.join(_caption(dataset))}{classes}"


def as_html(dataset: Dataset) -> str:
    """Return an HTML table with a row for each class.

    Args:
        dataset: the data set to describe.
    """
    rows = [
        (name, f"{boxes:,}", f"{pictures:,}")
        for name, (boxes, pictures) in dataset.counts().items()
    ]
    return html_table(("class", "boxes", "pictures"), rows, (0,), caption=_caption(dataset))


def _caption(dataset: Dataset) -> list[str]:
    boxes = sum(len(sample.names) for sample in dataset.samples)
    lines = [
        f"{dataset.source}: {len(dataset):,} pictures",
        f"{boxes:,} boxes",
        f"{len(dataset.names):,} classes",
    ]
    if dataset.problems:
        lines.append(f"{len(dataset.problems):,} problems")
    return lines
