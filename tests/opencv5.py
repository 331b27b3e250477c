"""OpenCV 5 beside the OpenCV 4 of the tests: an environment of its own, and a process in it.

Both are called cv2, so that one process cannot have them at once.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from environments import Environment
from worker import Worker

ENVIRONMENT = Environment(
    "opencv5", ("opencv-python-headless>=5,<6", "numpy>=2"), constrained=False
)
PROGRAM = Path(__file__).with_name("opencv5_worker.py")

Outputs = Mapping[str, np.ndarray]


class OpenCV5:
    """A process with OpenCV 5, started anew after a crash. A context manager."""

    def __init__(self) -> None:
        command = [ENVIRONMENT.python(), PROGRAM]
        self._worker = Worker(command, {"OPENCV_LOG_LEVEL": "SILENT"})
        self._folder = Path(tempfile.mkdtemp(prefix="opencv5-"))

    def __enter__(self) -> "OpenCV5":
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stop()
        shutil.rmtree(self._folder)

    def load(self, file: Path | bytes, engine: str = "auto") -> list[str]:
        """Load an ONNX file.

        Args:
            file: it, or what would be in it.
            engine: "auto", "new" or "classic".

        Returns: the names of its outputs.

        Raises:
            WorkerError: OpenCV does not take it.
        """
        if isinstance(file, bytes):
            path = self._folder / "net.onnx"
            path.write_bytes(file)
            file = path
        self.outputs: list[str] = self._worker.ask(load=str(file), engine=engine)["outputs"]
        return self.outputs

    def run(self, inputs: Outputs) -> dict[str, np.ndarray]:
        """The outputs of the file that was loaded, by name.

        Raises:
            WorkerError: OpenCV cannot run it.
        """
        paths = [self._folder / name for name in ("inputs.npz", "outputs.npz")]
        np.savez(paths[0], **inputs)
        self._worker.ask(run=str(paths[0]), into=str(paths[1]))
        with np.load(paths[1]) as arrays:
            return dict(zip(self.outputs, arrays.values(), strict=True))


def first_inputs(session: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """Of an onnxruntime session: the network's input, and states of zeros."""
    first, *states = session.get_inputs()
    zeros = {state.name: np.zeros((len(x), *state.shape[1:]), np.float32) for state in states}
    return {first.name: x.reshape(len(x), -1) if len(first.shape) == 2 else x, **zeros}


def share_of_allowed(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference as a share of 1e-5 + 1e-4 max|expected|: DESIGN.md §6."""
    if found.shape != expected.shape or not expected.size:
        return 0.0 if found.size == expected.size == 0 else np.inf
    difference = np.abs(np.where(found == expected, 0, found - expected))
    share = float(difference.max() / (1e-5 + 1e-4 * np.abs(expected).max()))
    return np.inf if np.isnan(share) else share


def in_order_of(found: Outputs, expected: Outputs) -> dict[str, np.ndarray]:
    """What suppression left of one picture, in another order where scores are nearly equal.

    Args:
        found: `boxes`, `scores`, `classes` and `count`.
        expected: the same; each of its entries takes the nearest one found.
    """
    left = list(range(found["count"][0]))
    order = list(range(expected["boxes"].shape[1]))
    for place in range(min(len(left), expected["count"][0])):
        nearest = min(left, key=lambda i: distance(found, i, expected, place))
        left.remove(nearest)
        order[place] = nearest
    return {**found, **{n: found[n][:, order] for n in ("boxes", "scores", "classes")}}


def distance(found: Outputs, i: int, expected: Outputs, place: int) -> float:
    """Between two entries; that of other classes is never the nearest."""
    if found["classes"][0, i] != expected["classes"][0, place]:
        return np.inf
    return max(np.abs(found[n][0, i] - expected[n][0, place]).max() for n in ("boxes", "scores"))
