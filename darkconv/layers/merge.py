"""The layer types route, shortcut, sam, scale_channels, shift_channels and control_channels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from darkconv.core.dialect import ALEXEYAB, PJREDDIE, YOLOR, Dialect
from darkconv.core.options import Ints, Notes, option, option_place
from darkconv.core.section import Line
from darkconv.core.shape import FlatShape, Shape, Shapes
from darkconv.core.sizes import UnlikeSizesError
from darkconv.core.spec import ONE, Doubles, LayerSpec, Remark, Slot, Slots, Ties, layer, value_ties
from darkconv.errors import GraphError, OptionError, Where
from darkconv.layers.activation import activation_option

WEIGHT_EPSILON = 0.0001
"""C adds this number to the sum by which shortcut weights are divided."""


def absolute(reference: int, index: int, key: str) -> int:
    """Return the index of a layer named in a cfg.

    Args:
        reference: layer index from 0, or a negative offset from layer `index`.
        index: index of the layer that names it.
        key: name of the option, used in the message.

    Raises:
        GraphError: there is no such earlier layer.
    """
    if index == 0:
        raise GraphError("cannot be the first layer")
    source = index + reference if reference < 0 else reference
    if not 0 <= source < index:
        raise GraphError(
            where=Where(option=key),
            expected=f"an earlier layer, 0 to {index - 1} or -1 to -{index}",
            found=reference,
        )
    return source


def side_by_side(widths: list[int], channels: int) -> Ties:
    """Return the ties of inputs that are combined channel by channel.

    Args:
        widths: number of channels of each input.
        channels: number of output channels; an input with fewer has no ties beyond its own.
    """
    starts = np.cumsum([0, *widths[:-1]])
    row = np.arange(channels)
    columns = [
        np.where(row < width, row + start, -1) for width, start in zip(widths, starts, strict=True)
    ]
    return np.stack(columns, axis=1)


@layer("route")
@dataclass(frozen=True, kw_only=True)
class Route(LayerSpec):
    """Concatenation of earlier outputs, or of one of `groups` equal slices of each.

    Feature maps of different sizes are concatenated as plain vectors.
    """

    binding = "joins its sources, or takes a slice of each"

    layers: Ints = option((), required=True)
    groups: int = option(1, minimum=1, only=ALEXEYAB)
    group_id: int = option(0, minimum=0, only=ALEXEYAB)
    stream: int = option(-1, only=ALEXEYAB, training=True)
    wait_stream: int = option(-1, only=ALEXEYAB, training=True)

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the layers named in the cfg."""
        return tuple(absolute(reference, index, "layers") for reference in self.layers)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the concatenated shape; a vector if rows or columns differ."""
        if self.group_id >= self.groups:
            raise GraphError(
                where=Where(option="group_id"),
                expected=f"a number below groups={self.groups}",
                found=self.group_id,
            )
        for shape in inputs:
            if shape.c % self.groups:
                raise GraphError(
                    where=Where(option="groups"),
                    expected=f"a divisor of the source's {shape.c} channels",
                    found=self.groups,
                )
        if all(s.is_map for s in inputs) and len({(s.h, s.w) for s in inputs}) == 1:
            return Shape(sum(s.c for s in inputs) // self.groups, inputs[0].h, inputs[0].w)
        return FlatShape.of(sum(shape.size for shape in inputs) // self.groups)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties: each output channel, or value of a vector, is one input channel."""
        is_flat = not self.infer_shape(inputs).is_map
        parts, start = [], 0
        for shape in inputs:
            channels = np.arange(start, start + shape.c)
            values = value_ties(shape, start)[:, 0] if is_flat else channels
            parts.append(np.split(values, self.groups)[self.group_id])
            start += shape.c
        return np.concatenate(parts).reshape(-1, 1)

    def bound_inputs(self, inputs: Shapes) -> Ties:
        """Return channel k of all slices of a source as one group: slices stay equally long."""
        if self.groups == 1:
            return super().bound_inputs(inputs)
        starts = np.cumsum([0, *(shape.c for shape in inputs[:-1])])
        rows = [
            (np.arange(shape.c) + start).reshape(self.groups, -1).T
            for shape, start in zip(inputs, starts, strict=True)
        ]
        return np.concatenate(rows)

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason: a slice of a vector may cut through a channel."""
        if self.groups > 1 and not self.infer_shape(inputs).is_map:
            return "it takes slices of a vector"
        return ""


@layer("shortcut")
@dataclass(frozen=True, kw_only=True)
class Shortcut(LayerSpec):
    """Sum of the previous layer and earlier ones; the shape is the previous layer's.

    alexeyab: any number of sources with the same map size, weighted if `weights_type` says so.
    Surplus channels of a source are left out, and missing ones add nothing. (C's code for one
    unweighted source reads past the end of a source with fewer channels; here it adds nothing.) One
    unweighted source of another size is sampled, as the program did until January 2020; later
    versions refuse it.

    pjreddie: one source, which is sampled if its map is larger or smaller by a whole factor. Where
    the source covers the map, out = alpha * in + beta * source, elsewhere out = in.
    """

    binding = "adds its sources channel by channel"
    asks_origins = True

    from_: Ints = option((), key="from", required=True)
    activation: str = activation_option("linear")
    alpha: float = option(1.0, only=PJREDDIE)
    beta: float = option(1.0, only=PJREDDIE)
    weights_type: str = option("none", only=ALEXEYAB)
    weights_normalization: str = option("none", only=ALEXEYAB)

    @property
    def weighting(self) -> str:
        """Return `none`, `per_feature` (one weight per source) or `per_channel`."""
        return {"per_layer": "per_feature"}.get(self.weights_type, self.weights_type)

    @property
    def normalization(self) -> str:
        """Return how the weights are normalized to a sum of one: `relu` or `softmax`."""
        name = self.weights_normalization
        return {"avg_relu": "relu"}.get(name, name)

    @classmethod
    def read(cls, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes) -> Self:
        """Read the options, and add a remark if pjreddie ignores further sources."""
        spec = super().read(lines, dialect, where, notes)
        if dialect.shortcut_resamples and len(spec.from_) > 1:
            notes.add(
                option_place(lines["from"], where),
                f"the {dialect} dialect reads the first source only",
            )
        return spec

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the previous layer, then those named; pjreddie reads only the first name."""
        named = self.from_[:1] if self.dialect.shortcut_resamples else self.from_
        if index == 0:
            raise GraphError("cannot be the first layer")
        return (index - 1, *(absolute(reference, index, "from") for reference in named))

    def needs_maps(self, inputs: Shapes) -> bool:
        """Return True if an input is a feature map, as a vector cannot be added to it."""
        return any(shape.is_map for shape in inputs)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of the previous layer."""
        self._check_weights()
        x, *others = inputs
        for other in others:
            if (other.h, other.w) == (x.h, x.w):
                continue
            is_plain = self.weighting == "none" and len(others) == 1
            if not (is_plain and _has_common_factor(x, other)):
                rule = "one a multiple of the other" if is_plain else "of one size"
                raise UnlikeSizesError("adds", rule=rule, where=Where(option="from"))
        return x

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Return a remark if a source is sampled that today's program would refuse."""
        x, source = inputs[:2]
        if (source.h, source.w) == (x.h, x.w):
            return ()
        is_whole = all(max(a, b) % min(a, b) == 0 for a, b in zip(x[1:], source[1:], strict=True))
        if is_whole and self.dialect.shortcut_resamples:
            return ()
        text = f"adds a map of {source.w}x{source.h} to one of {x.w}x{x.h}: "
        text += "sampled" if is_whole else "its first rows and columns are taken"
        if not self.dialect.shortcut_resamples:
            text += ", as AlexeyAB's program did until January 2020; later ones refuse it"
        return (Remark("from", text, by_size=not is_whole),)

    def source_remarks(self, inputs: Shapes, origins: Shapes) -> tuple[Remark, ...]:
        """Return a remark if alexeyab's program reads beyond a source with fewer channels.

        It adds whole maps if the source layer's *input* has the shape of the previous layer.
        """
        x, *others = inputs
        if self.dialect.shortcut_resamples or self.weighting != "none" or len(others) > 1:
            return ()
        missing = x.c - others[0].c
        if missing <= 0 or origins[1] != x:
            return ()
        text = f"its source lacks {missing} of {x.c} channels, for which C reads memory behind it"
        return (Remark("from", f"{text}: nothing is added to them here"),)

    def _check_weights(self) -> None:
        if self.weighting not in ("none", "per_feature", "per_channel"):
            raise OptionError(
                where=Where(option="weights_type"),
                expected="none, per_feature or per_channel",
                found=self.weights_type,
            )
        if self.weighting != "none" and self.dialect == YOLOR:
            raise OptionError(
                "yolor weights sources by another rule, which is not computed here",
                where=Where(option="weights_type"),
                found=self.weights_type,
            )
        if self.weighting != "none" and self.normalization not in ("relu", "softmax"):
            raise OptionError(
                where=Where(option="weights_normalization"),
                expected=f"relu or softmax with weights_type={self.weights_type}",
                found=self.weights_normalization,
            )

    def slots(self, inputs: Shapes) -> Slots:
        """Return a weight per source, or per source and channel; source 0 is the previous layer."""
        if self.weighting == "none":
            return ()
        each = inputs[0].c if self.weighting == "per_channel" else 1
        out_axis = 1 if self.weighting == "per_channel" else None
        return (Slot("weights", (len(inputs), each), ONE, out_axis=out_axis),)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of channel k to channel k of every source that has one."""
        channels = inputs[0].c
        ties = side_by_side([min(shape.c, channels) for shape in inputs], channels)
        skipped = np.cumsum([0, *(max(0, shape.c - channels) for shape in inputs[:-1])])
        return np.where(ties < 0, -1, ties + skipped)

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return one operation per value and source if there are weights."""
        return output.size * len(inputs) if self.weighting != "none" else 0


@dataclass(frozen=True, kw_only=True)
class Gate(LayerSpec):
    """The product of the previous layer and one earlier layer."""

    binding = "multiplies its sources channel by channel"

    from_: int = option(0, key="from", required=True)
    activation: str = activation_option("linear")

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the previous layer and the one named."""
        if index == 0:
            raise GraphError("cannot be the first layer")
        return (index - 1, absolute(self.from_, index, "from"))

    def gate_shape(self, source: Shape) -> Shape:
        """Return the shape that the previous layer must have.

        Args:
            source: shape of the named layer.
        """
        return source

    def needs_maps(self, inputs: Shapes) -> bool:
        """Return True if the previous layer does not fit.

        Its vector may be due to feature maps of different sizes, which the error then names.
        """
        return inputs[0] != self.gate_shape(inputs[1])

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of the named source."""
        x, source = inputs
        expected = self.gate_shape(source)
        if x == expected:
            return source
        if x.c == expected.c and expected[1:] == source[1:]:
            raise UnlikeSizesError("multiplies", rule="of one size", where=Where(option="from"))
        raise GraphError(
            where=Where(option="from"),
            expected=f"{expected} from the previous layer",
            found=str(x),
        )

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return one operation per value."""
        return output.size


@layer("sam", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Sam(Gate):
    """Spatial attention: activation(in * source), where both have the same shape."""

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of channel k to channel k of both inputs."""
        return side_by_side([inputs[0].c, inputs[1].c], inputs[0].c)


@layer("scale_channels", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class ScaleChannels(Gate):
    """Squeeze-and-excitation: each channel of the source is scaled by one value of `in`.

    With `scale_wh`, each pixel is scaled by an `in` of one channel.
    """

    scale_wh: bool = option(False)

    def gate_shape(self, source: Shape) -> Shape:
        """Return the shape with one value for each channel, or with `scale_wh` for each pixel."""
        return Shape(1, source.h, source.w) if self.scale_wh else Shape(source.c, 1, 1)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of channel k to channel k of both inputs; with scale_wh, of one."""
        x, source = inputs
        if self.scale_wh:
            return (np.arange(source.c) + x.c).reshape(-1, 1)
        return side_by_side([x.c, source.c], source.c)


@dataclass(frozen=True, kw_only=True)
class PerChannel(LayerSpec):
    """The previous layer changed by an earlier one that has one value for each channel.

    The earlier layer may also have a whole feature map of values. It is usually one of yolor's
    constants.
    """

    neutral: ClassVar[float]
    """The value that changes nothing."""

    from_: int = option(0, key="from", required=True)

    def sources(self, index: int) -> tuple[int, ...]:
        """Return the previous layer and the one named."""
        return (index - 1, absolute(self.from_, index, "from"))

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of the previous layer."""
        x, values = inputs
        if values not in (x, Shape(x.c, 1, 1)):
            raise GraphError(
                where=Where(option="from"),
                expected=f"a layer of {x.c}x1x1 or {x}, for the {x} of the previous layer",
                found=str(values),
            )
        return x

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of channel k to channel k of both inputs."""
        return side_by_side([inputs[0].c, inputs[1].c], inputs[0].c)

    def applied(
        self, weights: Doubles, biases: Doubles, values: Doubles
    ) -> tuple[Doubles, Doubles]:
        """Return weights and biases of the linear layer before, with this layer folded into them.

        Args:
            weights: float64 (channels, ...), of the layer before.
            biases: float64 (channels,), of the layer before.
            values: float64 (channels,), of the constant.
        """
        raise NotImplementedError


@layer("shift_channels", only=YOLOR)
@dataclass(frozen=True, kw_only=True)
class ShiftChannels(PerChannel):
    """yolor's sum of each channel and one value: in + source."""

    binding = "adds its sources channel by channel"
    neutral = 0.0

    def applied(
        self, weights: Doubles, biases: Doubles, values: Doubles
    ) -> tuple[Doubles, Doubles]:
        """Return the weights unchanged, and the biases plus the values."""
        return weights, biases + values


@layer("control_channels", only=YOLOR)
@dataclass(frozen=True, kw_only=True)
class ControlChannels(PerChannel):
    """yolor's product of each channel and one value: in * source."""

    binding = "multiplies its sources channel by channel"
    neutral = 1.0

    def applied(
        self, weights: Doubles, biases: Doubles, values: Doubles
    ) -> tuple[Doubles, Doubles]:
        """Return the weights and biases of each channel times its value."""
        return weights * values.reshape(-1, *[1] * (weights.ndim - 1)), biases * values

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return one operation per value."""
        return output.size


def _has_common_factor(x: Shape, other: Shape) -> bool:
    """Return True if widths and heights have the same ratio, rounded down, as C asserts."""
    return other.w // x.w == other.h // x.h and x.w // other.w == x.h // other.h


def needs_sampling(spec: Shortcut, shapes: Shapes) -> bool:
    """Return True if a shortcut is more than a sum: it samples its source or has factors.

    Args:
        spec: spec of the shortcut.
        shapes: shapes of the previous layer and of the source.
    """
    x, source = shapes[:2]
    return (x.h, x.w) != (source.h, source.w) or (spec.alpha, spec.beta) != (1, 1)
