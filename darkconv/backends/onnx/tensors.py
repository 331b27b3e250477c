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
    """Weights times a factor, which are multiplied whenever they are read.

    Attributes:
        weights: float32 array.
        factor: float64 array with as many axes, each of length 1 or of the weights' length.
        where: place of the layer, for messages.
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
        """Yield the bytes, computed a few rows at a time; a piece is valid until the next one.

        Three passes over data in the cache are faster than one pass that also converts the dtype.

        Yields:
            Bytes of consecutive rows.
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
    """Yield the bytes of a tensor; those that lie in a memory map are not copied.

    These are split into pieces, too. Linux keeps the data of one large write in large pages, and
    where it must make room for them, writing takes several times as long.

    Args:
        tensor: tensor of any kind.

    Yields:
        Consecutive bytes in ONNX's order.
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
    """Return the first row of each piece of about `PIECE` bytes; the step is a piece's rows.

    Args:
        array: array of one or more axes.
    """
    return range(0, len(array), max(1, PIECE * len(array) // max(1, array.nbytes)))


def as_bytes(array: npt.NDArray[np.generic]) -> memoryview:
    """Return the bytes of an array as ONNX stores them: in C order, little-endian.

    Args:
        array: array of any dtype and layout.
    """
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return little.reshape(-1).view(np.uint8).data
