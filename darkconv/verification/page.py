"""Write the report of a verification: the layers, or the outputs of a file, and their errors."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darkconv.files import PathLike, write_bytes
from darkconv.presentation.markup import escape
from darkconv.report.layer_chart import layer_chart
from darkconv.report.page import key_figures, page, section, table, verdict

if TYPE_CHECKING:
    from darkconv.verification.agreement import Agreement
    from darkconv.verification.results import FileVerification, LayerVerification

NOTE = (
    "Relative L2 error of each layer's output. A wrong layer spoils those that read it: the first "
    "wrong one is the one to look at. There is no bar where nothing differs at all."
)


def write_layer_report(path: PathLike, found: "LayerVerification") -> None:
    """Write the comparison of all layers as one HTML file.

    Args:
        path: the file to write.
        found: the result of the comparison.
    """
    title = f"Verification of {Path(found.network.file).stem}"
    one, other = found.frameworks
    lead = f"Every layer in {one} and in {other}, run on {found.given}."
    errors = [row.error for row in found.rows]
    chart = layer_chart(found.network.layers, errors, found.allowed)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(lead)}</p>",
        verdict(_layer_verdict(found), is_good=found.ok),
        _layer_figures(found),
        section("Error along the network", f'<p class="note">{NOTE}</p>', chart),
        section("All layers, worst first", _layer_table(found)),
    ]
    write_bytes(path, [page(title, parts).encode()])


def _layer_verdict(found: "LayerVerification") -> str:
    one, other = found.frameworks
    if (wrong := found.first_wrong) is None:
        return f"{one} and {other} agree on all {len(found.rows)} layers"
    return f"{one} and {other} disagree from layer {wrong.index} [{wrong.type}] on"


def _layer_figures(found: "LayerVerification") -> str:
    layer, worst = found.worst[0]
    wrong = found.first_wrong
    many = sum(not row.is_good for row in found.rows)
    first = ("none", "") if wrong is None else (str(wrong.index), f"[{wrong.type}]")
    return key_figures(
        [
            ("layers compared", str(len(found.rows)), f"{many} wrong"),
            ("values compared", f"{found.compared:,}", "in all layers"),
            ("worst error", _error(worst.error), f"layer {layer.index} [{layer.type}]"),
            ("allowed", f"{found.allowed:.0e}", "relative, for each layer"),
            ("first wrong", *first),
        ]
    )


def _layer_table(found: "LayerVerification") -> str:
    rows, marks = [], {}
    for place, (layer, row) in enumerate(found.worst):
        mark = found.mark(layer, row)
        if mark:
            marks[place] = "wrong first" if layer is found.first_wrong else "wrong"
        values = f"{row.compared:,}"
        rows.append(
            (str(layer.index), layer.type, _error(row.error), values, mark, str(layer.out_shape))
        )
    headers = ("layer", "type", "error", "values", "", "output")
    return table(headers, rows, left=(1, 4), marks=marks)


def write_output_report(path: PathLike, compared: "FileVerification") -> None:
    """Write the comparison of a file's outputs as one HTML file.

    Args:
        path: the file to write.
        compared: the result of the comparison.
    """
    name, model = Path(compared.file).name, Path(compared.network.file).name
    title = f"Verification of {name}"
    found = compared.rows
    wrong = [entry for entry in found if not entry.is_good]
    answer = (
        f"{name} gives what {model} gives"
        if not wrong
        else f"{name} does not give what {model} gives: {', '.join(e.name for e in wrong)}"
    )
    lead = f"Its outputs, and those of {model} in PyTorch, run on {compared.given}."
    marks = {place: "wrong" for place, entry in enumerate(found) if not entry.is_good}
    rows = [
        (e.name, _error(e.error), f"{e.allowed:.0e}", f"{e.compared:,}", e.verdict) for e in found
    ]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in compared.notes)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(lead)}</p>",
        verdict(answer, is_good=compared.ok),
        _output_figures(found),
        section(
            "Outputs",
            notes,
            table(("output", "error", "allowed", "compared", ""), rows, left=(0, 4), marks=marks),
        ),
    ]
    write_bytes(path, [page(title, parts).encode()])


def _output_figures(found: Sequence["Agreement"]) -> str:
    def share(entry: "Agreement") -> float:
        return math.inf if math.isnan(entry.error) else entry.error / (entry.allowed or 1e-30)

    worst = max(found, key=share)
    first = next((entry.name for entry in found if not entry.is_good), "")
    wrong = sum(not entry.is_good for entry in found)
    return key_figures(
        [
            ("outputs", str(len(found)), f"{wrong} wrong"),
            ("compared", f"{sum(e.compared for e in found):,}", "values, boxes and detections"),
            ("worst error", _error(worst.error), f"{worst.name}, {worst.allowed:.0e} allowed"),
            ("first wrong", first or "none", ""),
        ]
    )


def _error(error: float) -> str:
    return f"{error:.1e}" if math.isfinite(error) and error else f"{error:g}"
