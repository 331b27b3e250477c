"""Comparison of a converter's result with the ONNX file that it was made from, on noise."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.errors import DarkconvError

Values = npt.NDArray[Any]

ALLOWED = {False: 1e-4, True: 3e-2}
"""Largest difference that is allowed, as `error_of` returns it, without and with half precision."""
SMALL = 0.1
"""Summand of the largest value. On noise all scores of a detector may be near zero, though their
logits, which are rounded, are large."""


def onnxruntime_outputs(path: Path) -> tuple[dict[str, Values], dict[str, Values]]:
    """Return noise for the inputs of an ONNX file, and its outputs in onnxruntime, both by name.

    Args:
        path: path of the ONNX file.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {one.name: noise(one) for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    return inputs, dict(zip(names, session.run(names, inputs), strict=True))


def error_of(found: Values, expected: Values) -> float:
    """Return the largest difference, divided by the sum of the largest value and `SMALL`.

    Args:
        found: output of the converter's result.
        expected: output of the ONNX file, of the same shape.
    """
    largest = float(np.abs(expected).max(initial=0)) + SMALL
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0)) / largest


def wrong_numbers(who: str, name: str, allowed: float, found: str) -> DarkconvError:
    """Return the error for an output with other numbers.

    Args:
        who: name of the program that computed them.
        name: name of the output.
        allowed: difference that is allowed: see `ALLOWED`.
        found: difference that was found, or another fault, as text.
    """
    return DarkconvError(
        f"{who} gives other numbers: {name}",
        expected=f"within {allowed:g} of onnxruntime's largest value and {SMALL:g}",
        found=found,
    )


def noise(one: Any) -> Values:
    """Return noise for an input of onnxruntime: levels, thresholds, or a picture.

    Args:
        one: onnxruntime's description of the input; free lengths become 1.
    """
    shape = [axis if isinstance(axis, int) else 1 for axis in one.shape]
    stream = np.random.default_rng(0)
    if one.type == "tensor(uint8)":
        return stream.integers(0, 256, shape).astype(np.uint8)
    return stream.random(shape).astype(np.float32)
