"""Inputs and outputs of a layer-by-layer trace, the same for every backend."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from darkconv.core.model import Array, Model
from darkconv.core.shape import Shape
from darkconv.core.unchanging import address_of
from darkconv.errors import DarkconvError

Runner = Callable[[Model, Sequence[Array]], list[list[Array]]]
"""Runs a model on the inputs (N, ...) of successive calls; returns one array (N, ...) per layer
and call."""


def trace(model: Model, x: Array | list[Array], run: Runner) -> list[Array] | list[list[Array]]:
    """Run a model and return every layer's output, with the shape that it has in the C program.

    Args:
        model: model to run; a picture of another size than the cfg's acts like `input_size`.
        x: one input, or a list of inputs for successive calls with kept state.
        run: runner of a backend.

    Returns:
        float32 arrays, (C, H, W) for maps and (values,) for vectors, with a batch axis in front
        where the input has one. No two share memory. For a list of inputs, a list of such lists.

    Raises:
        DarkconvError: an input is not an array of a fitting shape, or successive inputs differ in
            shape.
    """
    inputs = [_as_numbers(step) for step in (x if isinstance(x, list) else [x])]
    if not inputs:
        return []
    batched = [is_batched(step, model.network.input_shape) for step in inputs]
    if len({step.shape for step in inputs}) > 1:
        raise DarkconvError("successive inputs differ in shape")
    model = with_input_of(model, inputs[0])
    shape = model.network.input_shape
    steps = [_with_batch(step, shape) for step in inputs]
    results = [
        [_shaped(value, layer.out_shape, has_batch) for value, layer in pairs]
        for has_batch, pairs in (
            (b, zip(values, model.network.layers, strict=True))
            for b, values in zip(batched, _apart(run(model, steps), steps), strict=True)
        )
    ]
    return results if isinstance(x, list) else results[0]


def _as_numbers(x: object) -> Array:
    try:
        values = np.asarray(x, np.float32)
    except (TypeError, ValueError):
        raise DarkconvError("input", expected="an array", found=type(x).__name__) from None
    if getattr(x, "dtype", None) == np.uint8:
        raise DarkconvError(
            "input", expected="levels from 0 to 1 as float32", found="an array of uint8",
            hint="grey levels become x.astype('float32') / 255",
        )  # fmt: skip
    if not values.size:
        raise DarkconvError("input", expected="an array with values", found=values.shape)
    return values


def is_batched(x: Array, shape: Shape) -> bool:
    """Return True if an input has a batch axis.

    Args:
        x: input of the network.
        shape: the network's input shape, without a batch axis.
    """
    if shape.is_map:
        return x.ndim == 4
    return x.ndim == 2 or x.ndim == 4


def with_input_of(model: Model, x: Array) -> Model:
    """Return the model for pictures of an input's size.

    Args:
        model: model whose network may have another input size.
        x: input, (C, H, W) or (N, C, H, W) for a network of pictures.

    Raises:
        DarkconvError: the input has another number of channels or axes.
    """
    shape = model.network.input_shape
    if not shape.is_map:
        return model
    if x.ndim not in (3, 4) or x.shape[-3] != shape.c:
        raise DarkconvError(
            "input", expected=f"({shape.c}, H, W) or (N, {shape.c}, H, W)", found=x.shape
        )
    return model.with_input_size(x.shape[-1], x.shape[-2])


def _with_batch(x: Array, shape: Shape) -> Array:
    if shape.is_map:
        return np.ascontiguousarray(x if x.ndim == 4 else x[None])
    try:
        return np.ascontiguousarray(x.reshape(-1, shape.size))
    except ValueError:
        raise DarkconvError(
            "input", expected=f"({shape.size},) or (N, {shape.size})", found=x.shape
        ) from None


def _apart(results: Iterable[Sequence[Array]], inputs: Sequence[Array]) -> Iterator[list[Array]]:
    """Yield the values of each call; copy those that share memory with an input or each other.

    A layer that passes its input on, or takes channels of it, need not copy it.
    """
    met = [_bounds(x) for x in inputs]
    for values in results:
        apart = []
        for value in values:
            start, end = _bounds(value)
            is_shared = any(start < other_end and other < end for other, other_end in met)
            apart.append(value.copy() if is_shared or not value.flags.writeable else value)
            met.append((start, end))
        yield apart


def _bounds(array: Array) -> tuple[int, int]:
    """Return the addresses at which an array begins and ends in memory."""
    reach = [(size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)]
    start = address_of(array)
    ahead, behind = sum(max(r, 0) for r in reach), sum(min(r, 0) for r in reach)
    return start + behind, start + ahead + array.itemsize


def _shaped(value: Array, shape: Shape, has_batch: bool) -> Array:
    each = tuple(shape) if shape.is_map else (shape.size,)
    return value.reshape(-1, *each) if has_batch else value.reshape(each)
