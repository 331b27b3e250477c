"""measure_times: how long a network's layers take with fewer channels, on this machine."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.core.model import Header, InitialArrays, Model
from darkconv.core.network import NETWORK_INPUT, Layer, Network, build_network
from darkconv.core.options import Notes
from darkconv.core.section import Config
from darkconv.darknet.cfg import parse_cfg
from darkconv.detection.detect import runner
from darkconv.evaluation.latency import common_backend, interleaved
from darkconv.surgery.channels import ChannelClasses, find_classes
from darkconv.surgery.layer_times import LayerTimes, Times, channels_of

TYPES = ("convolutional", "deconvolutional", "local", "connected")
"""Types of layers that are measured; the others take little time, which follows these."""
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of a layer's input and output channels with which it is measured."""
BLOCK = 8
"""Channels that runtimes compute together: only multiples of it are measured."""
REPEATS = 10
SECONDS = 2.0
"""Seconds after which no further repeat of a layer begins."""

Counts = npt.NDArray[np.int64]


@checked
def measure_times(model: Model, *, progress: Callable[[int], None] | None = None) -> LayerTimes:
    """Measure how long each layer with weights takes, whole and with fewer channels.

    Each layer is run by itself, with random weights, at a few numbers of input and output channels;
    equal layers are measured once. They run in onnxruntime if it is installed and can run the
    model, otherwise in PyTorch.

    Args:
        model: model whose layers are measured.
        progress: called with the number of layers done.

    Returns:
        Times in milliseconds, as `dc.plan(..., latency=0.6, times=...)` takes them.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> model = load_digits10()
        >>> times = dc.measure_times(model)
        >>> plan = dc.plan(model, score="l1", latency=0.6, times=times)
    """
    network = model.network
    backend = common_backend([model])
    classes = find_classes(network)
    known: dict[object, tuple[Times, str]] = {}
    found, conditions = {}, ""
    for layer in network.layers:
        if layer.type in TYPES:
            counts = _counts(layer, classes)
            key = repr(layer.spec), layer.in_shapes, *(tuple(some.tolist()) for some in counts)
            if key not in known:
                known[key] = _measured(network, layer, *counts, backend)
            found[layer.index], conditions = known[key]
        if progress:
            progress(layer.index + 1)
    return LayerTimes(found, len(network.layers), conditions)


def _counts(layer: Layer, classes: ChannelClasses) -> tuple[Counts, Counts]:
    """Return the numbers of input and output channels with which a layer is measured."""
    inputs, outputs = channels_of(layer)
    (source,) = layer.sources
    is_free = source != NETWORK_INPUT and bool(classes.free[classes.of(source)].any())
    own = bool(classes.free[classes.of(layer.index)].any())
    return (
        _some(inputs, is_free and not _is_bound(layer)),
        _some(outputs, own),
    )


def _is_bound(layer: Layer) -> bool:
    """Return True if a layer's input channels are tied to its output channels."""
    slots = layer.slots or layer.spec.borrowed_slots(layer.in_shapes)
    return all(slot.in_axis is None for slot in slots)


def _some(total: int, is_free: bool) -> Counts:
    if not is_free:
        return np.array([total])
    block = 1 if total % BLOCK else BLOCK
    return np.unique([max(block, round(share * total / block) * block) for share in SHARES])


def _measured(
    network: Network, layer: Layer, inputs: Counts, outputs: Counts, backend: str
) -> tuple[Times, str]:
    """Return the times of a layer by itself, and how they were measured."""
    runs = {}
    for o in outputs.tolist():
        whole = layer.out_shape.c
        for i in inputs.tolist():
            read = i if not _is_bound(layer) else max(1, layer.in_shapes[0].c * o // whole)
            alone = _alone(network, layer, read, o)
            x = np.zeros((1, *alone.network.input_shape), np.float32)
            runs[f"{i} {o}"] = partial(runner(alone, backend), x)
    latency = interleaved(runs, backend, repeats=REPEATS, seconds=SECONDS)
    rows = [[latency.milliseconds[f"{i} {o}"] for o in outputs.tolist()] for i in inputs.tolist()]
    rising = np.maximum.accumulate(np.maximum.accumulate(np.array(rows), axis=0), axis=1)
    return Times(inputs, outputs, rising), latency.conditions


def _alone(network: Network, layer: Layer, inputs: int, outputs: int) -> Model:
    """Build a model of one layer with given numbers of channels."""
    shape = layer.in_shapes[0]
    if shape.is_map:
        text = f"[net]\nchannels={inputs}\nheight={shape.h}\nwidth={shape.w}\n"
    else:
        text = f"[net]\ninputs={inputs}\n"
    net, _ = parse_cfg(f"{text}[dropout]\n").sections
    section = network.config.sections[layer.index + 1].without(("share_index",))
    if outputs != layer.out_shape.c:
        section = section.set(layer.spec.count_options(outputs))
    config = Config(network.file, "", (net, replace(section, number=1)))
    one = build_network(config, network.dialect, notes=Notes())
    return Model(one, InitialArrays(one), Header.new(network.dialect))
