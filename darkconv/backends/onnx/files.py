"""Reading an ONNX file that darkconv wrote, with its metadata."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from darkconv.backends.choices import HEADS, INPUTS
from darkconv.backends.exported import ExportedFile, check_choices, expected_outputs
from darkconv.backends.layouts import NMS_OPS
from darkconv.backends.onnx.graph_file import read_graph
from darkconv.backends.onnx.metadata import read_metadata
from darkconv.backends.onnx.nms import IOU_THRESHOLD, NEVER_SAME, PLUGIN, SCORE_THRESHOLD
from darkconv.backends.onnx.picture import INPUT
from darkconv.backends.onnx.running import Runner, make_session, told_failures
from darkconv.core.model import Array
from darkconv.core.net import RESIZE_MODES
from darkconv.core.network import Network, build_network
from darkconv.core.options import Notes
from darkconv.darknet.cfg import parse_cfg
from darkconv.darknet.description import damaged, read_described_names, read_trees
from darkconv.darknet.dialect import named_dialect
from darkconv.encodings import from_plain
from darkconv.errors import DarkconvError, DatasetError, Where
from darkconv.files import PathLike

EIGHT_BIT_OPERATORS = ("QuantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear")
CHOICES = {
    "head": HEADS,
    "input": INPUTS,
    "boxes": ("relative", "pixels"),
    "precision": ("float32", "float16", "int8"),
    "resize": RESIZE_MODES,
}
"""Possible values of the metadata, by key."""


@dataclass(frozen=True)
class OnnxFile(ExportedFile):
    """A file of `write_onnx`, ready to run.

    Attributes:
        run: runs the graph, and keeps recurrent state from call to call.
    """

    run: Runner

    @property
    def takes(self) -> str:
        """Return the kind of input that `run` takes, one of `darkconv.backends.choices.INPUTS`."""
        return self.metadata["input"]

    @property
    def has_free_size(self) -> bool:
        """Return True if the file takes pictures of any size."""
        axes = self.run.session.get_inputs()[0].shape[1:]
        return any(not isinstance(length, int) for length in axes)

    @property
    def fixed_batch(self) -> int | None:
        """Return how many pictures the file takes at once; None for any number."""
        length = self.run.session.get_inputs()[0].shape[0]
        return length if isinstance(length, int) else None

    @property
    def has_threshold_inputs(self) -> bool:
        """Return True if the thresholds are inputs of the graph."""
        return SCORE_THRESHOLD in (value.name for value in self.run.session.get_inputs())

    def threshold_inputs(self, threshold: float, nms: float) -> dict[str, Array]:
        """Return the inputs that set the thresholds, by name; none if these are constants."""
        if not self.has_threshold_inputs:
            return {}
        return {
            SCORE_THRESHOLD: np.array([threshold], np.float32),
            IOU_THRESHOLD: np.array([nms or NEVER_SAME], np.float32),
        }


@dataclass(frozen=True)
class ForeignFile:
    """An ONNX file of another tool, ready to run.

    Attributes:
        path: path of the file.
        session: session of `make_session`.
        precision: dtype that its weights and operators show: "float32", "float16" or "int8".
    """

    path: str
    session: Any
    precision: str

    @property
    def outputs(self) -> dict[str, list[int | str]]:
        """Return the shapes of the outputs by name; a string is the name of a free length."""
        return {value.name: value.shape for value in self.session.get_outputs()}

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run the graph once, and return the outputs by name.

        Args:
            inputs: inputs by name, with the shapes and dtypes that the graph declares.

        Returns:
            Arrays in the order of `outputs`.

        Raises:
            DarkconvError: onnxruntime cannot run the graph on these inputs.
        """
        names = list(self.outputs)
        with told_failures(self.path):
            values = self.session.run(names, dict(inputs))
        return dict(zip(names, values, strict=True))


def read_onnx(
    path: PathLike,
    *,
    shares_processors: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> OnnxFile:
    """Read a file of `write_onnx`.

    Args:
        path: the ONNX file; arrays in other files beside it are read too.
        shares_processors: leave a part of the processors free for other work, such as reading the
            next pictures while one picture after the other is run.
        device: "auto", "cpu", "cuda", "cuda:N", "tensorrt", "openvino", "coreml" or "directml", as
            far as the installed onnxruntime supports them.
        threads: threads that compute on the CPU; None for one per processor.
        runtime: "onnxruntime", "openvino", or "openvino:bf16", which computes in bfloat16; None for
            onnxruntime.

    Raises:
        DarkconvError: the file is damaged, or was not written by darkconv; or there is no such
            device.
        MissingDependencyError: the runtime is not installed.
    """
    file = read_any(
        path, shares_processors=shares_processors, device=device, threads=threads, runtime=runtime
    )
    if isinstance(file, ForeignFile):
        raise DarkconvError(
            "has no cfg in its metadata: darkconv did not write it", where=Where(file=file.path)
        )
    return file


def read_any(
    path: PathLike,
    *,
    shares_processors: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> OnnxFile | ForeignFile:
    """Read a file of `write_onnx`, or an ONNX file of another tool.

    Args:
        path: the ONNX file.
        shares_processors: see `read_onnx`; it has no effect on files of other tools.
        device: see `read_onnx`.
        threads: see `read_onnx`.
        runtime: see `read_onnx`.

    Raises:
        DarkconvError: the file is damaged, or there is no such device.
        MissingDependencyError: the runtime is not installed.
    """
    where = Where(file=os.fspath(path))
    if not os.path.isfile(path):
        raise DarkconvError("no such file", where=where)
    proto = read_graph(path)
    metadata = read_metadata(proto)
    precision = weights_precision(proto)
    if "darkconv" not in metadata or "cfg" not in metadata:
        del proto
        session = make_session(path, device=device, threads=threads, runtime=runtime)
        return ForeignFile(str(where.file), session, precision)
    try:
        network = described_network(metadata, where)
        names, states = read_described_names(metadata), parse_states(metadata["states"])
        source = runnable(proto, path, metadata)
        del proto
        beside = network if shares_processors else None
        session = make_session(
            source,
            beside=beside,
            folder=None if source is path else os.path.dirname(os.path.abspath(path)),
            device=device,
            threads=threads,
            runtime=runtime,
        )
        run = Runner(session, states, where.file, device=device, threads=threads, runtime=runtime)
        check_metadata(metadata, network, run)
    except DatasetError as error:
        raise error.at(where) from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(error, where) from error
    return OnnxFile(str(where.file), metadata, network, names, run)


def runnable(
    proto: onnx.ModelProto, path: PathLike, metadata: Mapping[str, str]
) -> bytes | PathLike:
    """Return the part of a file that onnxruntime can run: all of it, or the nodes before a plugin.

    A graph that does NMS with TensorRT's plugin is cut there: the inputs of the plugin become
    outputs.

    Args:
        proto: model of the file; it is changed.
        path: path of the file.
        metadata: metadata of the file.

    Raises:
        ValueError: the metadata name the plugin, and the graph does not have it exactly once.
    """
    if "nms_op" in metadata:
        check_choices(metadata, {"nms_op": NMS_OPS}, ())
    if metadata.get("nms_op", NMS_OPS[0]) == NMS_OPS[0]:
        return path
    nodes = [node for node in proto.graph.node if node.op_type == PLUGIN]
    if len(nodes) != 1:
        raise ValueError(f"operator {PLUGIN}: expected once, found {len(nodes)} times")
    (plugin,) = nodes
    proto.graph.node.remove(plugin)
    kept = [value for value in proto.graph.output if value.name not in plugin.output]
    del proto.graph.output[:]
    entering = (onnx.ValueInfoProto(name=name) for name in plugin.input)
    proto.graph.output.extend([*entering, *kept])
    content: bytes = proto.SerializeToString()
    return content


def parse_states(text: str) -> dict[str, str]:
    """Parse which output holds the next value of each state input.

    Args:
        text: JSON of an object whose values are strings.

    Raises:
        ValueError: it is something else.
    """
    states = json.loads(text)
    if not isinstance(states, dict) or not all(isinstance(v, str) for v in states.values()):
        raise ValueError("states is no object of texts")
    return states


def check_metadata(metadata: Mapping[str, str], network: Network, run: Runner) -> None:
    """Check that the metadata are complete and fit the graph.

    Args:
        metadata: metadata of the file.
        network: network that the metadata describe.
        run: runner of the file's graph.

    Raises:
        ValueError: a value is missing or impossible, or the graph has other inputs or outputs.
    """
    check_choices(metadata, CHOICES, ("threshold", "nms") if network.finds_boxes else ())
    inputs = [value.name for value in run.session.get_inputs()]
    known = {INPUT, SCORE_THRESHOLD, IOU_THRESHOLD, *run.states}
    if INPUT not in inputs or not set(run.states) <= set(inputs) or not set(inputs) <= known:
        raise ValueError(f"the graph has the inputs {', '.join(inputs)}")
    given = {value.name for value in run.session.get_outputs()}
    missing = sorted(set(run.states.values()) - given)
    if missing:
        raise ValueError(f"the graph has no output {missing[0]}")
    expected = expected_outputs(network, metadata)
    if run.outputs != expected and metadata.get("nms_op", NMS_OPS[0]) == NMS_OPS[0]:
        found = ", ".join(run.outputs) or "none"
        raise ValueError(f"outputs: expected {', '.join(expected)}, found {found}")
    check_input(metadata, network, run)


def check_input(metadata: Mapping[str, str], network: Network, run: Runner) -> None:
    """Check that the graph's input has the shape of the network's.

    Args:
        metadata: metadata of the file, with the key "input".
        network: network of the file.
        run: runner of the file's graph.

    Raises:
        ValueError: the graph takes another shape.
    """
    (found,) = (value.shape for value in run.session.get_inputs() if value.name == INPUT)
    shape = network.input_shape
    expected = tuple(shape) if shape.is_map else (shape.size,)
    if "nhwc" in metadata["input"]:
        expected = (shape.h, shape.w, shape.c)
    fixed = [length for length in found if isinstance(length, int)]
    fits = all(a == b or not isinstance(a, int) for a, b in zip(found[1:], expected, strict=False))
    if len(found) != 1 + len(expected) or not fits or any(length < 1 for length in fixed):
        wanted, given = (", ".join(map(str, one)) for one in (expected, found[1:]))
        raise ValueError(f"input: expected (N, {wanted}), found (N, {given})")


def weights_precision(proto: onnx.ModelProto) -> str:
    """Return the dtype that weights and operators show: "float32", "float16" or "int8".

    Args:
        proto: model of the file.
    """
    if any(node.op_type in EIGHT_BIT_OPERATORS for node in proto.graph.node):
        return "int8"
    has_half = any(i.data_type == onnx.TensorProto.FLOAT16 for i in proto.graph.initializer)
    return "float16" if has_half else "float32"


def described_network(metadata: Mapping[str, str], where: Where) -> Network:
    """Return the network of a file, without warnings about its options, which `convert` gave.

    Args:
        metadata: metadata of the file.
        where: the file, for messages.

    Raises:
        KeyError, ValueError: the metadata lack an entry, or have an impossible value.
    """
    config = parse_cfg(from_plain(metadata["cfg"]), file=where.file)
    dialect, trees = named_dialect(metadata["dialect"]), read_trees(metadata, where)
    return build_network(config, dialect, trees=trees, notes=Notes())
