"""`LayerSpec`, the interface of all layer types, and the table of layer types.

A spec holds the typed options of one section of a cfg. It knows its dialect, because some rules
differ. It knows no other layer; the shapes of its inputs are passed in.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import ALEXEYAB, PJREDDIE, Dialect
from darkconv.core.foreign import FOREIGN_SECTIONS
from darkconv.core.options import Notes, option, read_options, read_spec
from darkconv.core.section import Line
from darkconv.core.shape import Shape, Shapes
from darkconv.errors import UnknownSectionError, Where

Doubles = npt.NDArray[np.float64]
Ties = npt.NDArray[np.int64]
"""The type of ties: int64 (out_channels, k); row i holds the input channels tied to output i."""


class Initial(NamedTuple):
    """The rule by which Darknet fills an array before training: mean + spread * noise.

    Attributes:
        mean: the mean of the values.
        spread: the factor of the noise.
        noise: "none", "uniform" (in [-1, 1)) or "normal" (standard deviation 1).
    """

    mean: float = 0.0
    spread: float = 0.0
    noise: str = "none"


ZERO = Initial()
ONE = Initial(mean=1.0)


class Slot(NamedTuple):
    """The declaration of one learned array of a layer.

    Attributes:
        name: Darknet's own name: `biases`, `scales`, `rolling_mean`, `rolling_variance` or
            `weights`; in recurrent layers after a sub-layer's name and a dot.
        shape: shape of the array in memory.
        initial: values before training.
        order: "plain", "flipped" (the file holds the transposed (shape[0], rest) matrix) or "dense"
            (it does so if the version in the header says so).
        stored: number of leading entries along the first axis that the file holds; None for all.
        out_axis: axis of the output channels; None if there is none. An axis longer than the number
            of channels holds a block of values for each channel, as for flattened feature maps.
        in_axis: axis of the input channels, those of all inputs concatenated; None if there is
            none.
    """

    name: str
    shape: tuple[int, ...]
    initial: Initial = ZERO
    order: str = "plain"
    stored: int | None = None
    out_axis: int | None = 0
    in_axis: int | None = None

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Return the shape of the part that a weights file holds."""
        return self.shape if self.stored is None else (self.stored, *self.shape[1:])

    @property
    def stored_size(self) -> int:
        """Return the number of values in a weights file."""
        return self.size if self.stored is None else math.prod(self.stored_shape)

    @property
    def size(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)


Slots = tuple[Slot, ...]


class Remark(NamedTuple):
    """A remark about what is odd but legal in a layer, given the shapes of its inputs.

    Attributes:
        option: name of the option that it is about, or "".
        text: the remark.
        by_size: True if the remark would not apply at another input size.
    """

    option: str
    text: str
    by_size: bool = False


def stored_slots(spec: "LayerSpec", inputs: Shapes) -> Slots:
    """Return the learned arrays of a layer; with `dontload` a weights file holds none of them.

    Args:
        spec: the spec of the layer.
        inputs: shapes of its inputs.
    """
    slots = spec.slots(inputs)
    return tuple(slot._replace(stored=0) for slot in slots) if spec.dontload else slots


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """The interface of a layer type; the defaults fit a layer with one input and no arrays.

    The options declared here are read in every section. Options that only control training in C are
    kept because fine-tuning reads them.
    """

    type: ClassVar[str] = ""
    binding: ClassVar[str] = "passes its channels on"
    """Text for explanations: what a layer that makes no channels does with its input channels."""
    needs_map: ClassVar[bool] = False
    """True if the layer cannot read the plain vector of another layer."""
    asks_origins: ClassVar[bool] = False
    """True if what C does depends on what the layer's sources read: see `source_remarks`."""
    is_unsaved: ClassVar[bool] = False
    """True if the layer's own program leaves its arrays out of weights files; darkconv does not."""
    finds_boxes: ClassVar[bool] = False
    """True if the layer is a head whose predictions are boxes with scores."""

    dialect: Dialect

    dontload: bool = option(False)
    dontloadscales: bool = option(False)
    numload: int = option(0, minimum=0, only=PJREDDIE)
    onlyforward: int = option(0, training=True)
    stopbackward: int = option(0, training=True)
    learning_rate: float = option(1.0, training=True)
    truth: bool = option(False, only=PJREDDIE, training=True)
    dontsave: bool = option(False, only=PJREDDIE, training=True)
    smooth: float = option(0.0, only=PJREDDIE, training=True)
    clip: float = option(0.0, only=ALEXEYAB, training=True)
    dont_update: bool = option(False, only=ALEXEYAB, training=True)
    burnin_update: int = option(0, only=ALEXEYAB, training=True)
    train_only_bn: bool = option(False, only=ALEXEYAB, training=True)

    @classmethod
    def read(cls, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes) -> Self:
        """Read the options of a section into a spec.

        Args:
            lines: the lines of the section by option name.
            dialect: the dialect whose rules and defaults hold.
            where: place of the section, used in messages.
            notes: collects remarks about odd options.

        Raises:
            OptionError: an option has a value that cannot be used.
        """
        return read_spec(cls, lines, dialect, where, notes)

    @classmethod
    def make(cls, dialect: Dialect, **options: Any) -> Self:
        """Return a spec with Darknet's defaults, for layers inside other layers.

        Args:
            dialect: the dialect whose defaults hold.
            options: field values that differ from the defaults.
        """
        values = read_options(cls, {}, dialect, Where(section=cls.type), Notes())
        return cls(dialect=dialect, **{**values, **options})

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the indices of the layers that a layer reads; -1 is the network input.

        Args:
            index: index of the layer itself, from which relative indices count.

        Raises:
            GraphError: the cfg names a layer that does not precede this one.
        """
        return (index - 1,)

    def shared_layer(self, index: int) -> int | None:
        """Return the index of the earlier layer whose arrays this layer shares; None if none.

        Args:
            index: index of the layer itself.
        """
        return None

    def borrowed_slots(self, inputs: Shapes) -> Slots:
        """Return the slots of the arrays that a layer takes from its `shared_layer`.

        Args:
            inputs: shapes of the layer's inputs.
        """
        return ()

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the output shape.

        Args:
            inputs: shapes of the layer's inputs.

        Raises:
            GraphError: the inputs do not fit the layer.
        """
        return inputs[0]

    def needs_maps(self, inputs: Shapes) -> bool:
        """Return True if no input may be a plain vector.

        Args:
            inputs: shapes of the layer's inputs.
        """
        return self.needs_map

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Return remarks about a layer whose inputs fit it.

        Args:
            inputs: shapes of the layer's inputs.
        """
        return ()

    def source_remarks(self, inputs: Shapes, origins: Shapes) -> tuple[Remark, ...]:
        """Return remarks about a layer that `asks_origins`.

        Args:
            inputs: shapes of the layer's inputs.
            origins: for each input, the shape of the first input of the layer that outputs it.
        """
        return ()

    def slots(self, inputs: Shapes) -> Slots:
        """Return the learned arrays in file order.

        Args:
            inputs: shapes of the layer's inputs.
        """
        return ()

    def ties(self, inputs: Shapes) -> Ties:
        """Return the input channels that each output channel is tied to: they live or die together.

        Args:
            inputs: shapes of the layer's inputs.

        Returns:
            int64 (out_channels, k) indices (from 0) into the channels of all inputs, concatenated;
                -1 for none. k = 0 means that the layer makes new channels. Every value of a plain
                vector is a channel.
        """
        return np.arange(inputs[0].c).reshape(-1, 1)

    def bound_inputs(self, inputs: Shapes) -> Ties:
        """Return input channels that live or die together although no output channel ties them.

        Args:
            inputs: shapes of the layer's inputs.

        Returns:
            int64 (groups, k) indices as in `ties`; each row is one channel group.
        """
        return np.empty((0, 1), np.int64)

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason why no input channel can be removed, or an empty text.

        Args:
            inputs: shapes of the layer's inputs.
        """
        return ""

    def locks_outputs(self) -> str:
        """Return the reason why no output channel can be removed, or an empty text."""
        return ""

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """Return the options to edit for another number of output channels.

        Args:
            outputs: the new number of output channels.
        """
        return {}

    def constant_response(self, weights: Doubles, values: Doubles) -> Doubles:
        """Return the output of the weights for an input that is constant in each channel.

        The borders of feature maps, where padding enters the window, are ignored.

        Args:
            weights: float64 array of the layer with the output axis first and the input axis
                second; the input axis may hold a block of values for each channel, as for flattened
                feature maps.
            values: float64 (in_channels,): the constant of each input channel.

        Returns:
            float64 (outputs,), to be added to the biases.
        """
        by_channel = weights.reshape(len(weights), len(values), -1).sum(axis=2)
        response: Doubles = by_channel @ values
        return response

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return the number of multiply-accumulate operations of one forward pass on one picture.

        Args:
            inputs: shapes of the layer's inputs.
            output: shape of its output.
        """
        return 0


@dataclass(frozen=True, kw_only=True)
class HeadSpec(LayerSpec):
    """A layer that turns features into predictions, and the methods that class slicing needs."""

    binding = "predicts from them"

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason: the meaning of each channel depends on its index."""
        return "a head reads its channels by number"

    def num_classes(self, inputs: Shapes) -> int:
        """Return the number of classes that the head predicts.

        Args:
            inputs: shapes of the head's inputs.
        """
        raise NotImplementedError

    def class_rows(self, inputs: Shapes, keep: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the input channels that a head for the kept classes reads, in its order.

        Args:
            inputs: shapes of the head's inputs.
            keep: indices (from 0) of the classes to keep, in their new order.

        Returns:
            int64 channel indices (from 0); for plain vectors, indices of values.
        """
        raise NotImplementedError

    def class_options(self, keep: Sequence[int]) -> Mapping[str, object]:
        """Return the options to edit for a head of the kept classes.

        Args:
            keep: indices (from 0) of the classes to keep, in their new order.
        """
        return {}


S = TypeVar("S", bound=type[LayerSpec])

LAYER_TYPES: dict[str, type[LayerSpec]] = {}
_ONLY: dict[str, Dialect] = {}
_FOREIGN: dict[str, str] = {}


def layer(
    name: str, *aliases: str, foreign: tuple[str, ...] = (), only: Dialect | None = None
) -> Callable[[S], S]:
    """Return a class decorator that registers a spec class under its section names.

    Args:
        name: the section name in both C programs, which darkconv writes.
        aliases: other names that the C programs know.
        foreign: names that other programs use for exactly the same layer; they are read with a
            remark.
        only: the one dialect that has the layer type; None if all have it.

    Raises:
        ValueError: a name is already registered.
    """

    def register(spec: S) -> S:
        spec.type = name
        _FOREIGN.update(dict.fromkeys(foreign, name))
        for section in (name, *aliases, *foreign):
            if section in LAYER_TYPES:
                raise ValueError(f"[{section}] is registered twice")
            LAYER_TYPES[section] = spec
            if only:
                _ONLY[section] = only
        return spec

    return register


def value_ties(shape: Shape, start: int = 0) -> Ties:
    """Return the ties of a vector that holds a flattened feature map: the channel of each value.

    Args:
        shape: shape of the feature map.
        start: index of its first channel, if other inputs precede it.
    """
    return np.repeat(np.arange(shape.c) + start, shape.h * shape.w).reshape(-1, 1)


def only_dialect(section: str) -> Dialect | None:
    """Return the one dialect that knows a section type; None if all dialects or none know it.

    Args:
        section: the section name without brackets.
    """
    return _ONLY.get(section)


def section_note(section: str) -> str:
    """Return the remark about a section name that only other programs use, or an empty text.

    Args:
        section: the section name without brackets.
    """
    known = _FOREIGN.get(section)
    return f"is read as [{known}]: no Darknet has a section of this name" if known else ""


def spec_class(section: str, dialect: Dialect, where: Where) -> type[LayerSpec]:
    """Return the spec class of a section type.

    Args:
        section: the section name without brackets.
        dialect: the dialect in which the cfg is read.
        where: place of the section, used in the message.

    Raises:
        UnknownSectionError: no dialect knows the section type, or this dialect does not.
    """
    spec = LAYER_TYPES.get(section)
    if spec is None:
        raise UnknownSectionError(
            where=where, expected="a Darknet layer type", found=f"[{section}]", hint=_near(section)
        )
    only = only_dialect(section)
    if only and not dialect.follows(only):
        raise UnknownSectionError(
            f"exists only in the {only} dialect, and the cfg is read in the {dialect} one",
            where=where,
        )
    return spec


def _near(section: str) -> str | None:
    if "]" in section:
        return "nothing may follow the ] of a section header"
    if section in ("net", "network"):
        return f"[{section}] comes once, at the start"
    foreign = FOREIGN_SECTIONS.get(section.lower().replace("-", "_"))
    if foreign:
        return foreign
    lower = {name.lower(): name for name in LAYER_TYPES}
    near = difflib.get_close_matches(section.lower(), lower, n=1)
    return f"did you mean [{lower[near[0]]}]?" if near else None
