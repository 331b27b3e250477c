"""Running graphs in onnxruntime, with recurrent state that is kept from call to call."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.choices import RUNTIMES, parse_runtime
from darkconv.backends.onnx.on_openvino import OpenvinoSession
from darkconv.backends.onnx.picture import INPUT
from darkconv.backends.onnx.providers import check_provider, find_providers
from darkconv.core.model import Array
from darkconv.core.network import Network
from darkconv.core.processors import count_processors
from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike, is_utf8
from darkconv.libraries import telling_missing

FATAL = 4  # lowest level of onnxruntime's messages on stderr; errors are raised anyway
OPEN_FILES = "/proc/self/fd"  # folder of the open files, on Linux
OUTSIDE_FOLDER = "session.model_external_initializers_file_folder_path"
LIGHT = 10**9
"""MACs below which a second thread helps less than it hinders the reading of pictures."""


def make_session(
    source: bytes | PathLike,
    *,
    beside: Network | None = None,
    folder: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> Any:
    """Return a session of onnxruntime, or one of OpenVINO with the methods of onnxruntime's.

    Args:
        source: path of the ONNX file, or its bytes.
        beside: the network, where other work goes on at the same time, such as reading the next
            pictures; then waiting threads sleep, and a light network leaves a processor free. None
            otherwise.
        folder: folder of the arrays that lie outside the bytes of `source`; arrays of a file lie
            beside it.
        device: see `darkconv.backends.onnx.providers.find_providers`.
        threads: threads that compute on the CPU; None for one per processor, or one less for a
            light network with `beside`.
        runtime: one of `darkconv.backends.choices.RUNTIMES`; None for onnxruntime.

    Raises:
        MissingDependencyError: the runtime is not installed.
        DarkconvError: the file cannot be run, or not on this device.
    """
    if parse_runtime(runtime)[0] == "openvino":
        return _openvino_session(source, device, threads, str(runtime))
    with telling_missing("running an ONNX model"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    if beside is not None:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if beside.macs < LIGHT:
            options.intra_op_num_threads = max(1, count_processors() - 1)
    if threads is not None:
        options.intra_op_num_threads = threads
    if folder is not None:
        options.add_session_config_entry(OUTSIDE_FOLDER, folder)
    file = None if isinstance(source, bytes) else str(source)
    providers = find_providers(device, file)
    with told_failures(file), reachable(source) as graph:
        session = onnxruntime.InferenceSession(
            graph,
            options,
            providers=providers,
            enable_fallback=0,  # it prints the error to stdout, and tries the same again
        )
    check_provider(session, device, file)
    return session


def _openvino_session(
    source: bytes | PathLike, device: str, threads: int | None, runtime: str
) -> OpenvinoSession:
    file = None if isinstance(source, bytes) else str(source)
    if device not in ("auto", "cpu"):
        expected = "auto or cpu, on which OpenVINO computes"
        raise DarkconvError("device", where=Where(file=file), expected=expected, found=device)
    with reachable(source) as graph:
        return OpenvinoSession(graph, runtime=runtime, file=file, threads=threads)


@contextlib.contextmanager
def reachable(source: bytes | PathLike) -> Iterator[bytes | str]:
    """Yield a graph in a form that onnxruntime can open, since it knows only paths in UTF-8.

    In a folder whose name is not UTF-8 the file is opened through the folder's file descriptor, so
    that arrays in other files are found beside it. A file whose own name is not UTF-8 is read into
    memory, and can have no arrays in other files.

    Args:
        source: path of the ONNX file, or its bytes.

    Yields:
        Bytes of the graph, or a path in UTF-8.
    """
    if isinstance(source, bytes) or is_utf8(source):
        yield source if isinstance(source, bytes) else str(source)
        return
    path = Path(source)
    if not (is_utf8(path.name) and os.path.isdir(OPEN_FILES)):
        yield path.read_bytes()
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"{OPEN_FILES}/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.contextmanager
def told_failures(file: str | None) -> Iterator[None]:
    """Turn any exception of onnxruntime into a DarkconvError, since they have no common base class.

    Args:
        file: name of the file, for the message; None where the graph has none.

    Raises:
        DarkconvError: an exception was raised within the `with` block.
    """
    try:
        yield
    except Exception as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise DarkconvError(f"onnxruntime cannot run it: {text}", where=Where(file=file)) from error


class Runner:
    """A graph that can be called again and again.

    The output `003_lstm.h_out` becomes the input `003_lstm.h_in` of the next call. State starts at
    zero, and starts at zero again when the batch size changes.

    Attributes:
        session: session of `make_session`.
        states: output that holds the next value of each state input, by the input's name.
        outputs: names of the outputs that are not recurrent state.
        device: device that the session was made for.
        threads: threads that the session was made for; None for the default.
        runtime: runtime of the session, one of `darkconv.backends.choices.RUNTIMES`.
    """

    def __init__(
        self,
        session: Any,
        states: Mapping[str, str],
        file: str | None = None,
        *,
        device: str = "cpu",
        threads: int | None = None,
        runtime: str | None = None,
    ) -> None:
        """Store a session and its settings; state starts at zero.

        Args:
            session: session of `make_session`.
            states: output that holds the next value of each state input, by the input's name.
            file: name of the file, for messages.
            device: device that the session was made for.
            threads: threads that the session was made for; None for the default.
            runtime: runtime of the session; None for onnxruntime.
        """
        self.session = session
        self.device, self.threads, self.runtime = device, threads, runtime or RUNTIMES[0]
        self._file = file
        self.states = dict(states)
        names = [output.name for output in session.get_outputs()]
        self.outputs = [name for name in names if name not in self.states.values()]
        self._state: dict[str, Array] = {}
        self._batch = 0

    def __call__(self, x: Array | npt.NDArray[np.uint8], **inputs: Array) -> list[Array]:
        """Run the graph once, and return the outputs in the order of `outputs`.

        Args:
            x: the network's input, (N, ...).
            inputs: other inputs of the graph, by name.

        Raises:
            DarkconvError: onnxruntime cannot run the graph.
        """
        if len(x) != self._batch:
            self._batch, self._state = len(x), self._zeros(len(x))
        names = [*self.outputs, *self.states.values()]
        with told_failures(self._file):
            values = self.session.run(names, {INPUT: x, **inputs, **self._state})
        kept = values[len(self.outputs) :]
        self._state = dict(zip(self.states, kept, strict=True))
        results: list[Array] = values[: len(self.outputs)]
        return results

    def reset(self) -> None:
        """Set the state to zero for the next call."""
        self._batch = 0

    def _zeros(self, batch: int) -> dict[str, Array]:
        return {
            value.name: np.zeros((batch, *value.shape[1:]), np.float32)
            for value in self.session.get_inputs()
            if value.name in self.states
        }
