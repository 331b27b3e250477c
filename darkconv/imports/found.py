"""The content of another tool's file: arrays by name, and the layers that they make up."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.core.network import Layer
from darkconv.core.unchanging import frozen
from darkconv.errors import WeightsError, Where

Values = npt.NDArray[Any]

FLOATS = ("float16", "bfloat16", "float32", "float64")
"""The dtypes that are accepted; all but float64 become float32 without loss."""
SPACE_TO_DEPTH = "a plain space-to-depth"
INNER = "inner_biases"
"""The name of the biases that a convolution adds before its batch norm; Darknet has none there."""
RATIOS = "ratios"
"""The name of the numbers by which a program weights a [shortcut]'s sources, by its own rule."""
NORM = ("scales", "rolling_mean", "rolling_variance")


@dataclass(frozen=True)
class FoundArray:
    """An array of a file, not read yet.

    Attributes:
        name: its name in the file.
        shape: its shape in the file.
        dtype: its dtype in the file, such as "float32".
        read: reads its values; the file has to be open.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Values]

    def values(self, file: str) -> Array:
        """Return the array as float32, in the file's layout.

        Args:
            file: the file's name for messages.

        Raises:
            WeightsError: the array holds no floating-point numbers.
        """
        if self.dtype not in FLOATS:
            raise WeightsError(
                "has numbers of another type",
                where=Where(file=file, option=self.name),
                expected=" or ".join(FLOATS),
                found=self.dtype,
                hint=_hint(self.dtype),
            )
        return frozen(self.read().astype(np.float32, copy=False))


def _hint(dtype: str) -> str:
    """Return advice about a dtype that is not accepted."""
    if "int" in dtype:
        return "quantised weights are rounded; import the file from before"
    if dtype == "meta":
        return "it has shapes alone; save the model once its weights are there"
    if dtype == "sparse":
        return "in PyTorch, to_dense() makes a plain array of it"
    return "Darknet's files hold float32; in the program, float() converts them"


@dataclass(frozen=True)
class LayerArray:
    """An array of a layer, with the way to Darknet's layout.

    Attributes:
        found: the array in the file.
        order: the axes of the file's array in Darknet's order; () leaves them as they are.
        is_flat_map: True if the first axis of a matrix (inputs, outputs) counts the values of a map
            by row, column and channel, as Keras flattens it.
    """

    found: FoundArray
    order: tuple[int, ...] = ()
    is_flat_map: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape in Darknet's layout."""
        shape = self.found.shape
        return tuple(shape[axis] for axis in self.order) if self.order else shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return True if the array has a shape, apart from axes of length 1 and flattened axes.

        Args:
            shape: the shape that a layer of the cfg wants, in Darknet's layout.
        """
        mine, wanted = (tuple(n for n in one if n != 1) for one in (self.shape, shape))
        if mine == wanted:
            return True
        is_joined = len(mine) != len(wanted) and (mine[:1] == wanted[:1] or len(wanted) == 1)
        return is_joined and bool(mine) and math.prod(mine) == math.prod(wanted)

    def values(self, file: str, layer: Layer, shape: tuple[int, ...]) -> Array:
        """Return the array in Darknet's layout, float32.

        Args:
            file: the file's name for messages.
            layer: the layer of the cfg, whose input shape a flattened map needs.
            shape: the shape of the result.

        Raises:
            WeightsError: the array holds no floating-point numbers.
        """
        array = self.found.values(file)
        (x,) = layer.in_shapes[:1] or (None,)
        if self.is_flat_map and x is not None and x.is_map and array.shape[0] == x.size:
            spread = array.reshape(x.h, x.w, x.c, -1)
            return frozen(spread.transpose(3, 2, 0, 1).reshape(shape))
        if self.order:
            array = array.transpose(self.order)
        return frozen(np.ascontiguousarray(array).reshape(shape))


@dataclass(frozen=True)
class Unit:
    """A layer of a file, made of its arrays.

    Attributes:
        name: the name that its arrays share.
        parts: its arrays by Darknet's names.
        index: the layer index in the cfg that its name states; None if it states none.
        epsilon: the epsilon of its batch norm that the file states; None if it states none.
        is_depthwise: True if each channel has a kernel of its own.
    """

    name: str
    parts: Mapping[str, LayerArray]
    index: int | None = None
    epsilon: float | None = None
    is_depthwise: bool = False

    @property
    def has_norm(self) -> bool:
        """Return True if the layer has batch norm."""
        return not {"rolling_mean", "rolling_variance"}.isdisjoint(self.parts)

    @property
    def is_norm_alone(self) -> bool:
        """Return True if the layer is batch norm and nothing else."""
        return self.has_norm and "weights" not in self.parts

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of its arrays by Darknet's names, without axes of length 1."""
        return {
            name: tuple(n for n in part.shape if n != 1)
            for name, part in sorted(self.parts.items())
        }


@dataclass(frozen=True)
class Checkpoint:
    """An open file of another tool.

    Attributes:
        file: its path.
        kind: its kind in words, such as "a PyTorch state dict".
        tool: the tool whose names it has; "" if unknown.
        units: its layers.
        rule: how the order of `units` is to be read: "numbers" if names state the layer index in
            the cfg, "order" if the layers stand in the order of the cfg, "counters" if each kind of
            layer is counted separately, "none" if the order means nothing.
        spare: names of the arrays that belong to no Darknet layer.
        program_epsilon: the epsilon that batch norm of such programs adds to the variance; None if
            the file states it, or if it is unknown.
        decoding: the names of such programs that decode boxes in another way than Darknet.
        ignores_scale: the names of such programs that do not know scale_x_y.
        reorg: what such programs compute for [reorg]: SPACE_TO_DEPTH, or "" if the same as Darknet.
        says_reorg: True if the file itself states `reorg`.
        notes: what else the user should know about the file, a sentence each.
        is_runnable: True if the file is a program that can be run and compared, as ONNX files are.
        description: the configuration of a whole Keras model, which can be built and compared; None
            for other files.
        adds_under_root: True if such programs add epsilon to the variance, as AlexeyAB's does,
            rather than to its root.
        pads_zeros: True if such programs put zeros beyond the border of a [maxpool] of stride 1.
        floors_pools: True if their [maxpool] leaves out the last row and column of an odd map.
        has_plain_classes: True if their classifiers end in a convolution without an activation.
    """

    file: str
    kind: str
    tool: str
    units: tuple[Unit, ...]
    rule: str
    spare: tuple[str, ...] = ()
    program_epsilon: float | None = None
    decoding: str = ""
    ignores_scale: str = ""
    reorg: str = ""
    says_reorg: bool = False
    notes: tuple[str, ...] = ()
    is_runnable: bool = False
    description: Any = None
    adds_under_root: bool = True
    pads_zeros: bool = False
    floors_pools: bool = False
    has_plain_classes: bool = False
