"""Running graphs in onnxruntime, recurrent state kept from call to call."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.onnx.picture import INPUT
from darkconv.core.model import Array
from darkconv.errors import DarkconvError, MissingDependencyError, Where
from darkconv.files import PathLike


def make_session(source: bytes | PathLike) -> Any:
    """An onnxruntime session on the CPU, of a file or a file's bytes.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        DarkconvError: the file cannot be run.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "onnxruntime", extra="onnx", task="running an ONNX model"
        ) from None
    graph = source if isinstance(source, bytes) else str(source)
    try:
        return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common base
        where = Where(file=None if isinstance(source, bytes) else str(source))
        text = str(error).splitlines()[0]
        raise DarkconvError(f"onnxruntime cannot run it: {text}", where=where) from error


class Runner:
    """A graph to be called again and again.

    What comes out as `003_lstm.h_out` goes in as `003_lstm.h_in` at the next call. State starts
    at zero, and starts anew with a batch of another size.

    Attributes:
        session: of onnxruntime.
        outputs: names of the outputs that are no state.
    """

    def __init__(self, session: Any, states: Mapping[str, str]) -> None:
        """For a session and the output that belongs into each state input."""
        self.session = session
        self._next = dict(states)
        names = [output.name for output in session.get_outputs()]
        self.outputs = [name for name in names if name not in self._next.values()]
        self._state: dict[str, Array] = {}
        self._batch = 0

    def __call__(self, x: Array | npt.NDArray[np.uint8], **inputs: Array) -> list[Array]:
        """Run once.

        Args:
            x: the network's input, (N, ...).
            inputs: others of the graph's, by name.
        """
        if len(x) != self._batch:
            self._batch, self._state = len(x), self._zeros(len(x))
        names = [*self.outputs, *self._next.values()]
        values = self.session.run(names, {INPUT: x, **inputs, **self._state})
        kept = values[len(self.outputs) :]
        self._state = dict(zip(self._next, kept, strict=True))
        results: list[Array] = values[: len(self.outputs)]
        return results

    def _zeros(self, batch: int) -> dict[str, Array]:
        return {
            value.name: np.zeros((batch, *value.shape[1:]), np.float32)
            for value in self.session.get_inputs()
            if value.name in self._next
        }
