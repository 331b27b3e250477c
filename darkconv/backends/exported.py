"""The common base of exported files that can be run."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from darkconv.backends.choices import HEADS_OF, INPUTS
from darkconv.backends.layouts import NMS_OPS, SPLIT, BoxLayout, find_layout
from darkconv.core.model import Array
from darkconv.core.names import Names
from darkconv.core.network import Layer, Network
from darkconv.errors import DarkconvError, Where

logger = logging.getLogger("darkconv")


class GraphRunner(Protocol):
    """Runs a graph again and again, and keeps recurrent state from call to call."""

    @property
    def outputs(self) -> Sequence[str]:
        """Return the names of the outputs that are not recurrent state."""
        ...

    def __call__(self, x: npt.NDArray[Any], **inputs: Array) -> list[Array]:
        """Run the graph once, and return the outputs in the order of `outputs`.

        Args:
            x: the network's input, (N, ...).
            inputs: other inputs of the graph, by name.
        """
        ...


def parse_texts(content: bytes) -> dict[str, str]:
    """Parse a JSON object whose values are all strings.

    Args:
        content: JSON in UTF-8.

    Raises:
        ValueError: it is not such an object.
    """
    texts = json.loads(content)
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("the metadata are no texts by name")
    return texts


def logits_name(layer: Layer) -> str:
    """Return the name of the output that holds the input of a head: `082_yolo_logits`.

    Args:
        layer: the head.
    """
    return f"{layer.label}_logits"


def expected_outputs(network: Network, metadata: Mapping[str, str]) -> list[str]:
    """Return the names of the outputs that a file must have, without recurrent states.

    Args:
        network: network of the file.
        metadata: metadata of the file, with the keys "head" and perhaps "layout".

    Raises:
        ValueError: there is no such layout.
    """
    head = metadata["head"]
    if head == "raw":
        return [network.layers[index].label for index in network.outputs]
    if head == "logits":
        return [logits_name(layer) for layer in network.heads]
    if not network.finds_boxes:
        return ["probabilities"]
    try:
        form = find_layout(head, metadata.get("layout", SPLIT))
    except DarkconvError as error:
        raise ValueError(str(error)) from None
    return [output.name for output in form.outputs_of(network)]


def tell_missing(outputs: Sequence[npt.NDArray[Any]], file: str) -> int:
    """Return how many output values are NaN when a file is run on zeros, and log a warning.

    This is no error, since some valid networks divide by zero on such an input.

    Args:
        outputs: arrays that the file gave; only floating-point ones are searched.
        file: name of the file, for the warning.
    """
    floats = [one for one in outputs if one.dtype.kind == "f"]
    missing = sum(int(np.count_nonzero(np.isnan(one))) for one in floats)
    if missing:
        total = sum(one.size for one in floats)
        many = "all" if missing == total else f"{missing:,} of"
        logger.warning("%s: run once on zeros, %s %s values are NaN", file, many, f"{total:,}")
    return missing


def check_choices(
    metadata: Mapping[str, str], choices: Mapping[str, Sequence[str]], numbers: Sequence[str]
) -> None:
    """Check that metadata have all required entries, with possible values.

    Args:
        metadata: metadata of a file.
        choices: possible values, by key.
        numbers: keys whose values must be numbers from 0 to 1.

    Raises:
        ValueError: a value is missing or impossible.
    """
    for key in (*choices, *numbers):
        if key not in metadata:
            raise ValueError(f"the metadata have no {key}")
    for key, values in choices.items():
        if metadata[key] not in values:
            raise ValueError(f"{key}: expected {', '.join(values)}, found {metadata[key]}")
    for key in numbers:
        try:
            is_share = 0 <= float(metadata[key]) <= 1
        except ValueError:
            is_share = False
        if not is_share:
            raise ValueError(f"{key}: expected a number from 0 to 1, found {metadata[key]}")


@dataclass(frozen=True)
class ExportedFile:
    """A file that darkconv wrote, ready to run.

    Attributes:
        path: path of the file.
        metadata: metadata as the file holds them.
        network: network that the file was built from; its arrays are in the graph alone.
        names: class names.
        run: runs the graph, and returns its outputs in order, without recurrent states.
    """

    path: str
    metadata: Mapping[str, str]
    network: Network
    names: Names
    run: GraphRunner

    @property
    def head(self) -> str:
        """Return the kind of outputs: "raw", "boxes", "nms" or "logits"."""
        return self.metadata["head"]

    @property
    def form(self) -> BoxLayout | None:
        """Return the layout of the boxes; None where the file gives no boxes."""
        if self.head not in HEADS_OF["layout"] or not self.network.finds_boxes:
            return None
        return find_layout(self.head, self.metadata.get("layout", SPLIT))

    @property
    def takes(self) -> str:
        """Return the kind of input that `run` takes, one of `darkconv.backends.choices.INPUTS`."""
        return INPUTS[0]

    @property
    def nms_op(self) -> str:
        """Return which operators do NMS in the graph, of `darkconv.backends.layouts.NMS_OPS`."""
        return self.metadata.get("nms_op", NMS_OPS[0])

    def taken_apart(self, outputs: Sequence[npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs for one picture, by the parts of the file's layout.

        A file that gives no boxes has no layout; its outputs are returned by their names.

        Args:
            outputs: arrays of one picture in the order of `run.outputs`, without a batch axis.
        """
        named = dict(zip(self.run.outputs, outputs, strict=True))
        return self.form.taken_apart(named) if self.form else named

    @property
    def precision(self) -> str:
        """Return the dtype that most of the file computes in: "float32", "float16" or "int8"."""
        return self.metadata.get("precision", "float32")

    @property
    def resize(self) -> str:
        """Return how pictures are fitted to the input: "stretch" or "letterbox"."""
        return self.metadata["resize"]

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Return width and height of the input in pixels; where they are free, those of the cfg."""
        shape = self.network.input_shape
        return (shape.w, shape.h) if shape.is_map else None

    @property
    def has_free_size(self) -> bool:
        """Return True if the file takes pictures of any size."""
        return False

    @property
    def fixed_batch(self) -> int | None:
        """Return how many pictures the file takes at once; None for any number."""
        return None

    @property
    def has_threshold_inputs(self) -> bool:
        """Return True if the thresholds are inputs of the graph."""
        return False

    def with_input_size(self, width: int, height: int) -> Self:
        """Return the same file for pictures of another size.

        Args:
            width: width of the input, in pixels.
            height: height of the input, in pixels.

        Raises:
            DarkconvError: the graph has another size, which is fixed.
        """
        if not self.has_free_size and (width, height) != self.input_size:
            raise DarkconvError(
                "input size",
                where=Where(file=self.path),
                expected=f"{self.network.input_shape}, which is fixed in the graph",
                found=f"{width}x{height}",
                hint="convert with --input-size, or to ONNX with --dynamic batch,size",
            )
        return replace(self, network=self.network.with_input_size(width, height))

    def threshold_inputs(self, threshold: float, nms: float) -> dict[str, Array]:
        """Return the inputs that set the thresholds, by name; none if these are constants.

        Args:
            threshold: score that a detection must exceed, 0..1.
            nms: IoU above which two boxes are the same object, 0..1; 0 keeps all boxes.
        """
        return {}

    @property
    def hidden(self) -> frozenset[int]:
        """Return the indices of the classes that the names file hides with `dont_show`."""
        return self.names.hidden

    def class_name(self, index: int) -> str:
        """Return the name of a class, or its index as text where the file has no name for it.

        Args:
            index: index of the class, from 0.
        """
        return self.names[index] if index < len(self.names) else str(index)
