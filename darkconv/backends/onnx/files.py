"""Reading an ONNX file that darkconv has written: all that its metadata say."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from darkconv.backends.exported import ExportedFile
from darkconv.backends.onnx.metadata import TREE_PREFIX
from darkconv.backends.onnx.nms import IOU_THRESHOLD, NEVER_SAME, SCORE_THRESHOLD
from darkconv.backends.onnx.running import Runner, make_session
from darkconv.core.model import Array
from darkconv.core.network import Network, build_network
from darkconv.core.options import Notes
from darkconv.darknet.cfg import parse_cfg
from darkconv.darknet.data import parse_tree
from darkconv.darknet.dialect import named_dialect
from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike

EIGHT_BIT_OPERATORS = ("QuantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class OnnxFile(ExportedFile):
    """A file of `write_onnx`, ready to run."""

    run: Runner

    @property
    def has_free_size(self) -> bool:
        """Whether pictures of any size may come."""
        axes = self.run.session.get_inputs()[0].shape
        return "height" in axes

    @property
    def has_threshold_inputs(self) -> bool:
        """Whether its thresholds are inputs."""
        return SCORE_THRESHOLD in (value.name for value in self.run.session.get_inputs())

    def threshold_inputs(self, threshold: float, nms: float) -> dict[str, Array]:
        """The thresholds by the names of the inputs that take them; none if they are constants."""
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
        path: of the file.
        session: of onnxruntime.
    """

    path: str
    session: Any

    @property
    def outputs(self) -> dict[str, list[int | str]]:
        """Shapes by name; a text names a length that is free."""
        return {value.name: value.shape for value in self.session.get_outputs()}

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """The outputs by name."""
        names = list(self.outputs)
        return dict(zip(names, self.session.run(names, dict(inputs)), strict=True))

    @property
    def precision(self) -> str:
        """What its weights and operators show: "float32", "float16" or "int8"."""
        graph = onnx.load(self.path, load_external_data=False).graph
        if any(node.op_type in EIGHT_BIT_OPERATORS for node in graph.node):
            return "int8"
        has_half = any(i.data_type == onnx.TensorProto.FLOAT16 for i in graph.initializer)
        return "float16" if has_half else "float32"


def read_onnx(path: PathLike) -> OnnxFile:
    """Read a file of `write_onnx`.

    Raises:
        DarkconvError: the file is damaged, or was not written by darkconv.
        MissingDependencyError: onnxruntime is not installed.
    """
    file = read_any(path)
    if isinstance(file, ForeignFile):
        raise DarkconvError(
            "has no cfg in its metadata: darkconv did not write it", where=Where(file=file.path)
        )
    return file


def read_any(path: PathLike) -> OnnxFile | ForeignFile:
    """Read a file of `write_onnx`, or one of another tool.

    Raises:
        DarkconvError: the file is damaged.
        MissingDependencyError: onnxruntime is not installed.
    """
    where = Where(file=os.fspath(path))
    if not os.path.isfile(path):
        raise DarkconvError("no such file", where=where)
    session = make_session(path)
    metadata = session.get_modelmeta().custom_metadata_map
    if "darkconv" not in metadata or "cfg" not in metadata:
        return ForeignFile(str(where.file), session)
    try:
        network = _network(metadata, where)
        names = tuple(json.loads(metadata["names"]))
        run = Runner(session, json.loads(metadata["states"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DarkconvError(f"damaged metadata: {error!r}", where=where) from error
    return OnnxFile(str(where.file), metadata, network, names, run)


def _network(metadata: Mapping[str, str], where: Where) -> Network:
    """The network, warnings about its options left out: they came when it was converted."""
    trees = {
        name.removeprefix(TREE_PREFIX): parse_tree(text, file=where.file)
        for name, text in metadata.items()
        if name.startswith(TREE_PREFIX)
    }
    config = parse_cfg(metadata["cfg"], file=where.file)
    return build_network(config, named_dialect(metadata["dialect"]), trees=trees, notes=Notes())
