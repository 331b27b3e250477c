"""Finding the boxes that enter NMS in a graph, and those left at another threshold."""

import os
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx

from darkconv.backends.onnx.graph_file import read_graph
from darkconv.backends.onnx.nms import IOU_THRESHOLD, NEVER_SAME, SCORE_THRESHOLD
from darkconv.backends.onnx.running import Runner, make_session
from darkconv.errors import DarkconvError, Where
from darkconv.layers.box_heads import CONFIDENCES, box_outputs

if TYPE_CHECKING:
    from darkconv.backends.onnx.files import OnnxFile

Values = list[npt.NDArray[np.float32]]
PLACES = {"boxes": 0, "scores": 1, IOU_THRESHOLD: 3, SCORE_THRESHOLD: 4}
"""Indices of the operator's inputs."""
HIGHEST = 1.0  # a threshold with which hardly any box enters NMS


class SuppressionProbe:
    """A copy in memory of a file's graph, whose thresholds are inputs.

    The inputs of NMS, boxes and scores, are outputs of the copy, besides those of the file.
    """

    def __init__(self, file: "OnnxFile") -> None:
        """Read the file again, and change the copy of its graph.

        Args:
            file: the ONNX file.

        Raises:
            DarkconvError: the graph does not have exactly one NonMaxSuppression.
        """
        proto = read_graph(file.path)
        nodes = [node for node in proto.graph.node if node.op_type == "NonMaxSuppression"]
        if len(nodes) != 1:
            raise DarkconvError(
                "suppression", where=Where(file=file.path), expected="once", found=len(nodes)
            )
        (node,) = nodes
        self._before = [node.input[PLACES[name]] for name in ("boxes", "scores")]
        known = {value.name for value in proto.graph.output}
        for name in self._before:
            if name not in known:
                proto.graph.output.append(onnx.ValueInfoProto(name=name))
        for name in (IOU_THRESHOLD, SCORE_THRESHOLD):
            node.input[PLACES[name]] = name
            if name not in {value.name for value in proto.graph.input}:
                proto.graph.input.append(
                    onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])
                )
        folder = os.path.dirname(os.path.abspath(file.path))
        session = make_session(proto.SerializeToString(), folder=folder)
        self._run = Runner(session, file.run.states, file.path)
        self._own = file.run.outputs
        self._tests_objectness = CONFIDENCES in box_outputs(file.network)

    def before(self, x: npt.NDArray[np.generic], threshold: float) -> Values:
        """Return the boxes (N, n, 4) and scores (N, n, classes) that enter NMS.

        Args:
            x: the network's input.
            threshold: threshold of objectness, 0..1, which acts only where the graph compares
                objectness before NMS.
        """
        found = self._found(x, NEVER_SAME, threshold if self._tests_objectness else HIGHEST)
        boxes, scores = (found[name] for name in self._before)
        return [boxes, scores.transpose(0, 2, 1)]

    def after(self, x: npt.NDArray[np.generic], threshold: float, nms: float) -> Values:
        """Return the outputs of the file at other thresholds.

        Args:
            x: the network's input.
            threshold: score that a detection must exceed, 0..1.
            nms: IoU above which two boxes are the same object, 0..1; 0 keeps all boxes.
        """
        found = self._found(x, nms or NEVER_SAME, threshold)
        return [found[name] for name in self._own]

    def _found(
        self, x: npt.NDArray[np.generic], overlap: float, score: float
    ) -> dict[str, npt.NDArray[np.float32]]:
        thresholds = {
            IOU_THRESHOLD: np.array([overlap], np.float32),
            SCORE_THRESHOLD: np.array([score], np.float32),
        }
        self._run.reset()
        values = self._run(x, **thresholds)  # type: ignore[arg-type]
        return dict(zip(self._run.outputs, values, strict=True))
