"""Write the report of a detector's evaluation."""

import math
from collections.abc import Sequence
from pathlib import Path

from darkconv.errors import DatasetError
from darkconv.evaluation.comparison import Comparison
from darkconv.evaluation.confusion import pairs
from darkconv.evaluation.curves import curves
from darkconv.evaluation.result import BoxEvaluation
from darkconv.evaluation.tables import box_headers, box_row, mean_row
from darkconv.evaluation.unread import unread_section
from darkconv.files import PathLike, write_bytes
from darkconv.presentation.markup import escape
from darkconv.presentation.numerals import per_cent
from darkconv.report.gallery import KEY, DrawnBox, framed
from darkconv.report.matrix import matrix
from darkconv.report.page import key, key_figures, page, section, table

LEGEND = (
    "AP, precision and recall are in per cent; IoU is a share. AP is of all detections by their "
    "rank, AP, precision and recall at a score of those above it alone, 11-point AP the mean of "
    "precision at 11 recalls; COCO AP the mean over IoU 0.50 to 0.95, COCO AP50 at IoU 0.50."
)
DASH = "\N{EN DASH}"
SHOWN = 4
"""Number of pictures that are shown of each kind."""


def write_evaluation_report(path: PathLike, result: BoxEvaluation) -> None:
    """Write the report as one HTML file.

    Args:
        path: the file to write.
        result: the evaluation of a detector.
    """
    title = f"Evaluation of {result.model}"
    comparison, at = result.comparison, result.at
    confusion = comparison.confusion(at)
    counted = f"Detections that score above {at:g}, at IoU {confusion.overlap:g}."
    taken = "Rows are true classes, columns what was found; the last of them what was not."
    shape = (
        f"The number is the area under the curve, AP, in per cent; a dot marks the score {at:g}."
    )
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_summary(result))}</p>",
        _figures(result),
        section("Classes", _note(LEGEND), _class_table(result)),
        _left_out(result),
        unread_section(result, "Their boxes count as missed."),
        section(
            "Precision over recall", _note(shape), curves(comparison.classes, comparison.judged, at)
        ),
        section(
            "What is taken for what",
            _note(f"{counted} {taken}"),
            matrix(confusion.labels, (*confusion.classes, "missed"), confusion.counts),
        ),
        _pictures(result),
        section("Time of a picture", _time_table(result)),
    ]
    write_bytes(path, [page(title, parts).encode()])


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _summary(result: BoxEvaluation) -> str:
    rule = result.comparison.rule
    return (
        f"{result.mean.boxes or 0:,} boxes of {len(result.classes):,} classes in "
        f"{len(result.pictures):,} pictures of {result.source}. "
        f"A box is right from an IoU of {rule.overlap:g} on, by the rule {rule.name}."
    )


def _figures(result: BoxEvaluation) -> str:
    at, mean = result.at, result.mean
    sure = [one.above(at) for one in result.comparison.judged]
    right, found = sum(int(one.right.sum()) for one in sure), sum(len(one.right) for one in sure)
    truths = sum(one.truths for one in sure)
    least = min(result.classes, key=lambda one: math.inf if one.ap is None else one.ap)
    total, network = sum(result.seconds.values()), result.seconds.get("network", 0)
    return key_figures(
        [
            ("mean AP", _per_cent(mean.ap), f"lowest: {least.name} {_per_cent(least.ap)}"),
            (
                "COCO AP",
                _per_cent(mean.coco),
                f"IoU 0.50:0.95; {_per_cent(mean.coco50)} at 0.50",
            ),
            (
                f"precision at {at:g}",
                _per_cent(right / found if found else None),
                f"{right:,} of {found:,} detections are right",
            ),
            (
                f"recall at {at:g}",
                _per_cent(right / truths if truths else None),
                f"{right:,} of {truths:,} boxes are found",
            ),
            ("ms a picture", f"{1000 * total:.1f}", f"network {1000 * network:.1f}"),
        ]
    )


def _per_cent(share: float | None) -> str:
    """Return a share in per cent with its unit, or a dash, as in a sentence."""
    return _percent(share) if share is None else f"{_percent(share)} %"


def _percent(share: float | None) -> str:
    return DASH if share is None else per_cent(share)


def _class_table(result: BoxEvaluation) -> str:
    rows = [
        (*_dashed(box_row(one)), f"{one.overlap:.2f}" if one.overlap else DASH)
        for one in result.classes
    ]
    total = (*_dashed(mean_row(result)), "")
    return table((*box_headers(result.at), "mean IoU"), rows, total=total)


def _dashed(cells: Sequence[str]) -> list[str]:
    """Return the cells of a page, with an en dash for what could not be measured."""
    return [*cells[:2], *(DASH if cell == "-" else cell for cell in cells[2:])]


def _left_out(result: BoxEvaluation) -> str:
    if not result.left_out:
        return ""
    rows = [(one.name, f"{one.boxes:,}", ", ".join(one.nearest)) for one in result.left_out]
    note = _note("Classes of the labels that the model does not have; their boxes do not count.")
    headers = ("class", "boxes", "nearest of the model")
    return section("Left out", note, table(headers, rows, left=(0, 2)))


def _time_table(result: BoxEvaluation) -> str:
    total = sum(result.seconds.values())
    rows = [
        (step, f"{1000 * seconds:.1f} ms", f"{seconds / (total or 1):.0%}")
        for step, seconds in result.seconds.items()
    ]
    headers = ("step", "time", "share")
    whole = ("all", f"{1000 * total:.1f} ms", "")
    note = _note(f"The mean over all pictures; the network ran in {result.runner}.")
    return note + table(headers, rows, total=whole)


def _pictures(result: BoxEvaluation) -> str:
    """Return a section of evenly spaced pictures, and of those with the most mistakes."""
    frames = [_frames(result.comparison, i, result.at) for i in range(len(result.pictures))]
    mistakes = [sum(f.kind in ("wrong", "missed") for f in own) for own in frames]
    step = max(1, len(frames) // SHOWN)
    some = list(range(0, len(frames), step))[:SHOWN]
    rest = sorted(set(range(len(frames))) - set(some), key=lambda i: (-mistakes[i], i))
    worst = [i for i in rest if mistakes[i]][:SHOWN]
    groups = (("From all over the data", some), ("Most mistakes", worst))
    parts = []
    for title, chosen in groups:
        figures = [_figure(result.pictures[i], frames[i]) for i in chosen]
        if any(figures):
            gallery = f'<div class="gallery">{"".join(figures)}</div>'
            parts.append(f"<h3>{title}</h3>{gallery}")
    return section("Pictures", key(KEY), *parts) if parts else ""


def _figure(path: Path, frames: Sequence[DrawnBox]) -> str:
    kinds = [frame.kind for frame in frames]
    counts = {kind: kinds.count(kind) for kind in ("right", "wrong", "missed")}
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    try:
        return framed(path, frames, listed or "nothing there, nothing found")
    except DatasetError:  # it was reported when the picture was read
        return ""


def _frames(comparison: Comparison, place: int, at: float) -> list[DrawnBox]:
    """Return the ground truth and the detections in a picture as frames, the right ones last."""
    rows = comparison.truths[place]
    sure = [d for d in comparison.found[place] if d.score > at]
    frames = []
    for i, j in pairs(sure, rows, comparison.rule):
        truth = None if i == len(rows) else comparison.classes[int(rows[i, 0])]
        found = None if j == len(sure) else sure[j]
        if truth is not None and (found or not rows[i, 5]):
            text = "" if found else truth
            frames.append(DrawnBox("true" if found else "missed", tuple(rows[i, 1:5]), text))
        if found:
            text = f"{found.name} {per_cent(found.score)} %"
            if truth not in (None, found.name):
                text += f" (is {truth})"
            frames.append(DrawnBox("right" if truth == found.name else "wrong", found.box, text))
    order = ("true", "missed", "wrong", "right")
    return sorted(frames, key=lambda frame: order.index(frame.kind))
