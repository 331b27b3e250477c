"""Runtimes of other people, each in an environment of its own, that run the exported files."""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from environments import Environment, NodeEnvironment
from worker import Worker, WorkerError

PROGRAM = Path(__file__).with_name("runtimes_worker.py")
Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Runtime:
    """One of them.

    Attributes:
        label: what people call it.
        environment: that it is installed in; None for that of the tests.
        versioned: packages whose versions are told.
        suffix: of the files that it runs.
        has_names: whether outputs keep their names, or have to be told by place and shape.
        most: pictures that it takes at once; None for any number.
    """

    label: str
    environment: Environment | NodeEnvironment | None
    versioned: tuple[str, ...]
    suffix: str = ".onnx"
    has_names: bool = True
    most: int | None = None

    def command(self, name: str) -> list[str | Path]:
        """What starts it.

        Raises:
            EnvironmentMissingError: its environment cannot be made here.
        """
        if isinstance(self.environment, NodeEnvironment):
            return ["node", PROGRAM.with_suffix(".mjs"), self.environment.made()]
        python = self.environment.python() if self.environment else sys.executable
        return [python, PROGRAM, name]


OPENVINO = Environment("openvino", ("openvino>=2025.0", "numpy"))
RUNTIMES = {
    "openvino": Runtime("OpenVINO", OPENVINO, ("openvino",)),
    "onnxruntime-web": Runtime(
        "onnxruntime-web",
        NodeEnvironment("onnxruntime-web", ("onnxruntime-web@1.30.0",)),
        ("onnxruntime-web",),
    ),
    "mnn": Runtime("MNN", Environment("mnn", ("MNN>=3.6", "numpy")), ("MNN",)),
    # what pnnx itself requires is PyTorch, for which it has no use here
    "ncnn": Runtime(
        "ncnn through pnnx",
        Environment("ncnn", ("--no-deps", "ncnn", "pnnx", "numpy")),
        ("ncnn", "pnnx"),
        has_names=False,
        most=1,
    ),
    "tract": Runtime(
        "tract", Environment("tract", ("tract>=0.23", "numpy")), ("tract",), has_names=False
    ),
    "onnxslim": Runtime(
        "onnxruntime, after onnxslim",
        Environment("onnxslim", ("onnxslim", "onnxruntime", "onnx", "numpy")),
        ("onnxslim",),
    ),
    "litert": Runtime(
        "LiteRT with XNNPACK", None, ("ai-edge-litert",), suffix=".tflite", has_names=False
    ),
}
"""By name."""


class Running:
    """A runtime that is started by the first file, and anew after a crash. A context manager.

    Attributes:
        runtime: that runs.
    """

    def __init__(self, name: str) -> None:
        """For a runtime's name.

        Raises:
            EnvironmentMissingError: its environment cannot be made here.
        """
        self.runtime = RUNTIMES[name]
        self._worker = Worker(self.runtime.command(name))
        self._folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stop()
        shutil.rmtree(self._folder)

    def run(
        self, file: Path, inputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
    ) -> Outputs:
        """The outputs of a file, by the names that they have in it.

        Args:
            file: of the runtime's suffix.
            inputs: by name.
            expected: outputs, for their names and shapes.

        Raises:
            WorkerError: the runtime cannot run it, or gives outputs of other shapes or names.
        """
        given = {}
        for place, (name, x) in enumerate(inputs.items()):
            path = self._folder / f"input{place}.bin"
            np.ascontiguousarray(x).tofile(path)
            given[name] = {"file": str(path), "dtype": str(x.dtype), "shape": x.shape}
        answer = self._worker.ask(file=str(file), inputs=given, folder=str(self._folder))
        found = [
            (name, np.fromfile(one["file"], one["dtype"]).reshape(one["shape"]))
            for name, one in answer["outputs"]
        ]
        if self.runtime.has_names:
            names = [name for name, _ in found]
            if sorted(names) != sorted(expected):
                raise WorkerError(f"outputs {', '.join(names)} in place of {', '.join(expected)}")
            return dict(found)
        return told_apart([values for _, values in found], expected)


def told_apart(found: Sequence[np.ndarray], expected: Mapping[str, np.ndarray]) -> Outputs:
    """Outputs that have lost their names, by those of the expected ones with their shapes.

    Raises:
        WorkerError: there are others.
    """
    left, named = list(found), {}
    for name, values in expected.items():
        shape = without_ones(values.shape)
        place = next((i for i, one in enumerate(left) if without_ones(one.shape) == shape), None)
        if place is None:
            shapes = ", ".join(str(one.shape) for one in found)
            raise WorkerError(f"no output of the shape of {name}, {values.shape}: {shapes}")
        named[name] = left.pop(place).reshape(values.shape)
    if left:
        raise WorkerError(f"{len(left)} outputs more than expected")
    return named


def without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape whose axes of one entry may be left out."""
    return tuple(length for length in shape if length != 1)
