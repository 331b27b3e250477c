"""The result of checking a data set, as lines of text and cells of tables."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from darkconv.dataset.check import KINDS, Check, ClassCount
from darkconv.dataset.sample import DatasetLayout
from darkconv.presentation.numerals import counted, format_count

if TYPE_CHECKING:
    from darkconv.dataset.anchors import Anchors

OF_ANCHORS = ("anchor", "width", "height", "boxes", "share")
OF_CLASSES = ("class", "boxes", "share", "pictures", "mean width", "mean height")
SHOWN = 10  # the most files of names, of labels, and splits in a line


def head_lines(result: Check) -> Iterator[str]:
    """Yield lines on a data set's layout, on how it was read, and on its size.

    Args:
        result: the result of the check.
    """
    for layout in result.layouts:
        yield from layout_lines(layout)
    yield from result.notes
    yield (
        f"{counted(result.pictures, 'picture')}, {format_count(len(result.empty))} without a box, "
        f"{counted(result.boxes, 'box', 'boxes')}"
    )


def layout_lines(layout: DatasetLayout) -> Iterator[str]:
    """Yield lines on the layout of a source, with the files of its names, labels and splits.

    Args:
        layout: the layout of one of the sources.
    """
    yield f"{layout.source}: {layout.form}"
    none = "nothing: classes are numbers" if layout.numbered and layout.labels_from else "no file"
    splits = [f"{name} (read)" if name == layout.split else name for name in layout.splits]
    for word, places in (
        ("names", layout.names_from or (none,)),
        ("labels", layout.labels_from or ("nothing",)),
        ("splits", splits or ("none",)),
    ):
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        yield f"  {word}: {', '.join(places[:SHOWN])}{more}"


def class_row(one: ClassCount, result: Check) -> tuple[object, ...]:
    """Return the cells of a class under `OF_CLASSES`.

    Args:
        one: the counts of the class.
        result: the result of the check, whose totals give the percentages.
    """
    whole, part = (result.boxes, one.boxes) if result.boxes else (result.pictures, one.pictures)
    sizes = ("" if value != value else f"{value:.1%}" for value in (one.width, one.height))
    share = f"{part / max(whole, 1):.1%}"
    return one.name, format_count(one.boxes), share, format_count(one.pictures), *sizes


def finding_lines(result: Check, *, most: int | None) -> Iterator[tuple[str, bool]]:
    """Yield the findings as lines, each with True if it is a heading.

    Args:
        result: the result of the check.
        most: the most findings of a kind to show; None for all.
    """
    for kind, lines in result.findings.items():
        if not lines:
            continue
        yield f"{KINDS[kind]}: {format_count(len(lines))}", True
        for line in lines[:most]:
            yield f"  {line}", False
        if most is not None and len(lines) > most:
            yield f"  ... and {format_count(len(lines) - most)} more: --all shows them", False
    if not any(result.findings.values()):
        yield "nothing is wrong with pictures and labels", False


def anchor_rows(found: "Anchors") -> list[tuple[object, ...]]:
    """Return the cells of all anchors under `OF_ANCHORS`.

    Args:
        found: the result of `dc.anchors`.
    """
    return [
        (number, f"{width:.4g}", f"{height:.4g}", count, f"{count / found.boxes:.1%}")
        for number, ((width, height), count) in enumerate(
            zip(found.anchors.tolist(), found.counts.tolist(), strict=True)
        )
    ]
