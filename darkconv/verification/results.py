"""Hold the result of a verification: of all layers in two frameworks, or of a file's outputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkconv.arguments import checked
from darkconv.core.network import Layer, Network
from darkconv.files import PathLike
from darkconv.presentation.notebook import html_table
from darkconv.verification.agreement import Agreement


@dataclass(frozen=True, eq=False, repr=False)
class Verification:
    """The result of comparing a model with a framework or a file.

    Attributes:
        rows: one row for each figure: a layer, an output, or a property of detections.
        given: description of the inputs that both ran on.
        notes: remarks that a reader of the rows has to know.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> _ = dc.export(model, "digits10.onnx")
        >>> check = dc.verify(model, "digits10.onnx")
        >>> check.ok, check.compared > 0
        (True, True)
    """

    rows: Sequence[Agreement]
    given: str
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Return True if there is a row and all rows are good."""
        return bool(self.rows) and all(row.is_good for row in self.rows)

    @property
    def compared(self) -> int:
        """Return the number of values, boxes and detections that were compared."""
        return sum(row.compared for row in self.rows)

    @property
    def subject(self) -> str:
        """Return a description of what was compared."""
        return "model"

    def to_dict(self) -> dict[str, Any]:
        """Return the dictionary that `darkconv verify --json` prints; infinite errors are None."""
        return {
            "ok": self.ok,
            "compared": self.compared,
            "given": self.given,
            "notes": list(self.notes),
            "rows": [row.to_dict() for row in self.rows],
        }

    @checked
    def report(self, path: PathLike) -> None:
        """Write the result as one HTML file.

        Args:
            path: the file to write.

        Raises:
            DarkconvError: the file cannot be written.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the verdict in one line."""
        word = "agree" if self.ok else "DISAGREE"
        wrong = sum(not row.is_good for row in self.rows)
        more = f"; {wrong} of {len(self.rows)} rows wrong" if wrong else ""
        return f"<Verification: {self.subject} {word}; {self.compared:,} values compared{more}>"

    def _repr_html_(self) -> str:
        cells = [
            (row.name, f"{row.error:.1e}", f"{row.allowed:.0e}", f"{row.compared:,}", row.verdict)
            for row in self.rows
        ]
        headers = ("", "error", "allowed", "compared", "")
        return html_table(headers, cells, (0, 4), [repr(self)[1:-1], f"on {self.given}"])


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LayerVerification(Verification):
    """Every layer of a network in two frameworks; the rows are in the network's order.

    Attributes:
        network: the network that was run.
        frameworks: names of the two frameworks, as their projects write them: ("PyTorch", "ONNX").
    """

    network: Network
    frameworks: tuple[str, str]

    @property
    def subject(self) -> str:
        """Return the names of the two frameworks."""
        return " and ".join(self.frameworks)

    @property
    def allowed(self) -> float:
        """Return the smallest error that is allowed in any layer."""
        return min(row.allowed for row in self.rows)

    @property
    def first_wrong(self) -> Layer | None:
        """Return the first layer of the network that is wrong; None where all are good."""
        return next((layer for layer, row in self._pairs if not row.is_good), None)

    @property
    def worst(self) -> list[tuple[Layer, Agreement]]:
        """Return all layers with their rows, the largest error first."""
        return sorted(self._pairs, key=lambda pair: (pair[1].is_good, -pair[1].error))

    @property
    def _pairs(self) -> Iterator[tuple[Layer, Agreement]]:
        return zip(self.network.layers, self.rows, strict=True)

    def mark(self, layer: Layer, row: Agreement) -> str:
        """Return the text that a table shows beside a layer, or "" where the layer is good.

        Args:
            layer: the layer.
            row: its row.
        """
        if row.is_good:
            return ""
        word = "first wrong" if layer is self.first_wrong else "wrong"
        return f"{word}: {row.remark}" if row.remark else word

    def to_dict(self) -> dict[str, Any]:
        """Return the dictionary that `--json` prints, the worst layer first."""
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

    @checked
    def report(self, path: PathLike) -> None:
        """Write an HTML page: the error along the network, and all layers, the worst first.

        Args:
            path: the file to write.

        Raises:
            DarkconvError: the file cannot be written.
        """
        from darkconv.verification.page import write_layer_report

        write_layer_report(path, self)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FileVerification(Verification):
    """The outputs of a file, compared with those of the model that it was made from.

    Attributes:
        network: the network of the model.
        file: path of the file that was compared.
    """

    network: Network
    file: str

    @property
    def subject(self) -> str:
        """Return a description with the name of the file."""
        return f"model and {Path(self.file).name}"

    @checked
    def report(self, path: PathLike) -> None:
        """Write an HTML page: the outputs with their errors.

        Args:
            path: the file to write.

        Raises:
            DarkconvError: the file cannot be written.
        """
        from darkconv.verification.page import write_output_report

        write_output_report(path, self)
