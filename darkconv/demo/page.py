"""Write the page of `darkconv demo`: what was done, and what it cost and gained."""

from collections.abc import Sequence
from dataclasses import dataclass

from darkconv.core.model import Model
from darkconv.dissection.page import Seen, picture_pairs
from darkconv.files import PathLike, write_bytes
from darkconv.files.sizes import format_size
from darkconv.presentation.markup import escape
from darkconv.presentation.numerals import format_count, format_large, per_cent
from darkconv.report.page import key_figures, page, section, table


@dataclass(frozen=True, eq=False)
class Stage:
    """A model that the demo makes on its way.

    Attributes:
        name: name of the stage.
        model: the model.
        size: bytes of its weights file.
        torch_ms: milliseconds for a picture in PyTorch.
        onnx_ms: milliseconds for a picture in onnxruntime.
        precision: mean average precision over the classes that all stages know, 0..1.
    """

    name: str
    model: Model
    size: int
    torch_ms: float
    onnx_ms: float
    precision: float


@dataclass(frozen=True, eq=False)
class DemoReport:
    """The content of the page.

    Attributes:
        stages: the models, from the first to the last.
        conditions: description of how latency was measured.
        checks: results of the checks, a sentence each.
        pictures: pictures with the detections of the first and the last model.
        files: name and bytes of each file that was made.
        seconds: time of the whole demo.
    """

    stages: Sequence[Stage]
    conditions: str
    checks: Sequence[str]
    pictures: Sequence[Seen]
    files: Sequence[tuple[str, int]]
    seconds: float


def write_demo_report(path: PathLike, report: DemoReport) -> None:
    """Write the page as one HTML file.

    Args:
        path: the file to write.
        report: the content of the page.
    """
    first, last = report.stages[0], report.stages[-1]
    names = ", ".join(last.model.names)
    title = f"From {len(first.model.names)} digits to {len(last.model.names)}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>A Darknet detector, converted, cut down to {escape(names)}, pruned, taught again by "
        "the uncut model on pictures without labels, and exported: "
        f"all in {report.seconds:.0f} s.</p>",
        _figures(first, last),
        section("Step by step", _stages(report.stages), _note(report.conditions)),
        section("What was checked", _list(report.checks)),
        section("The first model and the last", picture_pairs(report.pictures)),
        section(
            "Files",
            '<p>What the channels do: <a href="dissection.html">the dissection</a>.</p>',
            table(("file", "size"), [(name, format_size(size)) for name, size in report.files]),
        ),
    ]
    write_bytes(path, [page(title, parts).encode()])


def _figures(first: Stage, last: Stage) -> str:
    old, new = first.model.network, last.model.network
    return key_figures(
        [
            _figure("parameters", old.parameters, new.parameters, format_count(new.parameters)),
            _figure("MACs", old.macs, new.macs, format_large(new.macs)),
            _figure("ms a picture, ONNX", first.onnx_ms, last.onnx_ms, f"{last.onnx_ms:.2f}"),
            ("AP@0.5", f"{per_cent(last.precision)} %", f"{per_cent(first.precision)} % before"),
        ]
    )


def _figure(name: str, before: float, after: float, shown: str) -> tuple[str, str, str]:
    return name, shown, f"{after / max(before, 1e-9):.0%} of the first model's"


def _stages(stages: Sequence[Stage]) -> str:
    headers = ("", "classes", "parameters", "MACs", "weights", "ms, PyTorch", "ms, ONNX", "AP@0.5")
    rows = [
        (
            stage.name,
            str(len(stage.model.names)),
            format_count(stage.model.network.parameters),
            format_large(stage.model.network.macs),
            format_size(stage.size),
            f"{stage.torch_ms:.2f}",
            f"{stage.onnx_ms:.2f}",
            f"{per_cent(stage.precision)} %",
        )
        for stage in stages
    ]
    return table(headers, rows)


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
