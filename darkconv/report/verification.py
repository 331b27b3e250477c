"""The report of a verification: which layers, or which outputs of a file, are as they should be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkconv.core.markup import escape
from darkconv.core.network import Layer, Network
from darkconv.files import PathLike, write_bytes
from darkconv.report.layer_chart import layer_chart
from darkconv.report.page import key_figures, page, section, table, verdict

if TYPE_CHECKING:
    from darkconv.verification.agreement import Agreement, Verification

NOTE = (
    "Relative L2 error of each layer's output. A wrong layer spoils those that read it: the first "
    "wrong one is the one to look at. There is no bar where nothing differs at all."
)


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """Every layer of a network in two frameworks.

    Attributes:
        network: that was run.
        rows: how far each of its layers is off, in the network's order.
        frameworks: what was compared.
        given: what was run through it, in words.
    """

    network: Network
    rows: Sequence["Agreement"]
    frameworks: tuple[str, str]
    given: str

    @property
    def ok(self) -> bool:
        """Whether all layers agree."""
        return bool(self.rows) and self.first_wrong is None

    @property
    def compared(self) -> int:
        """How many values were compared."""
        return sum(row.compared for row in self.rows)

    @property
    def allowed(self) -> float:
        """The most that is right in every layer."""
        return min(row.allowed for row in self.rows)

    @property
    def first_wrong(self) -> Layer | None:
        """The first layer, in the network's order, that is not good."""
        pairs = zip(self.network.layers, self.rows, strict=True)
        return next((layer for layer, row in pairs if not row.is_good), None)

    @property
    def worst(self) -> list[tuple[Layer, "Agreement"]]:
        """All layers with their errors, those with the largest first."""
        pairs = zip(self.network.layers, self.rows, strict=True)
        return sorted(pairs, key=lambda pair: (pair[1].is_good, -pair[1].error))

    def mark(self, layer: Layer, row: "Agreement") -> str:
        """What a table says beside a layer."""
        if row.is_good:
            return ""
        word = "first wrong" if layer is self.first_wrong else "wrong"
        return f"{word}: {row.remark}" if row.remark else word

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints: the worst first, and which are wrong."""
        rows = [
            {
                "layer": layer.index,
                "type": layer.type,
                **row.to_dict(),
                "first_wrong": layer is self.first_wrong,
            }
            for layer, row in self.worst
        ]
        return {"ok": self.ok, "compared": self.compared, "given": self.given, "rows": rows}


@dataclass(frozen=True, eq=False)
class OutputComparison:
    """The outputs of a file, and those of the model that it was made from.

    Attributes:
        network: of the model.
        file: that was compared.
        found: what was compared of it.
    """

    network: Network
    file: PathLike
    found: "Verification"


def write_layer_report(path: PathLike, found: LayerComparison) -> None:
    """Write what came of comparing layers as one HTML file."""
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


def _layer_verdict(found: LayerComparison) -> str:
    one, other = found.frameworks
    if (wrong := found.first_wrong) is None:
        return f"{one} and {other} agree on all {len(found.rows)} layers"
    return f"{one} and {other} disagree from layer {wrong.index} [{wrong.type}] on"


def _layer_figures(found: LayerComparison) -> str:
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


def _layer_table(found: LayerComparison) -> str:
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


def write_output_report(path: PathLike, compared: OutputComparison) -> None:
    """Write what came of comparing a file's outputs as one HTML file."""
    name, model = Path(compared.file).name, Path(compared.network.file).name
    title = f"Verification of {name}"
    found = compared.found.rows
    wrong = [entry for entry in found if not entry.is_good]
    answer = (
        f"{name} gives what {model} gives"
        if not wrong
        else f"{name} does not give what {model} gives: {', '.join(e.name for e in wrong)}"
    )
    lead = f"Its outputs, and those of {model} in PyTorch, run on {compared.found.given}."
    marks = {place: "wrong" for place, entry in enumerate(found) if not entry.is_good}
    rows = [
        (e.name, _error(e.error), f"{e.allowed:.0e}", f"{e.compared:,}", e.verdict) for e in found
    ]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in compared.found.notes)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(lead)}</p>",
        verdict(answer, is_good=compared.found.ok),
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
