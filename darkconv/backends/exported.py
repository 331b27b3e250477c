"""What the exported files have in common that can be run."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from darkconv.backends.choices import HEADS_OF, INPUTS
from darkconv.backends.layouts import NMS_OPS, SPLIT, Layout, find_layout
from darkconv.core.model import Array
from darkconv.core.names import Names
from darkconv.core.network import Network
from darkconv.errors import DarkconvError, Where

logger = logging.getLogger("darkconv")


class GraphRunner(Protocol):
    """Calls a graph again and again, recurrent state kept from call to call."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the outputs that are no state."""
        ...

    def __call__(self, x: npt.NDArray[Any], **inputs: Array) -> list[Array]:
        """Run once.

        Args:
            x: the network's input, (N, ...).
            inputs: others of the graph's, by name.
        """
        ...


def parse_texts(content: bytes) -> dict[str, str]:
    """A JSON object whose values are texts.

    Raises:
        ValueError: it is none.
    """
    texts = json.loads(content)
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("the metadata are no texts by name")
    return texts


def tell_missing(outputs: Sequence[npt.NDArray[Any]], file: str) -> int:
    """Return how many values are NaN that a file gives for zeros when it is tried, and warn.

    A network may be made so that it divides by nothing there, so that this is no error.
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
    """Check what metadata say.

    Args:
        metadata: of a file.
        choices: what can be said, by key.
        numbers: keys that have a number from 0 to 1.

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
    """A file that darkconv has written, ready to run.

    Attributes:
        path: of the file.
        metadata: as they stand in it.
        network: what it was built from; its arrays are in the graph alone.
        names: class names.
        run: calls the graph; gives its outputs without states, in order.
    """

    path: str
    metadata: Mapping[str, str]
    network: Network
    names: Names
    run: GraphRunner

    @property
    def head(self) -> str:
        """Kind of its outputs: "raw", "boxes", "nms" or "logits"."""
        return self.metadata["head"]

    @property
    def form(self) -> Layout | None:
        """Layout of its boxes; None where it gives none."""
        if self.head not in HEADS_OF["layout"] or not self.network.finds_boxes:
            return None
        return find_layout(self.head, self.metadata.get("layout", SPLIT))

    @property
    def takes(self) -> str:
        """Kind of input that `run` is called with, of `darkconv.backends.choices.INPUTS`."""
        return INPUTS[0]

    @property
    def nms_op(self) -> str:
        """What suppresses in the graph, of `darkconv.backends.layouts.NMS_OPS`."""
        return self.metadata.get("nms_op", NMS_OPS[0])

    def taken_apart(self, outputs: Sequence[npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return what is in the outputs for one picture, by the parts of its layout.

        Where it gives no boxes these are the outputs, by their names.

        Args:
            outputs: without a batch axis.
        """
        named = dict(zip(self.run.outputs, outputs, strict=True))
        return self.form.taken_apart(named) if self.form else named

    @property
    def precision(self) -> str:
        """What most of it computes in: "float32", "float16" or "int8"."""
        return self.metadata.get("precision", "float32")

    @property
    def resize(self) -> str:
        """Return how pictures are fitted to its input: "stretch" or "letterbox"."""
        return self.metadata["resize"]

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Width and height of pictures, those of the cfg where they are free."""
        shape = self.network.input_shape
        return (shape.w, shape.h) if shape.is_map else None

    @property
    def has_free_size(self) -> bool:
        """Whether pictures of any size may come."""
        return False

    @property
    def fixed_batch(self) -> int | None:
        """How many pictures it takes at once; None for any number."""
        return None

    @property
    def has_threshold_inputs(self) -> bool:
        """Whether its thresholds are inputs."""
        return False

    def with_input_size(self, width: int, height: int) -> Self:
        """The same file for pictures of another size.

        Raises:
            DarkconvError: its size is not free.
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
        """The thresholds by the names of the inputs that take them; none if they are constants."""
        return {}

    @property
    def hidden(self) -> frozenset[int]:
        """Classes that `dont_show` in the names file kept from being shown."""
        return self.names.hidden

    def class_name(self, index: int) -> str:
        """Name of a class, or its number where the file has no name for it."""
        return self.names[index] if index < len(self.names) else str(index)
