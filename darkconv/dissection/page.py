"""The HTML report of a dissection: what was removed, what is left, and what the result detects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.detection import Detection
from darkconv.detection.draw import draw
from darkconv.dissection.outcome_page import quality_section, search_section
from darkconv.dissection.quality import Quality
from darkconv.dissection.search import Search
from darkconv.files import PathLike, write_bytes
from darkconv.pictures.picture import read_picture
from darkconv.presentation.markup import escape
from darkconv.presentation.numerals import per_cent
from darkconv.report.gallery import embedded
from darkconv.report.histogram import Doubles, Mask
from darkconv.report.page import key, key_figures, page, section, table
from darkconv.surgery.channels import makes_channels
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.profile import Profile
from darkconv.surgery.profile_page import OPEN_LAYERS, layer_plots

PICTURE_WIDTH = 560
STATES = {
    "pruned": "of the pruned one. Nothing has made up for the channels that are gone: refitting "
    "and training come next, and boxes that are missing here may come back.",
    "refitted": "of the pruned one, whose weights are refitted. It is not trained yet: boxes that "
    "are missing here come back by training (darkconv dissect --recover, darkconv finetune "
    "--teacher).",
    "recovered": "of the pruned one, refitted and taught by the uncut model.",
}
"""Descriptions of the model whose boxes the second column of pictures shows, by its state."""
KEY = (
    ("kept", "stays"),
    ("removed", "goes"),
    ("cut", "the highest score that goes; guards keep some that score lower"),
)


@dataclass(frozen=True)
class Measured:
    """The cost of a model.

    Attributes:
        size: bytes of its weights file.
        latency: milliseconds for a picture.
    """

    size: int
    latency: float


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture with the detections of the models before and after."""

    path: Path
    before: Sequence[Detection]
    after: Sequence[Detection]


@dataclass(frozen=True, eq=False)
class DissectionReport:
    """The content of a report.

    Attributes:
        original: the model before the dissection.
        cut: the model of the kept classes before pruning; plan and profile are of it.
        final: the resulting model.
        profile: profile of `cut`.
        plan: pruning plan for `cut`.
        score: name of the score.
        scores: scores (channels,) of each layer of `cut` with a channel that can be removed; NaN
            where one is locked.
        measured: cost of the original and of the final model.
        conditions: description of how the latency was measured.
        pictures: sample pictures.
        threshold: lowest score of the boxes that are drawn, 0..1.
        state: what was done last to the result: "pruned", "refitted" or "recovered".
        quality: quality of each state of the model; empty if it was not measured.
        measured_on: description of the pictures that the quality was measured on.
        search: trials of the search for the smallest model; None without a search.
    """

    original: Model
    cut: Model
    final: Model
    profile: Profile
    plan: PrunePlan
    score: str
    scores: Mapping[int, Doubles]
    measured: tuple[Measured, Measured]
    conditions: str
    pictures: Sequence[Seen]
    threshold: float
    state: str = "pruned"
    quality: Mapping[str, Quality] = field(default_factory=dict)
    measured_on: str = ""
    search: Search | None = None


def write_dissection_report(path: PathLike, report: DissectionReport) -> None:
    """Write a report as one HTML file.

    Args:
        path: the HTML file.
        report: content of the page.
    """
    title = f"Dissection of {Path(report.original.network.file).stem}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_summary(report))}</p>",
        _figures(report),
        quality_section(report.quality, report.measured_on),
        search_section(report.search),
        section("Sample pictures", _pictures(report)) if report.pictures else "",
        section("Layers before and after", _layer_table(report)),
        section("What the channels do, and where the cut lies", key(KEY), *_histograms(report)),
    ]
    write_bytes(path, [page(title, parts).encode()])


def _summary(report: DissectionReport) -> str:
    before, after = len(report.original.names), len(report.final.names)
    removed = sum(
        layer.out_shape.c - len(report.plan.keep[layer.index])
        for layer in report.cut.network.layers
        if layer.index in report.plan.keep and makes_channels(layer)
    )
    names = ", ".join(report.final.names)
    classes = f"Kept {after} of {before} classes: {names}. " if after < before else ""
    taught = " Then the uncut model taught what was left." if report.state == "recovered" else ""
    return (
        f"{classes}Removed {removed:,} channels that matter least by the score {report.score}, "
        f"profiled on {report.profile.pictures:,} pictures.{taught}"
    )


def _figures(report: DissectionReport) -> str:
    before, after = report.measured
    costs = [_costs(model) for model in (report.original, report.final)]
    pairs = (
        ("parameters", costs[0][0], costs[1][0], "{:,.0f}", ""),
        ("MACs", costs[0][1] / 1e6, costs[1][1] / 1e6, "{:,.1f} M", ""),
        ("weights file", before.size / 1e6, after.size / 1e6, "{:,.2f} MB", ""),
        ("ms a picture", before.latency, after.latency, "{:.1f}", f"; {report.conditions}"),
    )
    figures = [
        (name, form.format(new), f"of {form.format(old)}, {new / max(old, 1e-9):.0%}{remark}")
        for name, old, new, form, remark in pairs
    ]
    return key_figures(figures)


def _costs(model: Model) -> tuple[int, int]:
    return model.network.parameters, model.network.macs


def _pictures(report: DissectionReport) -> str:
    note = (
        f"Boxes of the kept classes with a score above {report.threshold:g}, of the model before "
        f"the dissection and {STATES[report.state]}"
    )
    pairs = picture_pairs(report.pictures, after=report.state)
    return f'<p class="note">{escape(note)}</p>{pairs}'


def picture_pairs(pictures: Sequence[Seen], after: str = "after") -> str:
    """Return HTML that shows each picture twice: with the detections before, and after.

    Args:
        pictures: pictures with their detections, which are read and drawn now.
        after: title of the second column.
    """
    cells = ["<h3>before</h3>", f"<h3>{escape(after)}</h3>"]
    for seen in pictures:
        for moment, found in (("before", seen.before), (after, seen.after)):
            cells.append(_picture(seen.path, found, moment))
    return f'<div class="pictures">{"".join(cells)}</div>'


def _picture(path: Path, found: Sequence[Detection], moment: str) -> str:
    data = embedded(draw(read_picture(path), found), PICTURE_WIDTH)
    listed = ", ".join(f"{d.name} {per_cent(d.score)} %" for d in found) or "nothing found"
    text = escape(f"{path.name} {moment}: {listed}", quote=True)
    return (
        f'<figure><img src="{data}" alt="{text}">'
        f"<figcaption>{escape(path.name)}: {escape(listed)}</figcaption></figure>"
    )


def _layer_table(report: DissectionReport) -> str:
    """Return a table of the layers with arrays, of the original and of the final model."""
    pairs = zip(report.original.network.layers, report.final.network.layers, strict=True)
    rows = [_row(old, new) for old, new in pairs if old.slots]
    costs = (_costs(model) for model in (report.original, report.final))
    total = ("", "all", "", *(_change(*pair) for pair in zip(*costs, strict=True)))
    headers = ("layer", "type", "channels", "parameters", "MACs")
    return table(headers, rows, left=(1,), total=total)


def _row(old: Layer, new: Layer) -> tuple[str, ...]:
    return (
        str(old.index),
        old.type,
        _change(old.out_shape.c, new.out_shape.c),
        _change(old.parameters, new.parameters),
        _change(old.macs, new.macs),
    )


def _change(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} \N{RIGHTWARDS ARROW} {after:,}"


def _histograms(report: DissectionReport) -> list[str]:
    layers = [layer for layer in report.cut.network.layers if makes_channels(layer)]
    pruned = [layer for layer in layers if layer.index in report.plan.keep]
    pruned.sort(key=lambda layer: len(report.plan.keep[layer.index]) - layer.out_shape.c)
    return [_layer(report, layer, is_open=layer in pruned[:OPEN_LAYERS]) for layer in layers]


def _layer(report: DissectionReport, layer: Layer, *, is_open: bool) -> str:
    removed: Mask = np.ones(layer.out_shape.c, bool)
    removed[report.plan.keep.get(layer.index, slice(None))] = False
    scores = report.scores.get(layer.index)
    marked = None
    if scores is not None:
        gone = scores[removed & np.isfinite(scores)]
        marked = (report.score, scores, float(gone.max()) if len(gone) else None)
    return layer_plots(
        layer,
        report.profile.layers[layer.index],
        is_open=is_open,
        removed=removed,
        score=marked,
    )
