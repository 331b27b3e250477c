"""`darkconv verify`: do all frameworks give the same numbers?"""

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.file_types import InputFile
from darkconv.cli.models import read_model
from darkconv.cli.params import (
    DARKNET_OUTPUT,
    KERAS_SUFFIX,
    LITERT_SUFFIX,
    PROGRAM_SUFFIX,
    SAFETENSORS_SUFFIX,
    SAVED_MODEL_SUFFIX,
    ModelCommand,
    ModelWords,
    model_options,
    report_option,
    split_model,
    words_argument,
)
from darkconv.cli.printing import echo, echo_json, echo_lines, echo_table
from darkconv.core.model import Model
from darkconv.errors import DarkconvError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from darkconv.backends.exported import ExportedFile
    from darkconv.backends.onnx import ForeignFile
    from darkconv.detection.comparison import Agreement
    from darkconv.report import LayerComparison

logger = logging.getLogger("darkconv")

TOLERANCE = 1e-4  # relative L2 error of a layer on whole networks
SHOWN_LAYERS = 10
TITLES = {"onnx": "ONNX", "keras": "Keras"}
NOT_COMPARED = {
    SAVED_MODEL_SUFFIX: "compare a .keras file: it is made from the same graph",
    PROGRAM_SUFFIX: None,
    **dict.fromkeys(
        (SAFETENSORS_SUFFIX, *DARKNET_OUTPUT), "darkconv weights diff compares the arrays"
    ),
}
"""Files whose outputs are not compared, by suffix, and what helps."""


@click.command(cls=ModelCommand)
@words_argument("MODEL [FILE]")
@click.option(
    "--image", type=InputFile(path_type=None), help="Picture to run  [default: seeded noise]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--all", "show_all", is_flag=True, help="Show every layer, not the ten worst.")
@report_option("all layers, or the outputs of FILE, with their errors")
@click.option(
    "--backend",
    type=click.Choice(["onnx", "keras"]),
    help="What PyTorch is compared with  [default: onnx]",
)
@model_options
def verify(
    words: tuple[str, ...],
    image: str | None,
    as_json: bool,
    show_all: bool,
    report: Path | None,
    backend: str | None,
    **options: Any,
) -> None:
    """Compare every layer of a model in PyTorch and in onnxruntime, or Keras, worst first.

    Of layers that disagree, the first in the network is marked: those after it read what it gives.
    The two are built on their own from the Darknet files. With FILE, an ONNX, Keras or LiteRT file
    made from the MODEL with any --head, its outputs are compared instead. Of an ONNX file that
    another tool made, outputs are matched by their shapes, with heads or with boxes and scores.
    Exit status 1 if they disagree. Files in half precision and 8 bits are allowed more: see
    docs/onnx.md.

    Example: darkconv verify yolov3-tiny.cfg yolov3-tiny.weights yolov3-tiny.onnx
    """
    model_words, rest = split_model(words)
    if rest[1:]:
        raise click.UsageError(f"Got unexpected extra argument ({rest[1]})")
    if rest and backend:
        raise click.UsageError("--backend is about layers, and FILE says itself what runs it")
    if rest:
        verify_file(
            model_words, ModelWords(rest[0]), image, as_json=as_json, report=report, **options
        )
        return
    model = read_model(model_words, **options)
    found = compare_all(model, image, backend or "onnx")
    if report:
        from darkconv.report import write_layer_report

        write_layer_report(report, found)
        echo(f"wrote {report}", err=True)
    if as_json:
        echo_json(layer_dicts(found))
    else:
        show_layers(found, shown=None if show_all else SHOWN_LAYERS)
        echo_lines(verdict(found, backend or "onnx"))
    if found.first_wrong:
        raise SystemExit(1)


def compare_all(model: Model, image: str | None, backend: str) -> "LayerComparison":
    """The errors of all layers, and what they mean."""
    from darkconv.report import LayerComparison

    return LayerComparison(
        network=model.network,
        errors=[entry["error"] for entry in layer_errors(model, image, backend)],
        allowed=TOLERANCE,
        frameworks=("PyTorch", TITLES[backend]),
        given=given_input(model, image),
    )


def given_input(model: Model, image: str | None) -> str:
    """What is run, in words."""
    source = f"the picture {Path(image).name}" if image else "seeded noise"
    return f"{source} at {model.network.input_shape}"


def layer_dicts(found: "LayerComparison") -> list[dict[str, Any]]:
    """For JSON: worst first, and which are wrong."""
    return [
        {
            "layer": layer.index,
            "type": layer.type,
            "error": error,
            "allowed": found.allowed,
            "wrong": not error <= found.allowed,
            "first_wrong": layer is found.first_wrong,
        }
        for layer, error in found.worst
    ]


def show_layers(found: "LayerComparison", *, shown: int | None) -> None:
    """Print the worst layers, and the first wrong one wherever it stands."""
    rows = [
        (layer.index, layer.type, f"{error:.1e}", found.mark(layer, error))
        for place, (layer, error) in enumerate(found.worst)
        if shown is None or place < shown or layer is found.first_wrong
    ]
    echo_table(("layer", "type", "relative error", ""), rows, left=(1, 3))


def verify_file(
    model_words: ModelWords,
    file_words: ModelWords,
    image: str | None,
    *,
    as_json: bool,
    report: Path | None,
    input_size: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Compare the outputs of a file with the model's; exit status 1 if they disagree."""
    from darkconv.backends.exported import ExportedFile

    model = read_model(model_words, **options)
    file = read_file(file_words)
    if not isinstance(file, ExportedFile):
        model = model.with_input_size(*input_size) if input_size else model
        model, found = foreign_agreement(model, file, image)
    else:
        model, found = own_agreement(model, file, image, input_size)
    if report:
        from darkconv.report import OutputComparison, write_output_report

        given = given_input(model, image)
        write_output_report(report, OutputComparison(model.network, file.path, found, given))
        echo(f"wrote {report}", err=True)
    show_agreement(found, as_json=as_json)


def own_agreement(
    model: Model, file: "ExportedFile", image: str | None, input_size: tuple[int, int] | None
) -> "tuple[Model, Sequence[Agreement]]":
    """Compare a file of darkconv with the model, at the file's size or at another."""
    from darkconv.detection.comparison import compare_outputs

    if file.input_size and model.network.input_shape.is_map:
        model = model.with_input_size(*file.input_size)
    warn_of_other_sources(model, file)
    if input_size:
        model, file = model.with_input_size(*input_size), file.with_input_size(*input_size)
    return model, compare_outputs(model, file, _input(model, image))


def read_file(words: ModelWords) -> "ExportedFile | ForeignFile":
    """Read what is compared with the model.

    Raises:
        DarkconvError: a file that is not compared.
    """
    from darkconv.backends import spoke
    from darkconv.backends.keras_archive import check_keras_file, read_litert_texts

    if words.suffix in NOT_COMPARED:
        raise DarkconvError(
            f"{words.first}: its outputs cannot be compared",
            expected="a file that ends in .onnx, .keras or .tflite",
            hint=NOT_COMPARED[words.suffix],
        )
    file: ExportedFile | ForeignFile
    if words.suffix == KERAS_SUFFIX:
        check_keras_file(words.first)
        file = spoke("keras").read_keras_file(words.first)
    elif words.suffix == LITERT_SUFFIX:
        read_litert_texts(words.first)
        file = spoke("keras").read_litert(words.first)
    else:
        file = spoke("onnx").read_any(words.first)
    return file


def foreign_agreement(
    model: Model, file: "ForeignFile", image: str | None
) -> "tuple[Model, Sequence[Agreement]]":
    """Compare a file of another tool with the model, at the file's size."""
    from darkconv.detection.foreign import compare_foreign, fitted_model

    model = fitted_model(model, file)
    return model, compare_foreign(model, file, _input(model, image))


def show_agreement(found: "Sequence[Agreement]", *, as_json: bool) -> None:
    """Print what was compared; exit status 1 where something disagrees."""
    if as_json:
        echo_json([asdict(entry) for entry in found])
    else:
        rows = [(e.name, f"{e.error:.1e}", f"{e.allowed:.0e}") for e in found]
        echo_table(("output", "error", "allowed"), rows, left=(0,))
    if not all(entry.is_good for entry in found):
        raise SystemExit(1)


def warn_of_other_sources(model: Model, file: "ExportedFile") -> None:
    """Say which of a model's files the ONNX file was not made from."""
    from darkconv.backends import spoke

    if "cfg_sha256" not in file.metadata:
        return
    is_in_place = "weights_sha256" not in file.metadata
    for key, digest in spoke("onnx").digests(model, in_place=is_in_place).items():
        if file.metadata[key] != digest:
            what = key.removesuffix("_sha256")
            logger.warning("%s: was made from another %s file", file.path, what)


def verdict(found: "LayerComparison", backend: str) -> str:
    """On the worst layer, and on the first wrong one if there is one."""
    wrong = found.first_wrong
    word = "DISAGREE" if wrong else "agree"
    worst = found.worst[0][1]
    text = f"torch and {backend} {word}: worst layer {worst:.1e}, allowed {TOLERANCE:.0e}"
    return f"{text}\nfirst wrong: {wrong.index:03d} {wrong.type}" if wrong else text


def layer_errors(
    model: Model, image: str | None = None, backend: str = "onnx"
) -> list[dict[str, Any]]:
    """Relative L2 difference of every layer between the torch spoke and another.

    It is infinite where values are no numbers in one of them alone.
    """
    from darkconv.backends import trace
    from darkconv.detection.comparison import relative_error

    x = _input(model, image)
    pairs = zip(trace(model, x), trace(model, x, backend=backend), strict=True)
    errors = []
    for layer, (expected, found) in zip(model.network.layers, pairs, strict=True):
        error = relative_error(found, expected)
        error = math.inf if math.isnan(error) else error
        errors.append({"layer": layer.index, "type": layer.type, "error": error})
    return errors


def _input(model: Model, image: str | None) -> Any:
    import numpy as np

    from darkconv.detection.picture import Fit, read_picture

    shape = model.network.input_shape
    if image is None:
        values = np.random.default_rng(0).random(shape if shape.is_map else shape.size)
        return values.astype(np.float32)
    picture = read_picture(image, channels=shape.c)
    size = picture.shape[1], picture.shape[0]
    return Fit(size, (shape.w, shape.h), model.network.options.letterboxes).apply(picture)
