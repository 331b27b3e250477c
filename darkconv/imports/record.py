"""What an import took, by which rule, and how it was checked."""

from dataclasses import dataclass, field
from typing import Any

from darkconv.core.model import Model


@dataclass(frozen=True)
class Imported:
    """A model made of another tool's file, and how.

    Attributes:
        file: the other tool's.
        kind: what it is, in words.
        rule: what told which of its layers is which.
        layers: of the cfg that got arrays.
        arrays: how many were taken.
        left: names of arrays that stay in the file, as no Darknet layer has them.
        notes: differences of meaning, and what was done about them.
        proof: what was computed to check it, a line each.
        doubts: what did not agree, or could not be computed.
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
        """Return what a user should read, a line each."""
        head = (
            f"{self.file}: {self.kind}: {self.arrays} arrays of {self.layers} layers, "
            f"by {self.rule}"
        )
        stays = [f"stays in the file: {_few(self.left)}"] if self.left else []
        proof = [f"checked: {line}" for line in self.proof]
        return [head, *self.notes, *stays, *proof, *self.doubts]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold, without the model."""
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
