"""Reading golden cases, and the tolerances of DESIGN.md §6."""

import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import darkconv as dc

BACKENDS = ("torch", "onnx", "keras")
LAYER_TOLERANCE = 1e-4  # relative L2 error of a layer of a whole network


@dataclass(frozen=True)
class Case:
    """A folder with net.cfg, layout.json, expected.npz and perhaps weights."""

    folder: Path
    weights: Path

    @cached_property
    def layout(self) -> dict[str, Any]:
        return json.loads((self.folder / "layout.json").read_text())

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "expected.npz") as arrays:
            return dict(arrays)

    @cached_property
    def model(self) -> dc.Model:
        size = (self.layout["width"], self.layout["height"])
        logging.getLogger("darkconv").setLevel(logging.ERROR)
        try:
            return dc.load(
                self.folder / "net.cfg",
                self.weights,
                dialect=self.layout["dialect"],
                input_size=size if all(size) else None,
            )
        finally:
            logging.getLogger("darkconv").setLevel(logging.NOTSET)

    def segments(self) -> list[tuple[str, tuple[int, ...]]]:
        """Key and shape of every array in the file."""
        return [
            (f"{s['layer']}.{s['sub'] + '.' if s.get('sub') else ''}{s['kind']}", tuple(s["shape"]))
            for s in self.layout["segments"]
        ]


def is_folder(path: Path) -> bool:
    """Whether a path is a case."""
    return path.is_dir()


def has_detections(path: Path) -> bool:
    """Whether a case has boxes to compare."""
    return path.is_dir() and "detections" in json.loads((path / "layout.json").read_text())


def stored_arrays(model: dc.Model) -> list[tuple[str, tuple[int, ...]]]:
    """Key and shape of every array that a weights file holds."""
    return [
        (key, slot.stored_shape) for key, _, slot in model.network.keyed_slots() if slot.stored_size
    ]


def assert_close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """The tolerance of the micro suite."""
    assert found.shape == expected.shape, what
    error = np.abs(found - expected).max(initial=0)
    limit = 1e-5 + 1e-4 * np.abs(expected).max(initial=0)
    assert error <= limit, f"{what}: off by {error:.2e}, allowed {limit:.2e}"


def relative_error(found: np.ndarray, expected: np.ndarray, norm: float | None = None) -> float:
    """L2 error over the expected norm (or over a norm known from elsewhere)."""
    difference = np.linalg.norm((found - expected).astype(np.float64).ravel())
    size = np.linalg.norm(expected.astype(np.float64).ravel()) if norm is None else norm
    if size == 0:
        return 0.0 if difference == 0 else np.inf
    return float(difference / size)


def assert_small_error(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """The tolerance of whole networks."""
    assert found.shape == expected.shape, what
    error = relative_error(found, expected)
    assert error <= LAYER_TOLERANCE, f"{what}: {error:.2e}"
