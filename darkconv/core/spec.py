"""LayerSpec: the questions that every layer type answers, and the table of types.

A spec is the typed view of one cfg section. It knows its dialect, because a few rules differ;
it knows no other layer: shapes of its inputs are handed in.
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
"""(out_channels, k): row i holds the input channels that output i is bound to; see `ties`."""


class Initial(NamedTuple):
    """How Darknet fills an array before training: mean + spread * noise.

    `noise` is "none", "uniform" (in [-1, 1)) or "normal" (deviation 1).
    """

    mean: float = 0.0
    spread: float = 0.0
    noise: str = "none"


ZERO = Initial()
ONE = Initial(mean=1.0)


class Slot(NamedTuple):
    """One learned array of a layer.

    Attributes:
        name: Darknet's own, `biases`, `scales`, `rolling_mean`, `rolling_variance` or
            `weights`, behind a sub-layer's name and a dot in recurrent layers.
        shape: as in memory after loading.
        initial: values before training.
        order: "plain", "flipped" (the file holds the transposed (shape[0], rest) matrix) or
            "dense" (it does so where the header's version says so).
        stored: how many of the leading entries along the first axis the file holds; None for
            all of them.
        out_axis: along which the output channels lie, None if they do not. An axis longer than
            the channels holds a block of values for each, as flattened maps do.
        in_axis: the same for the input channels, all inputs laid end to end.
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
        """Shape of the part that a weights file holds."""
        return self.shape if self.stored is None else (self.stored, *self.shape[1:])

    @property
    def stored_size(self) -> int:
        """Number of values in a weights file."""
        return self.size if self.stored is None else math.prod(self.stored_shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


Slots = tuple[Slot, ...]


class Remark(NamedTuple):
    """What is odd but legal in a layer, now that its inputs are known.

    Attributes:
        option: the one that it is about, or "".
        text: the remark.
        by_size: True where another input size would do without it.
    """

    option: str
    text: str
    by_size: bool = False


def stored_slots(spec: "LayerSpec", inputs: Shapes) -> Slots:
    """The learned arrays of a layer; with `dontload` a weights file has none of them."""
    slots = spec.slots(inputs)
    return tuple(slot._replace(stored=0) for slot in slots) if spec.dontload else slots


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One layer type; the defaults fit a one-input layer without arrays.

    The options declared here are read in every section. Those that only steer training in C
    are kept because fine-tuning reads them.
    """

    type: ClassVar[str] = ""
    binding: ClassVar[str] = "passes its channels on"
    """What a layer that does not make channels does with them, for explanations."""
    needs_map: ClassVar[bool] = False
    """Cannot stand after a layer without rows and columns."""
    asks_origins: ClassVar[bool] = False
    """What C does with the layer depends on what its sources read: see `source_remarks`."""
    is_unsaved: ClassVar[bool] = False
    """Its own program leaves its arrays out of weights files; darkconv writes them."""
    finds_boxes: ClassVar[bool] = False
    """It is a head whose predictions are boxes with scores."""

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
        """The typed view of a section's options."""
        return read_spec(cls, lines, dialect, where, notes)

    @classmethod
    def make(cls, dialect: Dialect, **options: Any) -> Self:
        """A spec with Darknet's defaults, for layers inside other layers."""
        values = read_options(cls, {}, dialect, Where(section=cls.type), Notes())
        return cls(dialect=dialect, **{**values, **options})

    def sources(self, index: int) -> tuple[int, ...]:
        """Layers that layer `index` reads, as absolute indices; -1 is the network input."""
        return (index - 1,)

    def shared_layer(self, index: int) -> int | None:
        """The earlier layer whose arrays layer `index` uses instead of its own."""
        return None

    def borrowed_slots(self, inputs: Shapes) -> Slots:
        """What a layer with a `shared_layer` takes from it."""
        return ()

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Output shape.

        Raises:
            GraphError: the inputs do not fit this layer.
        """
        return inputs[0]

    def needs_maps(self, inputs: Shapes) -> bool:
        """Return True if none of these inputs may be a plain vector."""
        return self.needs_map

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Return what a user should know of a layer with these inputs, which fit it."""
        return ()

    def source_remarks(self, inputs: Shapes, origins: Shapes) -> tuple[Remark, ...]:
        """Return what there is to say of a layer that `asks_origins`.

        Args:
            inputs: shapes of what it reads.
            origins: of each the shape that its layer itself reads first.
        """
        return ()

    def slots(self, inputs: Shapes) -> Slots:
        """The learned arrays in file order."""
        return ()

    def ties(self, inputs: Shapes) -> Ties:
        """Which input channels each output channel lives and dies with.

        Returns: (out_channels, k) indices into the input channels, counted over the inputs
        laid end to end, -1 for none. k = 0 means that the layer makes new channels. Of plain
        vectors every value is a channel.
        """
        return np.arange(inputs[0].c).reshape(-1, 1)

    def bound_inputs(self, inputs: Shapes) -> Ties:
        """Input channels that live and die together though no output channel joins them.

        Returns: (groups, k) rows of indices as in `ties`.
        """
        return np.empty((0, 1), np.int64)

    def locks_inputs(self, inputs: Shapes) -> str:
        """Why none of the input channels can go, or an empty text."""
        return ""

    def locks_outputs(self) -> str:
        """Why none of the output channels can go, or an empty text."""
        return ""

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """The options to edit for another number of output channels."""
        return {}

    def constant_response(self, weights: Doubles, values: Doubles) -> Doubles:
        """Return what weights give for an input that is constant over each channel's map.

        The borders of maps, where padding cuts the window, are not looked at.

        Args:
            weights: an array of the layer, its output axis first and its input axis second; the
                input axis may hold a block of values for each channel, as flattened maps do.
            values: (in_channels,) of each input channel.

        Returns: (outputs,) to be added to the biases.
        """
        by_channel = weights.reshape(len(weights), len(values), -1).sum(axis=2)
        response: Doubles = by_channel @ values
        return response

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Multiply-accumulate operations of one forward pass on one picture."""
        return 0


@dataclass(frozen=True, kw_only=True)
class HeadSpec(LayerSpec):
    """A layer that turns features into predictions: what class slicing has to know of it."""

    binding = "predicts from them"

    def locks_inputs(self, inputs: Shapes) -> str:
        """Channels have their meanings by number."""
        return "a head reads its channels by number"

    def num_classes(self, inputs: Shapes) -> int:
        """Number of classes predicted."""
        raise NotImplementedError

    def class_rows(self, inputs: Shapes, keep: Sequence[int]) -> npt.NDArray[np.int64]:
        """Which input channels a head for the kept classes reads, in its order.

        Of plain vectors: which values.
        """
        raise NotImplementedError

    def class_options(self, keep: Sequence[int]) -> Mapping[str, object]:
        """The options to edit for a head of the kept classes."""
        return {}


S = TypeVar("S", bound=type[LayerSpec])

LAYER_TYPES: dict[str, type[LayerSpec]] = {}
_ONLY: dict[str, Dialect] = {}
_FOREIGN: dict[str, str] = {}


def layer(
    name: str, *aliases: str, foreign: tuple[str, ...] = (), only: Dialect | None = None
) -> Callable[[S], S]:
    """Register a spec class under its section names.

    Args:
        name: in both programs, and in what darkconv writes.
        aliases: that the C programs know too.
        foreign: names that other programs have for exactly the same; they are read with a note.
        only: the dialect that has it.
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
    """Ties of a vector that holds a map value by value: the channel of each."""
    return np.repeat(np.arange(shape.c) + start, shape.h * shape.w).reshape(-1, 1)


def only_dialect(section: str) -> Dialect | None:
    """The one dialect that knows a section type, or None where all or none do."""
    return _ONLY.get(section)


def section_note(section: str) -> str:
    """Return what is to be said of a section name that only other programs have, or nothing."""
    known = _FOREIGN.get(section)
    return f"is read as [{known}]: no Darknet has a section of this name" if known else ""


def spec_class(section: str, dialect: Dialect, where: Where) -> type[LayerSpec]:
    """The spec class of a section type.

    Raises:
        UnknownSectionError: no Darknet knows it, or this dialect does not.
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
