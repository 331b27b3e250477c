"""The ONNX spoke."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx

from darkconv.backends.onnx import conv, dense, head, inert, merge, norm, pool, recurrent, resize
from darkconv.backends.onnx.digest import digests
from darkconv.backends.onnx.files import ForeignFile, OnnxFile, read_any, read_onnx
from darkconv.backends.onnx.graph import plain_proto
from darkconv.backends.onnx.network import NetworkGraph
from darkconv.backends.onnx.options import OnnxOptions
from darkconv.backends.onnx.probe import SuppressionProbe
from darkconv.backends.onnx.reading_back import read_model
from darkconv.backends.onnx.running import Runner, make_session
from darkconv.backends.onnx.writing import build_model, data_path, write_onnx
from darkconv.core.model import Array, Model

__all__ = [
    "ForeignFile",
    "OnnxFile",
    "OnnxOptions",
    "SuppressionProbe",
    "conv",
    "data_path",
    "dense",
    "digests",
    "head",
    "inert",
    "make_runner",
    "merge",
    "norm",
    "pool",
    "read_any",
    "read_model",
    "read_onnx",
    "recurrent",
    "resize",
    "to_onnx",
    "trace_steps",
    "write_onnx",
]


def to_onnx(model: Model, *, head: str = "raw", **options: Any) -> onnx.ModelProto:
    """Build the ONNX model of a model, directly: nothing is traced.

    The input is called `input`. By default it is float32 (batch, channels, height, width), RGB in
    0..1, or (batch, inputs), for any number of pictures at once. The state of a recurrent layer is
    an input and an output, `003_lstm.h_in` and `003_lstm.h_out`: it is zero at the first call, and
    then the output of the last call.

    Args:
        model: model to build.
        head: kind of outputs, "raw", "logits", "boxes" or "nms": see `OnnxOptions`.
        options: the other fields of `OnnxOptions`.

    Raises:
        UnsupportedError: a layer that is not expressed in ONNX with these options.
        DarkconvError: an unknown option, or a head that the network does not have.
    """
    graph = build_model(model, OnnxOptions(head=head, **options))
    graph.metadata_props.update(digests(model))
    return plain_proto(graph)


def make_runner(
    model: Model,
    layers: Sequence[int] | None = None,
    *,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> Callable[[Array], list[Array]]:
    """Return a function from float32 inputs (N, ...) to the values of some layers.

    Args:
        model: model to run.
        layers: indices of the layers as Darknet counts them, from 0; None for the network's
            outputs.
        device: device to run on: see `darkconv.backends.onnx.providers`.
        threads: threads that compute on the CPU; None for one per processor.
        runtime: runtime of the graph: see `darkconv.backends.onnx.files.read_onnx`.

    Raises:
        DarkconvError: the runtime cannot compute on this device.
    """
    wanted = model.network.outputs if layers is None else layers
    return _runner(model, wanted, device, threads, runtime)


def trace_steps(model: Model, steps: Sequence[Array]) -> list[list[Array]]:
    """Return the outputs of every layer for successive calls with kept state.

    Args:
        model: model to run.
        steps: inputs of the calls, float32 (N, ...).

    Returns:
        For each call one array (N, ...) per layer.
    """
    run = _runner(model, range(len(model.network.layers)))
    return [run(step) for step in steps]


def _runner(
    model: Model,
    layers: Sequence[int],
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> Runner:
    built = NetworkGraph(model, OnnxOptions())
    built.build(layers)
    proto = plain_proto(built.finish([built.output(index) for index in layers], {}))
    states = {name: str(value.name) for name, value in built.graph.states.items()}
    given: dict[str, Any] = {"device": device, "threads": threads, "runtime": runtime}
    return Runner(make_session(proto.SerializeToString(), **given), states, **given)
