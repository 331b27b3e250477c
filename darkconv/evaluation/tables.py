"""Format the figures of an evaluation as cells of a table, for the terminal and for pages."""

from collections.abc import Iterator

from darkconv.evaluation.figures import ClassFigures
from darkconv.evaluation.result import BoxEvaluation, ClassEvaluation, Evaluation
from darkconv.presentation.numerals import per_cent

OF_CLASSIFIER = ("class", "pictures", "right", "most often taken for")
"""Headers of the table of a classifier."""


def box_headers(at: float) -> tuple[str, ...]:
    """Return the headers of the table of a detector.

    Args:
        at: score above which precision and recall are measured.
    """
    return (
        "class", "boxes", "AP", f"AP at {at:g}", "11-point", "COCO AP50", "COCO AP",
        f"precision at {at:g}", f"recall at {at:g}",
    )  # fmt: skip


def box_row(one: ClassFigures) -> tuple[str, ...]:
    """Return the cells of a class of a detector, in per cent.

    Args:
        one: the figures of the class.
    """
    shares = (one.ap, one.ap_at, one.ap11, one.coco50, one.coco, one.precision, one.recall)
    return (one.name, f"{one.boxes or 0:,}", *map(per_cent, shares))


def mean_row(result: BoxEvaluation) -> tuple[str, ...]:
    """Return the cells of the mean, which has neither precision nor recall.

    Args:
        result: the evaluation of a detector.
    """
    return (*box_row(result.mean)[:-2], "", "")


def left_out_rows(result: BoxEvaluation) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the classes of labels that the model does not have.

    Args:
        result: the evaluation of a detector.
    """
    for one in result.left_out:
        yield (one.name, f"{one.boxes:,}", "not a class of the model", *[""] * 6)


def class_rows(result: ClassEvaluation) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the classes of a classifier.

    Args:
        result: the evaluation of a classifier.
    """
    for one in result.classes:
        yield one.name, f"{one.pictures or 0:,}", per_cent(one.top1), one.taken_for or ""


def top_lines(result: ClassEvaluation) -> Iterator[str]:
    """Yield a line with the top-k accuracy of a classifier for each k.

    Args:
        result: the evaluation of a classifier.
    """
    for k, share in result.counts.top.items():
        yield f"top-{k} {100 * share:6.1f} %"


def seconds_line(result: Evaluation) -> str:
    """Return a line with the number of pictures and the time of each step.

    Args:
        result: the evaluation of a detector or a classifier.
    """
    parts = ", ".join(f"{name} {1000 * value:.1f}" for name, value in result.seconds.items())
    total = 1000 * sum(result.seconds.values())
    return f"{len(result.pictures)} pictures, {total:.1f} ms each: {parts}"
