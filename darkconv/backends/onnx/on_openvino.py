"""OpenVINO as a runtime: a session with the methods of onnxruntime's."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.choices import BFLOAT16, parse_runtime
from darkconv.errors import DarkconvError, Where
from darkconv.libraries import telling_missing

SINK = "/sink_port_0"
"""Suffix of OpenVINO's names of the nodes that hold outputs."""
HINTS = {"float32": "f32", BFLOAT16: "bf16"}
"""OpenVINO's names of the dtypes that it computes in."""


@dataclass(frozen=True)
class Value:
    """An input or output of a graph.

    Attributes:
        name: name of the input or output.
        shape: lengths of its axes; None for a free one.
    """

    name: str
    shape: list[int | None]


class OpenvinoSession:
    """A graph that OpenVINO runs on the CPU, with the methods of an onnxruntime session.

    `run` may be called from several threads at once.
    """

    def __init__(
        self, graph: bytes | str, *, runtime: str, file: str | None, threads: int | None = None
    ) -> None:
        """Compile a graph.

        Args:
            graph: path of the ONNX file, or its bytes.
            runtime: "openvino" computes in float32, "openvino:bf16" in bfloat16.
            file: name of the file, for messages.
            threads: threads that compute; None for OpenVINO's own choice.

        Raises:
            MissingDependencyError: OpenVINO is not installed.
            DarkconvError: OpenVINO cannot run the graph, or this processor has no bfloat16.
        """
        with telling_missing("running an ONNX model in OpenVINO"):
            import openvino
        self._file = file
        _, precision = parse_runtime(runtime)
        core = openvino.Core()
        with told(file):
            model = core.read_model(graph)
            self.compiled = core.compile_model(model, "CPU", settings_of(precision, threads))
        self._check_precision(precision)
        self._inputs = [value_of(one) for one in self.compiled.inputs]
        self._outputs = [value_of(one) for one in self.compiled.outputs]
        self._places = {one.name: place for place, one in enumerate(self._outputs)}
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def get_inputs(self) -> list[Value]:
        """Return the inputs, in the graph's order."""
        return self._inputs

    def get_outputs(self) -> list[Value]:
        """Return the outputs, in the graph's order."""
        return self._outputs

    def run(
        self, names: Sequence[str] | None, inputs: Mapping[str, npt.NDArray[Any]]
    ) -> list[npt.NDArray[Any]]:
        """Run the graph once, and return its outputs.

        Args:
            names: names of the outputs that are wanted; None for all.
            inputs: inputs by name, with the shapes and dtypes that the graph declares.

        Returns:
            One array for each wanted output, in memory of its own.

        Raises:
            DarkconvError: OpenVINO cannot run the graph.
        """
        wanted = list(self._places) if names is None else names
        with told(self._file), self._request() as request:
            request.infer({name: np.ascontiguousarray(x) for name, x in inputs.items()})
            return [request.get_output_tensor(self._places[name]).data.copy() for name in wanted]

    @contextlib.contextmanager
    def _request(self) -> Iterator[Any]:
        """Yield an object that holds the tensors of one call.

        As many are made as there are calls at the same time.
        """
        with self._lock:
            request = self._idle.pop() if self._idle else self.compiled.create_infer_request()
        yield request
        with self._lock:
            self._idle.append(request)

    def _check_precision(self, wanted: str) -> None:
        """Raise a DarkconvError if OpenVINO has silently chosen another dtype."""
        found = self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if found not in (HINTS[wanted], wanted):
            raise DarkconvError(
                "runtime openvino",
                where=Where(file=self._file),
                expected=f"a processor that computes in {wanted}",
                found=f"one on which OpenVINO computes in {found}",
                hint="runtime openvino computes in float32" if wanted == BFLOAT16 else None,
            )


def settings_of(precision: str, threads: int | None) -> dict[str, Any]:
    """Return OpenVINO's settings.

    By default OpenVINO computes in bfloat16 where a processor supports it, which changes the
    numbers. It also binds threads to processors, so that two programs would share one and leave
    another idle.

    Args:
        precision: "float32" or "bfloat16".
        threads: threads that compute; None for OpenVINO's own choice.
    """
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    return settings


def value_of(port: Any) -> Value:
    """Return the name and shape of an input or output of OpenVINO.

    Args:
        port: OpenVINO's object for it.
    """
    shape = [None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape]
    return Value(name_of(port), shape)


def name_of(port: Any) -> str:
    """Return the name that the graph gives an input or output.

    An output may have several names, where OpenVINO has removed the nodes after another tensor.

    Args:
        port: OpenVINO's object for it.
    """
    name = port.node.get_friendly_name().removesuffix(SINK)
    return str(name if name in port.names else port.get_any_name())


@contextlib.contextmanager
def told(file: str | None) -> Iterator[None]:
    """Turn an error of OpenVINO, whose text has many lines, into a DarkconvError of one line.

    Args:
        file: name of the file, for the message; None where the graph has none.

    Raises:
        DarkconvError: OpenVINO raised an error within the `with` block.
    """
    try:
        yield
    except DarkconvError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if not line.startswith(NOISE)]
        text = " ".join(" ".join(lines).split()) or type(error).__name__
        raise DarkconvError(f"OpenVINO cannot run it: {text}", where=Where(file=file)) from error


NOISE = ("Exception from ", "Check ")
"""Prefixes of the lines in OpenVINO's errors that name its own source files."""
