"""Comparison of a converter's result with the ONNX file that it was made from, on noise."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.errors import DarkconvError

Values = npt.NDArray[Any]

ALLOWED = {False: 1e-4, True: 3e-2}
"""Largest difference that is allowed, as `error_of` returns it, without and with half precision."""


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


def error_of(found: Values, expected: Values, small: float = 0.0) -> float:
    """Return the largest difference as a share of the largest value.

    Args:
        found: output of the converter's result.
        expected: output of the ONNX file, of the same shape.
        small: summand of the largest value.
    """
    largest = float(np.abs(expected).max(initial=0)) + small
    difference = float(np.abs(found.astype(np.float64) - expected).max(initial=0))
    return difference / max(largest, 1e-12)


def wrong_numbers(who: str, name: str, bound: str, found: str) -> DarkconvError:
    """Return the error for an output with other numbers.

    Args:
        who: name of the program that computed them.
        name: name of the output.
        bound: difference that is allowed, in words.
        found: difference that was found, or another fault, as text.
    """
    return DarkconvError(
        f"{who} gives other numbers: {name}",
        expected=bound,
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
