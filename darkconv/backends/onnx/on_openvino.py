"""OpenVINO in place of onnxruntime: a session that is used as onnxruntime's are."""

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
"""Ends OpenVINO's names of the nodes that hold outputs."""
HINTS = {"float32": "f32", BFLOAT16: "bf16"}
"""OpenVINO's words for what it computes in."""


@dataclass(frozen=True)
class Value:
    """An input or output of a graph.

    Attributes:
        name: of it.
        shape: with None where a length is free.
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
            graph: its file, or its bytes.
            runtime: "openvino" computes in float32, "openvino:bf16" in bfloat16.
            file: for messages.
            threads: that compute; by default one for each processor.

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
            names: of the outputs that are wanted; all of them if not given.
            inputs: by name.

        Raises:
            DarkconvError: OpenVINO cannot run it.
        """
        wanted = list(self._places) if names is None else names
        with told(self._file), self._request() as request:
            request.infer({name: np.ascontiguousarray(x) for name, x in inputs.items()})
            return [request.get_output_tensor(self._places[name]).data.copy() for name in wanted]

    @contextlib.contextmanager
    def _request(self) -> Iterator[Any]:
        """Lend what holds the tensors of one call; as many are made as calls go on at once."""
        with self._lock:
            request = self._idle.pop() if self._idle else self.compiled.create_infer_request()
        yield request
        with self._lock:
            self._idle.append(request)

    def _check_precision(self, wanted: str) -> None:
        """Raise a DarkconvError where OpenVINO has silently chosen another precision."""
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
    """Return what OpenVINO is told.

    By itself it takes bfloat16 where a processor has it, which changes the numbers; and it ties
    threads to processors, so that two programs would share one and leave another idle.

    Args:
        precision: "float32" or "bfloat16".
        threads: that compute; None for OpenVINO's own choice.
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
    """Return the name and shape of an input or output of OpenVINO's."""
    shape = [None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape]
    return Value(name_of(port), shape)


def name_of(port: Any) -> str:
    """Return the name that the graph gives an input or output.

    An output may bear several names, where OpenVINO has left out what comes after another tensor.
    """
    name = port.node.get_friendly_name().removesuffix(SINK)
    return str(name if name in port.names else port.get_any_name())


@contextlib.contextmanager
def told(file: str | None) -> Iterator[None]:
    """Turn what OpenVINO raises, which has many lines, into a DarkconvError of one."""
    try:
        yield
    except DarkconvError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if not line.startswith(NOISE)]
        text = " ".join(" ".join(lines).split()) or type(error).__name__
        raise DarkconvError(f"OpenVINO cannot run it: {text}", where=Where(file=file)) from error


NOISE = ("Exception from ", "Check ")
"""Lines of OpenVINO's errors that speak of its own source files."""
