"""What a file of another tool holds: arrays by name, and layers made of them."""

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
"""Types of numbers that are taken; all but float64 become float32 without a loss."""
SPACE_TO_DEPTH = "a plain space-to-depth"
INNER = "inner_biases"
"""Biases that a convolution adds before its batch norm; Darknet has none there."""
RATIOS = "ratios"
"""Numbers by which a program weights the sources of a [shortcut], by a rule of its own."""
NORM = ("scales", "rolling_mean", "rolling_variance")


@dataclass(frozen=True)
class Found:
    """An array of a file, not read yet.

    Attributes:
        name: as the file has it.
        shape: as the file has it.
        dtype: such as "float32".
        read: gives its values; the file has to be open.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Values]

    def values(self, file: str) -> Array:
        """Return the array as float32.

        Raises:
            WeightsError: it holds no floating point numbers.
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
    """Return what can be done about numbers of a type that is not taken."""
    if "int" in dtype:
        return "quantised weights are rounded; import the file from before"
    if dtype == "meta":
        return "it has shapes alone; save the model once its weights are there"
    if dtype == "sparse":
        return "in PyTorch, to_dense() makes a plain array of it"
    return "Darknet's files hold float32; in the program, float() converts them"


@dataclass(frozen=True)
class Part:
    """An array of a layer, in Darknet's layout.

    Attributes:
        found: where it comes from.
        order: axes of the file's array in Darknet's order; () leaves them.
        is_flat_map: the first axis of a matrix (inputs, outputs) counts the values of a map by
            row, column, channel, as Keras flattens it.
    """

    found: Found
    order: tuple[int, ...] = ()
    is_flat_map: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """In Darknet's layout."""
        shape = self.found.shape
        return tuple(shape[axis] for axis in self.order) if self.order else shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Return True if the array has a shape, axes of length 1 and joined ones aside."""
        mine, wanted = (tuple(n for n in one if n != 1) for one in (self.shape, shape))
        if mine == wanted:
            return True
        is_joined = len(mine) != len(wanted) and (mine[:1] == wanted[:1] or len(wanted) == 1)
        return is_joined and bool(mine) and math.prod(mine) == math.prod(wanted)

    def values(self, file: str, layer: Layer, shape: tuple[int, ...]) -> Array:
        """Return the array as a layer has it.

        Raises:
            WeightsError: it holds no floating point numbers.
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
    """A layer of the file.

    Attributes:
        name: that its arrays share.
        parts: its arrays by Darknet's names.
        index: of the layer of the cfg that its name says, where it does.
        epsilon: that the file says its batch norm adds to the variance.
        is_depthwise: has a kernel for each channel.
    """

    name: str
    parts: Mapping[str, Part]
    index: int | None = None
    epsilon: float | None = None
    is_depthwise: bool = False

    @property
    def has_norm(self) -> bool:
        """Whether batch norm follows."""
        return not {"rolling_mean", "rolling_variance"}.isdisjoint(self.parts)

    @property
    def is_norm_alone(self) -> bool:
        """Whether it is batch norm and nothing else."""
        return self.has_norm and "weights" not in self.parts

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of its arrays by Darknet's names, axes of length 1 left out."""
        return {
            name: tuple(n for n in part.shape if n != 1)
            for name, part in sorted(self.parts.items())
        }


@dataclass(frozen=True)
class Checkpoint:
    """A file of another tool, open.

    Attributes:
        file: its path.
        kind: what it is, in words: "a PyTorch state dict".
        tool: whose names it has, "" where nothing tells.
        units: its layers.
        rule: what the units' order is: "numbers" where names count the layers of the cfg,
            "order" where they stand in the order of the cfg's layers, "counters" where each kind
            of layer is counted by itself, "none" where the order says nothing.
        spare: arrays that no Darknet layer has, by name.
        program_epsilon: that batch norm of such programs adds to the variance, where the file
            does not say it; None where it does, or where nothing is known.
        decoding: which of such programs decode boxes another way than Darknet.
        ignores_scale: which of such programs do not know scale_x_y.
        reorg: what such programs have for [reorg]: SPACE_TO_DEPTH, or "" where it is Darknet's.
        says_reorg: whether the file says so itself.
        notes: what else is to be said of it.
        is_runnable: whether it is a program too, which can be run and compared.
        description: of a whole model of Keras, which can be run and compared, as data; None of
            other files.
        adds_under_root: whether such programs add epsilon to the variance, as AlexeyAB's does, and
            not to its root.
        pads_zeros: whether such programs put zeros beyond the border of a [maxpool] of stride 1.
        floors_pools: whether they leave out the last row and column of an odd map in a [maxpool].
        has_plain_classes: whether their classifiers end in a convolution without an activation.
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
