"""The record of an import: which arrays were read, by which rule, and how they were checked."""

from dataclasses import dataclass, field
from typing import Any

from darkconv.core.model import Model


@dataclass(frozen=True)
class Imported:
    """A model made from another tool's file, with the record of how it was made.

    Attributes:
        file: the path of the other tool's file.
        kind: the kind of the file in words.
        rule: how its layers were paired with the cfg's.
        layers: the number of the cfg's layers that got arrays.
        arrays: the number of the file's arrays that were read.
        left: names of the arrays that were not read, as no Darknet layer has them.
        notes: differences in what the programs compute, and what was done about them.
        proof: the checks that were computed, a line each.
        doubts: the checks that disagreed, or could not be computed.
        model: the result.
    """

    file: str
    kind: str
    rule: str
    layers: int
    arrays: int
    left: tuple[str, ...]
    notes: tuple[str, ...]
    proof: tuple[str, ...]
    doubts: tuple[str, ...]
    model: Model = field(repr=False)

    def lines(self) -> list[str]:
        """Return the record as lines for the user."""
        head = (
            f"{self.file}: {self.kind}: {self.arrays} arrays of {self.layers} layers, "
            f"by {self.rule}"
        )
        stays = [f"stays in the file: {_few(self.left)}"] if self.left else []
        proof = [f"checked: {line}" for line in self.proof]
        return [head, *self.notes, *stays, *proof, *self.doubts]

    def to_dict(self) -> dict[str, Any]:
        """Return the record without the model, as values that JSON can hold."""
        return {
            "file": self.file,
            "kind": self.kind,
            "rule": self.rule,
            "layers": self.layers,
            "arrays": self.arrays,
            "left": list(self.left),
            "notes": list(self.notes),
            "proof": list(self.proof),
            "doubts": list(self.doubts),
        }


def _few(names: tuple[str, ...], most: int = 3) -> str:
    words = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
    if len(names) > most and len(words) <= most:
        return f"{len(names)} arrays {', '.join(words)}"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
