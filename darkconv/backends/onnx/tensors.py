"""The bytes of an ONNX file's large arrays, piece by piece."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from darkconv.core.model import Array
from darkconv.errors import Where
from darkconv.layers.folding import Doubles, multiply, told_overflow

PIECE = 1 << 18  # bytes computed at a time: they stay in the processor's cache until written


class ScaledTensor(ir.LazyTensor):
    """Weights times a factor, multiplied whenever they are asked for.

    Attributes:
        weights: float32.
        factor: of as many axes, each of length 1 or as long.
        where: the layer that they are of.
    """

    def __init__(self, weights: Array, factor: Doubles, where: Where) -> None:
        super().__init__(self._product, ir.DataType.FLOAT, ir.Shape(weights.shape))
        self.weights = weights
        self.factor = factor
        self.where = where

    def _product(self) -> ir.TensorProtocol:
        with told_overflow(self.where):
            return ir.Tensor(multiply(self.weights, self.factor))

    def pieces(self) -> Iterator[memoryview]:
        """The bytes, computed a few rows at a time; each piece lasts until the next.

        Three passes over what the cache holds are quicker than one that casts as it goes.
        """
        ranges = row_ranges(self.weights)
        products = np.empty(self.weights[: ranges.step].shape, np.float64)
        rounded = np.empty(products.shape, np.float32)
        for start in ranges:
            rows = slice(start, start + ranges.step)
            weights = self.weights[rows]
            double, single = products[: len(weights)], rounded[: len(weights)]
            with told_overflow(self.where):
                np.copyto(double, weights)
                double *= self.factor[rows] if len(self.factor) > 1 else self.factor
                np.copyto(single, double, casting="same_kind")
            yield as_bytes(single)


def pieces(tensor: ir.TensorProtocol) -> Iterator[memoryview]:
    """The bytes of a tensor; what lies in a memory map is not copied.

    That is cut, too: Linux keeps what one large write brings in large pages, and where it has to
    make room for these, writing takes several times as long.
    """
    if isinstance(tensor, ScaledTensor):
        yield from tensor.pieces()
        return
    array = tensor.numpy()
    if array.flags.c_contiguous:
        data = as_bytes(array)
        yield from (data[start : start + PIECE] for start in range(0, len(data), PIECE))
        return
    ranges = row_ranges(array)
    for start in ranges:
        yield as_bytes(array[start : start + ranges.step])


def row_ranges(array: npt.NDArray[np.generic]) -> range:
    """Starts of steps of about `PIECE` bytes along the first axis."""
    return range(0, len(array), max(1, PIECE * len(array) // max(1, array.nbytes)))


def as_bytes(array: npt.NDArray[np.generic]) -> memoryview:
    """An array as ONNX stores it: in C's order, little endian."""
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return little.reshape(-1).view(np.uint8).data
