"""LiteRT files (.tflite): a network in the format of TensorFlow Lite, and running it.

Batch norm is folded. The metadata that a reader needs beside the graph are in a zip archive at the
end of the file, as in other LiteRT files; interpreters ignore it.
"""

import io
import json
import logging
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from darkconv.backends.choices import FULL, FULL_HEADS
from darkconv.backends.exported import ExportedFile, tell_missing
from darkconv.backends.keras.files import require_tensorflow
from darkconv.backends.keras.heads import build_outputs
from darkconv.backends.keras.litert_buffer import finished
from darkconv.backends.keras.litert_devices import tell_of_others
from darkconv.backends.keras.litert_graph import check_stateless, converted
from darkconv.backends.keras.litert_integer import integer_graph
from darkconv.backends.keras.litert_running import LitertRunner, make_interpreter
from darkconv.backends.keras.metadata import (
    PRECISIONS,
    check_metadata,
    file_metadata,
)
from darkconv.backends.keras.network import NetworkGraph, producer_name
from darkconv.backends.keras.running import named_outputs
from darkconv.backends.keras.scope import LITERT
from darkconv.backends.keras_archive import DESCRIPTION, read_litert_texts
from darkconv.core.model import Array, Model
from darkconv.darknet.description import read_description
from darkconv.errors import DarkconvError, MissingDependencyError, Where
from darkconv.files import PathLike, write_bytes
from darkconv.surgery.folding import fold_batchnorm

logger = logging.getLogger("darkconv")


@dataclass(frozen=True)
class LitertFile(ExportedFile):
    """A file of `write_litert`, ready to run."""

    @property
    def fixed_batch(self) -> int | None:
        """Batch size of the file: the format is made for single pictures."""
        return 1

    @property
    def head(self) -> str:
        """Kind of the outputs of `run`, which computes the heads that an 8-bit graph lacks."""
        return "raw" if lacks_heads(self.metadata) else super().head


def lacks_heads(text: Mapping[str, str]) -> bool:
    """Return True if a file's graph is 8-bit throughout and ends before the heads.

    Args:
        text: metadata of the file.
    """
    return text.get("int8_form") == FULL and text["head"] == "logits"


def write_litert(
    model: Model,
    path: PathLike,
    *,
    head: str = "raw",
    precision: str = "float32",
    inputs: Sequence[Array] = (),
    int8_form: str | None = None,
    resize: str | None = None,
    check: bool = True,
) -> int:
    """Write a model as a LiteRT file.

    Its input is `input`, float32 (N, H, W, C), RGB in 0..1, or (N, inputs), in every precision; its
    outputs have the names of their layers, or are `boxes` and `scores`. In the full 8-bit form all
    of them are int8, and the interpreter reports their scales and zero points.

    Args:
        model: model that is written.
        path: file to write.
        head: "raw", "boxes" or "logits": see `to_keras`.
        precision: "float32"; "float16": weights in half precision; "int8": weights and values in 8
            bits, except inputs, heads and boxes: see `darkconv.backends.keras.litert_graph`.
        inputs: calibration inputs, (C, H, W) or (values,) each, for the ranges of 8-bit values.
        int8_form: "full": 8 bits from the input to the outputs, for batch size 1: see
            `darkconv.backends.keras.litert_integer`; its heads are "raw" or "logits". None: float32
            inputs and outputs.
        resize: see `to_keras`.
        check: run the graph once before the file is written.

    Returns:
        How many output values are NaN when the file is run once on zeros; 0 without `check`.

    Raises:
        UnsupportedError: a layer cannot be expressed in LiteRT, or is recurrent and would be in 8
            bits.
        DarkconvError: Keras does not run on TensorFlow, there are no inputs for "int8", or the
            graph does not run.
    """
    require_tensorflow("a LiteRT file")
    if precision not in PRECISIONS:
        raise DarkconvError("precision", expected=", ".join(PRECISIONS), found=precision)
    if precision == "int8" and not len(inputs):
        raise DarkconvError("8-bit values need inputs by which their ranges are chosen")
    more: dict[str, str] = {}
    if int8_form is None:
        graph, outputs, states = _plain_graph(model, head, precision, inputs)
    else:
        _check_form(int8_form, head, precision)
        graph, outputs, facts = integer_graph(model, head, inputs)
        states = {}
        more = {"int8_form": int8_form, "quantization": json.dumps(facts)}
        tell_of_others(graph, os.fspath(path))
    graph = finished(graph, outputs)
    text = {
        **file_metadata(
            model.network,
            model.header,
            model.names,
            head=head,
            precision=precision,
            resize=resize,
        ),
        "outputs": json.dumps(outputs),
        "states": json.dumps(states),
        **more,
    }
    content = graph + archive_of(text)
    missing = try_out(content, os.fspath(path)) if check else 0
    write_bytes(path, [content])
    return missing


def _plain_graph(
    model: Model, head: str, precision: str, inputs: Sequence[Array]
) -> tuple[bytes, list[str], dict[str, str]]:
    """Return a graph with float32 inputs and outputs, and the names of its outputs and states."""
    built = NetworkGraph(fold_batchnorm(model), LITERT)
    outputs = named_outputs(build_outputs(built, head))
    if precision == "int8":
        check_stateless(built)
    kmodel = built.finish(outputs)
    states = {name: producer_name(value) for name, value in built.graph.next_states.items()}
    return converted(kmodel, precision, inputs, model.network), list(outputs), states


def _check_form(form: str, head: str, precision: str) -> None:
    if form != FULL or precision != "int8":
        raise DarkconvError("form of 8 bits of LiteRT files", expected=FULL, found=form)
    if head not in FULL_HEADS:
        raise DarkconvError(
            "head of LiteRT files that are all in 8 bits",
            expected=", ".join(FULL_HEADS),
            found=head,
            hint="boxes have no scale that 8 bits could have",
        )


def try_out(content: bytes, file: str) -> int:
    """Run a graph once on zeros, with its own batch size and input size.

    Args:
        content: content of the file that is written.
        file: name of the file, for messages.

    Returns:
        How many output values are NaN, which is also logged as a warning.

    Raises:
        DarkconvError: the graph does not run.
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
    """Return a zip archive with the metadata, which follows the graph in the file.

    Args:
        text: the metadata.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(DESCRIPTION), json.dumps(text, indent=2))
    return buffer.getvalue()


def read_litert(path: PathLike, *, threads: int | None = None) -> LitertFile:
    """Read a file of `write_litert`.

    Args:
        path: file to read.
        threads: number of CPU threads; None for one for each processor.

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
            lacks_heads=lacks_heads(text),
        )
        check_metadata(text, network, runner.outputs)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DarkconvError(f"damaged: {error}", where=where) from error
    return LitertFile(str(where.file), text, network, names, runner)
