"""Running LiteRT graphs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.keras.heads import HeadsAlone
from darkconv.backends.keras.litert_graph import channels_last
from darkconv.backends.keras.network import INPUT
from darkconv.backends.keras.running import cell_major_names, in_darknet
from darkconv.backends.quiet import quiet
from darkconv.core.model import Array
from darkconv.core.network import Network
from darkconv.core.processors import count_processors
from darkconv.files import PathLike, is_utf8
from darkconv.libraries import telling_missing


def make_interpreter(
    source: bytes | PathLike, *, threads: int | None = None, keeps_values: bool = False
) -> Any:
    """Return a LiteRT interpreter of a file, or of its bytes.

    Args:
        source: path of the file, or its content.
        threads: number of CPU threads; None for one for each processor.
        keeps_values: keep the values of all tensors, so that they can be read after a call.

    Raises:
        MissingDependencyError: ai-edge-litert is not installed.
        ValueError: the file cannot be run.
    """
    with telling_missing("running a LiteRT file"), quiet():
        from ai_edge_litert.interpreter import Interpreter
    with quiet():
        given: dict[str, Any] = {"model_content": source}
        if not isinstance(source, bytes):
            named = {"model_path": str(source)}
            given = named if is_utf8(source) else {"model_content": Path(source).read_bytes()}
        given["experimental_preserve_all_tensors"] = keeps_values
        interpreter = Interpreter(**given, num_threads=threads or count_processors())
        interpreter.allocate_tensors()
    return interpreter


def as_levels(x: npt.NDArray[Any], details: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Quantize numbers with the scale and zero point of a tensor.

    Args:
        x: float32 array.
        details: the interpreter's description of the tensor.

    Returns:
        Integers of the tensor's dtype; x itself if the tensor is not quantized.
    """
    scale, zero = details["quantization"]
    if not scale:
        return x
    kind = np.iinfo(details["dtype"])
    levels: npt.NDArray[Any] = np.rint(x / np.float32(scale) + zero)
    return levels.clip(kind.min, kind.max).astype(kind.dtype)


def as_numbers(levels: npt.NDArray[Any], details: Mapping[str, Any]) -> Array:
    """Convert quantized values of a tensor to float32: the inverse of `as_levels`.

    Args:
        levels: integers, or floats, which are returned as they are.
        details: the interpreter's description of the tensor.
    """
    scale, zero = details["quantization"]
    if not scale:
        return levels
    numbers: Array = (levels.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return numbers


class LitertRunner:
    """A LiteRT graph that is called again and again with arrays in Darknet's order.

    Inputs and outputs are float32, also if the graph is quantized.

    Attributes:
        outputs: names of the outputs that are not recurrent state.
    """

    def __init__(
        self,
        interpreter: Any,
        outputs: Sequence[str],
        states: Mapping[str, str],
        network: Network,
        *,
        lacks_heads: bool = False,
    ) -> None:
        """Take an interpreter.

        Args:
            interpreter: interpreter of the graph.
            outputs: names of its outputs, in order.
            states: for each input of recurrent state the output that it gets at the next call.
            network: network that the graph was built from.
            lacks_heads: the graph ends before the heads, which are computed here.

        Raises:
            ValueError: the graph has other inputs or outputs.
        """
        self._names = list(outputs)
        self._heads = HeadsAlone(network) if lacks_heads else None
        self.outputs = self._heads.outputs if self._heads else self._names
        with quiet():
            self._call = interpreter.get_signature_runner()
        self._next = dict(states)
        self._check()
        self._state: dict[str, Array] = {}
        self._batch = 0
        self._cell_major = cell_major_names(network)

    def _check(self) -> None:
        inputs, outputs = self._call.get_input_details(), self._call.get_output_details()
        for name in (*self._names, *self._next.values()):
            if name not in outputs:
                raise ValueError(f"the graph has no output {name}")
        if {INPUT, *self._next} != set(inputs):
            raise ValueError(f"the graph has the inputs {', '.join(sorted(inputs))}")

    def __call__(self, x: npt.NDArray[Any], **inputs: Array) -> list[Array]:
        """Run the graph once, and return its outputs in Darknet's order.

        Args:
            x: float32 batch (N, C, H, W) or (N, values).
            **inputs: other inputs of the graph, by name.
        """
        if len(x) != self._batch:
            shapes = self._call.get_input_details()
            self._batch = len(x)
            self._state = {
                name: np.zeros((len(x), *shapes[name]["shape"][1:]), np.float32)
                for name in self._next
            }
        given = as_levels(channels_last(x), self._call.get_input_details()[INPUT])
        values = self._call(**{INPUT: given}, **inputs, **self._state)
        self._state = {name: values[output] for name, output in self._next.items()}
        details = self._call.get_output_details()
        found = [as_numbers(values[name], details[name]) for name in self._names]
        found = self._heads(found) if self._heads else found
        return [
            in_darknet(value, is_cell_major=name in self._cell_major)
            for name, value in zip(self.outputs, found, strict=True)
        ]
