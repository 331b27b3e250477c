"""Comparing an ONNX file of another tool with a model.

Nothing says what such a file gives, so its outputs are matched by their shapes: with the heads,
activated or not, in the orders of axes that tools write them in; and with boxes and scores. Where
several are of the same shape, the nearest is meant.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.backends import trace
from darkconv.boxes import as_corners
from darkconv.core.model import Array, Model
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.detection.decode import Candidates, box_heads, decode, input_size
from darkconv.errors import DarkconvError, Where
from darkconv.layers.head import AnchorHead, Detection, Region
from darkconv.verification.agreement import (
    Agreement,
    compare_values,
    joined,
    nan_remark,
    told_of_zeros,
)
from darkconv.verification.inputs import Inputs
from darkconv.verification.outputs import ALLOWED
from darkconv.verification.results import FileVerification
from darkconv.verification.suppression import BEYOND

if TYPE_CHECKING:
    from darkconv.backends.onnx import ForeignFile

logger = logging.getLogger("darkconv")

KINDS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
"""Types of inputs that a picture can be given as."""


COARSE = (
    "boxes of a file of another tool are not compared: in 8 bits the error of an output tells a "
    "damaged file, or one of another model, from a right one, and little more"
)


class Like(NamedTuple):
    """Something that an output may be.

    Attributes:
        source: layer that it is of, or "all heads".
        what: in words.
        values: without a batch axis, and without axes of length 1.
        most: beyond which values count as this one; see `BEYOND`.
    """

    source: str
    what: str
    values: Array
    most: float = math.inf

    def compared_with(self, name: str, values: npt.NDArray[Any], allowed: float) -> Agreement:
        """Return the row of an output that is compared with this."""
        found, expected = (
            side.astype(np.float32).clip(-self.most, self.most) for side in (values, self.values)
        )
        return compare_values(f"{name}: {self.what}", found, expected, allowed)


@dataclass(frozen=True)
class Plan:
    """How a file takes a picture.

    Attributes:
        name: of the input.
        kind: of its numbers; of integers these are levels, of others 0..1.
        batch: pictures that it takes at once; None for any number.
        has_channels_last: (N, H, W, C) rather than (N, C, H, W).
    """

    name: str
    kind: Any
    batch: int | None
    has_channels_last: bool

    def given(self, planes: Array) -> npt.NDArray[Any]:
        """Network inputs (N, ...) as the file takes them; of one, as many as it has to have."""
        if self.kind is np.uint8:
            planes = np.rint(planes * 255).clip(0, 255)
        values = planes.transpose(0, 2, 3, 1) if self.has_channels_last else planes
        return np.repeat(values, self.batch or 1, axis=0).astype(self.kind)


def fitted_model(model: Model, file: "ForeignFile") -> Model:
    """The model for pictures of the size that a file is fixed to.

    Raises:
        DarkconvError: the file takes no such input.
    """
    plan, (value,) = input_plan(model.network, file), file.session.get_inputs()
    if not model.network.input_shape.is_map:
        return model
    size = value.shape[1:3] if plan.has_channels_last else value.shape[2:4]
    if not all(isinstance(length, int) for length in size):
        return model
    return model.with_input_size(size[1], size[0])


def input_plan(network: Network, file: "ForeignFile") -> Plan:
    """How a file takes a network's input.

    Raises:
        DarkconvError: it does not.
    """
    shape, inputs = network.input_shape, file.session.get_inputs()
    value, channels = inputs[0], shape.c if shape.is_map else shape.size
    rank = 4 if shape.is_map else 2
    axes = [axis for axis in (1, rank - 1) if value.shape[axis : axis + 1] == [channels]]
    if len(inputs) != 1 or len(value.shape) != rank or value.type not in KINDS or not axes:
        wanted = f"(N, {channels}, height, width)" if shape.is_map else f"(N, {channels})"
        raise DarkconvError(
            "input",
            where=Where(file=file.path),
            expected=f"one of shape {wanted}",
            found=", ".join(f"{v.name} {v.shape} {v.type}" for v in inputs),
        )
    batch = value.shape[0] if isinstance(value.shape[0], int) else None
    return Plan(value.name, KINDS[value.type], batch, axes[0] == 3)


def compare_foreign(
    model: Model, file: "ForeignFile", inputs: Inputs, *, device: str = "cpu"
) -> FileVerification:
    """Run a file of another tool and a model on the same inputs.

    Outputs and heads that nothing is like are told as warnings.

    Args:
        model: of `fitted_model`.
        file: of `darkconv.backends.onnx.read_any`.
        inputs: see `several_inputs`.
        device: where PyTorch runs.

    Raises:
        DarkconvError: the file takes another input, or none of its outputs is like anything.
    """
    plan = input_plan(model.network, file)
    groups = inputs.groups() if plan.batch is None else ([x] for x in inputs.values)
    runs = [run for group in groups for run in run_both(model, file, plan, group, device)]
    rows, sources = [], set()
    for name in file.outputs:
        each = [(np.squeeze(values[name]), known) for values, known in runs]
        match = nearest(name, each, ALLOWED[file.precision])
        if match is None:
            shape = runs[0][0][name].shape
            logger.warning("%s: output %s %s is like nothing", file.path, name, shape)
            continue
        rows.append(match[0])
        sources |= {match[1]}
    if not rows:
        raise DarkconvError(
            "no output has the shape of a head, or of boxes and scores",
            where=Where(file=file.path),
            expected=", ".join(sorted({str(one.values.shape) for one in runs[0][1]})),
            found=", ".join(f"{name} {shape}" for name, shape in file.outputs.items()),
        )
    tell_missing(model.network, file, sources)
    notes = (COARSE,) * (file.precision == "int8")
    return FileVerification(
        told_of_zeros(rows), inputs.words, notes, network=model.network, file=file.path
    )


def run_both(
    model: Model, file: "ForeignFile", plan: Plan, group: Sequence[Array], device: str
) -> Iterator[tuple[dict[str, npt.NDArray[Any]], list[Like]]]:
    """Yield a file's outputs by name for each input of a group, and all that they may be."""
    x = np.stack(group)
    if plan.kind is np.uint8:
        x = np.rint(x * 255).clip(0, 255).astype(np.float32) / np.float32(255)
    found = file.run({plan.name: plan.given(x)})
    values = trace(model, x, device=device)
    for place, own in enumerate(x):
        layers = [value[place] for value in values]
        every = np.concatenate([layers[i].ravel() for i in model.network.outputs])
        if missing := nan_remark(every):
            raise DarkconvError(f"the model's outputs agree with nothing: {missing}")
        outputs = {name: value[place : place + 1] for name, value in found.items()}
        yield outputs, list(likes(model.network, layers, own))


def nearest(
    name: str, each: list[tuple[npt.NDArray[Any], list[Like]]], allowed: float
) -> tuple[Agreement, str] | None:
    """Return the row of what an output is most like, and that one's source; None if of nothing.

    Args:
        name: of the output.
        each: for every input its values, and all that they may be, in the same order.
        allowed: relative error.
    """
    values, known = each[0]
    fits = [place for place, one in enumerate(known) if one.values.shape == values.shape]
    if not fits:
        return None
    rows = [
        joined([own[place].compared_with(name, v, allowed) for v, own in each]) for place in fits
    ]
    best = min(range(len(fits)), key=lambda i: rows[i].error)
    return rows[best], known[fits[best]].source


def tell_missing(network: Network, file: "ForeignFile", sources: set[str]) -> None:
    """Warn of heads that no output is like."""
    if ALL_HEADS in sources:
        return
    for index in network.outputs:
        if network.layers[index].label not in sources:
            logger.warning("%s: no output is like %s", file.path, network.layers[index].label)


ALL_HEADS = "all heads"


def likes(network: Network, layers: list[Array], x: Array) -> Iterator[Like]:
    """All that an output may be.

    Args:
        network: that made them.
        layers: values of every layer.
        x: what it ran on.
    """
    for index in network.outputs:
        layer = network.layers[index]
        name = layer.label
        yield from arranged(layer, name, name, layers[index])
        source = layer.sources[0]
        before = x if source == NETWORK_INPUT else layers[source]
        yield from arranged(layer, name, f"{name} before activation", before)
    if network.finds_boxes:
        yield from box_likes(network, layers)


def arranged(layer: Layer, source: str, what: str, values: Array) -> Iterator[Like]:
    """A map (channels, h, w) in the orders of axes that tools write."""
    yield Like(source, what, np.squeeze(values))
    if values.ndim != 3:
        return
    _, height, width = values.shape
    yield Like(source, f"{what}, channels last", np.squeeze(values.transpose(1, 2, 0)))
    if not isinstance(layer.spec, AnchorHead):
        return
    anchors = len(layer.spec.anchor_indices)
    if len(values) % anchors:
        return
    apart = values.reshape(anchors, -1, height, width)
    yield Like(source, f"{what}, anchors apart", np.squeeze(apart))
    last = apart.transpose(0, 2, 3, 1)
    yield Like(source, f"{what}, anchors apart, entries last", np.squeeze(last))
    rows = last.reshape(anchors * height * width, -1)
    yield Like(source, f"{what}, a row per anchor and cell", np.squeeze(rows))


def box_likes(network: Network, layers: list[Array]) -> Iterator[Like]:
    """Boxes and scores of all heads, and of each, in the forms that tools write."""
    heads = box_heads(network)
    found = decode(network, [layers[layer.index] for layer in heads], threshold=-1)
    counts = [box_count(layer, layers[layer.index]) for layer in heads]
    if sum(counts) != len(found.boxes):  # a class tree leaves boxes out
        return
    starts = np.cumsum([0, *counts])
    own = np.arange(len(found.boxes))
    turned = np.concatenate(
        [own[a:b].reshape(*rows_and_columns(layer, b - a)).T.ravel() for layer, a, b in
         zip(heads, starts, starts[1:], strict=False)]
    )  # fmt: skip
    groups = [(ALL_HEADS, slice(None))]
    if len(heads) > 1:
        names = [head.label for head in heads]
        groups += [(n, slice(a, b)) for n, a, b in zip(names, starts, starts[1:], strict=False)]
    for name, part in groups:
        for order, suffix in ((own, ""), (turned, ", cells innermost")):
            yield from forms(network, found, order[part], name, suffix)


def box_count(layer: Layer, values: Array) -> int:
    """Boxes of a head."""
    if isinstance(layer.spec, Detection):
        return layer.spec.cells * layer.spec.num
    assert isinstance(layer.spec, AnchorHead)
    return len(layer.spec.anchor_indices) * int(np.prod(values.shape[-2:]))


def rows_and_columns(layer: Layer, count: int) -> tuple[int, int]:
    """Of the table in which the decoder lists a head's boxes, row by row: cells and anchors."""
    if isinstance(layer.spec, Detection):
        return layer.spec.cells, layer.spec.num
    assert isinstance(layer.spec, AnchorHead)
    anchors = len(layer.spec.anchor_indices)
    if isinstance(layer.spec, Region) and not layer.spec.dialect.region_is_cell_major:
        return anchors, count // anchors
    return count // anchors, anchors


def forms(
    network: Network, found: Candidates, order: npt.NDArray[np.intp], name: str, suffix: str
) -> Iterator[Like]:
    """Boxes and scores in one order."""
    scores, known = found.scores[order], found.objectness[order, None]
    yield Like(name, f"scores of {name}{suffix}", np.squeeze(scores))
    classes = np.divide(scores, known, out=np.zeros_like(scores), where=known != 0)
    centred, pixels = found.boxes[order], np.tile(input_size(network), 2)
    for shape, boxes in (("x y w h", centred), ("corners", as_corners(centred))):
        for unit, size in (("relative", np.ones(4)), ("in pixels", pixels)):
            text, most = f"boxes of {name}, {shape}, {unit}{suffix}", BEYOND * float(size.max())
            values = (boxes * size).astype(np.float32)
            yield Like(name, text, np.squeeze(values), most)
            for kind, last in (("scores", scores), ("class probabilities", classes)):
                row = np.hstack([values, known, last])
                yield Like(name, f"{text}; objectness; {kind}", row, most)
