"""Holding what a converter made against the ONNX file that it was made of, on noise."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.errors import DarkconvError

Values = npt.NDArray[Any]

ALLOWED = {False: 1e-4, True: 3e-2}
"""Differences, as `error_of` has them, in float32 and in half precision."""
SMALL = 0.1
"""Is added to the largest value: on noise a detector's scores may all be next to nothing, and their
logits, which are large then, are rounded."""


def onnxruntime_outputs(path: Path) -> tuple[dict[str, Values], dict[str, Values]]:
    """Return noise for the inputs of an ONNX file, and what onnxruntime gives of it, by name."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {one.name: noise(one) for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    return inputs, dict(zip(names, session.run(names, inputs), strict=True))


def error_of(found: Values, expected: Values) -> float:
    """Return the largest difference, as a share of the largest value and `SMALL`."""
    largest = float(np.abs(expected).max(initial=0)) + SMALL
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0)) / largest


def wrong_numbers(who: str, name: str, allowed: float, found: str) -> DarkconvError:
    """Return the error for an output that has other numbers.

    Args:
        who: has made them.
        name: of the output.
        allowed: see `ALLOWED`.
        found: how far they are off.
    """
    return DarkconvError(
        f"{who} gives other numbers: {name}",
        expected=f"within {allowed:g} of onnxruntime's largest value and {SMALL:g}",
        found=found,
    )


def noise(one: Any) -> Values:
    """Return an input of onnxruntime's: levels, thresholds, or a picture of noise."""
    shape = [axis if isinstance(axis, int) else 1 for axis in one.shape]
    stream = np.random.default_rng(0)
    if one.type == "tensor(uint8)":
        return stream.integers(0, 256, shape).astype(np.uint8)
    return stream.random(shape).astype(np.float32)
