"""LiteRT files (.tflite): a network in the format of TensorFlow Lite, and running it.

Batch norm is folded. What a reader needs beside the graph is in an archive at the end of the file,
as the metadata of LiteRT files are; interpreters do not look at it.
"""

import io
import json
import logging
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.exported import ExportedFile, tell_missing
from darkconv.backends.keras.files import require_tensorflow
from darkconv.backends.keras.heads import build_outputs
from darkconv.backends.keras.litert_graph import channels_last, converted
from darkconv.backends.keras.metadata import (
    PRECISIONS,
    check_metadata,
    file_metadata,
)
from darkconv.backends.keras.network import INPUT, NetworkGraph, producer_name
from darkconv.backends.keras.running import cell_major_names, in_darknet, named_outputs
from darkconv.backends.keras_archive import DESCRIPTION, read_litert_texts
from darkconv.backends.quiet import quiet
from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.core.processors import count_processors
from darkconv.darknet.description import read_description
from darkconv.errors import DarkconvError, MissingDependencyError, UnsupportedError, Where
from darkconv.files import PathLike, is_utf8, write_bytes
from darkconv.libraries import telling_missing
from darkconv.surgery.folding import fold_batchnorm

logger = logging.getLogger("darkconv")


@dataclass(frozen=True)
class LitertFile(ExportedFile):
    """A file of `write_litert`, ready to run."""

    @property
    def fixed_batch(self) -> int | None:
        """How many pictures it takes at once: one by one is what the format is made for."""
        return 1


def write_litert(
    model: Model,
    path: PathLike,
    *,
    head: str = "raw",
    precision: str = "float32",
    inputs: Sequence[Array] = (),
    resize: str | None = None,
    check: bool = True,
) -> int:
    """Write a model as a LiteRT file.

    Its input is `input`, float32 (N, H, W, C), RGB in 0..1, or (N, inputs), in every precision; its
    outputs have the names of their layers, or are `boxes` and `scores`.

    Args:
        model: what to write.
        path: the file.
        head: "raw" or "boxes": see `to_keras`.
        precision: "float32"; "float16": weights in half precision; "int8": weights and values in
            8 bits, but for inputs, heads and boxes: see `darkconv.backends.keras.litert_graph`.
        inputs: what the network will see, (C, H, W) or (values,), for the ranges of 8-bit values.
        resize: see `to_keras`.
        check: run the graph once before the file is written.

    Returns:
        How many values are NaN when the file is run once.

    Raises:
        UnsupportedError: a layer that LiteRT cannot express; recurrent ones in 8 bits.
        DarkconvError: Keras does not run on TensorFlow; no inputs for "int8"; the graph does not
            run.
    """
    require_tensorflow("a LiteRT file")
    if precision not in PRECISIONS:
        raise DarkconvError("precision", expected=", ".join(PRECISIONS), found=precision)
    if precision == "int8" and not len(inputs):
        raise DarkconvError("8-bit values need inputs by which their ranges are chosen")
    built = NetworkGraph(fold_batchnorm(model))
    outputs = named_outputs(build_outputs(built, head))
    if precision == "int8" and built.graph.states:
        raise UnsupportedError(
            f"{model.network.file}: recurrent layers are not quantised",
            hint="single pictures do not show which values a state takes",
        )
    kmodel = built.finish(outputs)
    states = {name: producer_name(value) for name, value in built.graph.next_states.items()}
    graph = converted(kmodel, precision, inputs, model.network)
    text = {
        **file_metadata(
            model.network,
            model.header,
            model.names,
            head=head,
            precision=precision,
            resize=resize,
        ),
        "outputs": json.dumps(list(outputs)),
        "states": json.dumps(states),
    }
    content = graph + archive_of(text)
    missing = try_out(content, os.fspath(path)) if check else 0
    write_bytes(path, [content])
    return missing


def try_out(content: bytes, file: str) -> int:
    """Run a graph once on zeros, on the batch and size that it has.

    Args:
        content: what is to be written.
        file: its name, for messages.

    Returns:
        How many values of its outputs are NaN, which is told.

    Raises:
        DarkconvError: it does not run.
    """
    try:
        call = make_interpreter(content).get_signature_runner()
        inputs = call.get_input_details().items()
        found = call(**{name: np.zeros(value["shape"], value["dtype"]) for name, value in inputs})
    except MissingDependencyError:
        logger.warning("%s: was not run, for ai-edge-litert is not installed", file)
        return 0
    except (RuntimeError, ValueError) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise DarkconvError(
            f"LiteRT cannot run it: {text}",
            where=Where(file=file),
            hint="--no-check (check=False) leaves out the run; please report it",
        ) from error
    return tell_missing(list(found.values()), file)


def archive_of(text: Mapping[str, str]) -> bytes:
    """A zip archive with the metadata, to stand behind the graph."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(DESCRIPTION), json.dumps(text, indent=2))
    return buffer.getvalue()


def read_litert(path: PathLike, *, threads: int | None = None) -> LitertFile:
    """Read a file of `write_litert`.

    Args:
        path: the file.
        threads: that compute; by default one for each processor.

    Raises:
        DarkconvError: the file is damaged, or was not written by darkconv.
        MissingDependencyError: ai-edge-litert is not installed.
    """
    where = Where(file=os.fspath(path))
    text = read_litert_texts(path)
    try:
        network, _, names = read_description(text, where)
        runner = LitertRunner(
            make_interpreter(path, threads=threads),
            json.loads(text["outputs"]),
            json.loads(text["states"]),
            network,
        )
        check_metadata(text, network, runner.outputs)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DarkconvError(f"damaged: {error}", where=where) from error
    return LitertFile(str(where.file), text, network, names, runner)


def make_interpreter(source: bytes | PathLike, *, threads: int | None = None) -> Any:
    """Return a LiteRT interpreter of a file, or of its bytes, by default with a thread per core.

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
        interpreter = Interpreter(**given, num_threads=threads or count_processors())
        interpreter.allocate_tensors()
    return interpreter


class LitertRunner:
    """A LiteRT graph to be called again and again with arrays in Darknet's order.

    Attributes:
        outputs: names of the outputs that are no state.
    """

    def __init__(
        self, interpreter: Any, outputs: Sequence[str], states: Mapping[str, str], network: Network
    ) -> None:
        """For an interpreter and the output that belongs into each state input.

        Raises:
            ValueError: the graph has others.
        """
        self.outputs = list(outputs)
        with quiet():
            self._call = interpreter.get_signature_runner()
        self._next = dict(states)
        self._check()
        self._state: dict[str, Array] = {}
        self._batch = 0
        self._cell_major = cell_major_names(network)

    def _check(self) -> None:
        inputs, outputs = self._call.get_input_details(), self._call.get_output_details()
        for name in (*self.outputs, *self._next.values()):
            if name not in outputs:
                raise ValueError(f"the graph has no output {name}")
        if {INPUT, *self._next} != set(inputs):
            raise ValueError(f"the graph has the inputs {', '.join(sorted(inputs))}")

    def __call__(self, x: npt.NDArray[Any], **inputs: Array) -> list[Array]:
        """Run once: float32 x (N, C, H, W) or (N, values)."""
        if len(x) != self._batch:
            shapes = self._call.get_input_details()
            self._batch = len(x)
            self._state = {
                name: np.zeros((len(x), *shapes[name]["shape"][1:]), np.float32)
                for name in self._next
            }
        values = self._call(**{INPUT: channels_last(x)}, **inputs, **self._state)
        self._state = {name: values[output] for name, output in self._next.items()}
        return [
            in_darknet(values[name], is_cell_major=name in self._cell_major)
            for name in self.outputs
        ]
