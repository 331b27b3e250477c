"""Running graphs in onnxruntime, recurrent state kept from call to call."""

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

FATAL = 4  # onnxruntime's own messages on stderr begin here: what fails is raised anyway
OPEN_FILES = "/proc/self/fd"  # on Linux
OUTSIDE_FOLDER = "session.model_external_initializers_file_folder_path"
LIGHT = 10**9
"""MACs below which a second thread gains less than it takes from whoever reads pictures."""


def make_session(
    source: bytes | PathLike,
    *,
    beside: Network | None = None,
    folder: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> Any:
    """Return a session of a file or its bytes, of onnxruntime or with the methods of its sessions.

    Args:
        source: the file, or its bytes.
        beside: the network, where other work goes on at the same time, such as reading the next
            pictures: threads that wait then sleep, and a light network leaves a processor free.
        folder: where the arrays lie that bytes name as outside; those of a file lie beside it.
        device: see `darkconv.backends.onnx.providers.find_providers`.
        threads: that compute on the CPU; by default as many as there are processors, or one less
            for a light network with `beside`.
        runtime: of `darkconv.backends.choices.RUNTIMES`; onnxruntime by default.

    Raises:
        MissingDependencyError: what runs it is not installed.
        DarkconvError: the file cannot be run, or not on the device.
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
    """A graph as onnxruntime can open it, which knows paths in UTF-8 alone.

    In a folder of another name the file is opened through the folder's number, so that arrays in
    other files are found beside it. A file of another name is read, and can have none.
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
    """Turn what onnxruntime raises into a DarkconvError: its exceptions have no common base."""
    try:
        yield
    except Exception as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise DarkconvError(f"onnxruntime cannot run it: {text}", where=Where(file=file)) from error


class Runner:
    """A graph to be called again and again.

    What comes out as `003_lstm.h_out` goes in as `003_lstm.h_in` at the next call. State starts
    at zero, and starts anew with a batch of another size.

    Attributes:
        session: of `make_session`.
        states: the output that belongs into each state input.
        outputs: names of the outputs that are no state.
        device: that the session was made for.
        threads: likewise.
        runtime: likewise, of `darkconv.backends.choices.RUNTIMES`.
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
        """For a session, the output that belongs into each state input, and the file's name."""
        self.session = session
        self.device, self.threads, self.runtime = device, threads, runtime or RUNTIMES[0]
        self._file = file
        self.states = dict(states)
        names = [output.name for output in session.get_outputs()]
        self.outputs = [name for name in names if name not in self.states.values()]
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
        names = [*self.outputs, *self.states.values()]
        with told_failures(self._file):
            values = self.session.run(names, {INPUT: x, **inputs, **self._state})
        kept = values[len(self.outputs) :]
        self._state = dict(zip(self.states, kept, strict=True))
        results: list[Array] = values[: len(self.outputs)]
        return results

    def reset(self) -> None:
        """Let the next call start with state zero."""
        self._batch = 0

    def _zeros(self, batch: int) -> dict[str, Array]:
        return {
            value.name: np.zeros((batch, *value.shape[1:]), np.float32)
            for value in self.session.get_inputs()
            if value.name in self.states
        }
