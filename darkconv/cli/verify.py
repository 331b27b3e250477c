"""`darkconv verify`: do all frameworks give the same numbers?"""

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

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
    split_model,
)
from darkconv.cli.table import format_table
from darkconv.core.model import Model
from darkconv.errors import DarkconvError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from darkconv.backends.exported import ExportedFile
    from darkconv.backends.onnx import ForeignFile
    from darkconv.detection.comparison import Agreement

logger = logging.getLogger("darkconv")

TOLERANCE = 1e-4  # relative L2 error of a layer on whole networks
NOT_COMPARED = {
    SAVED_MODEL_SUFFIX: "compare a .keras file: it is made from the same graph",
    PROGRAM_SUFFIX: None,
    **dict.fromkeys(
        (SAFETENSORS_SUFFIX, *DARKNET_OUTPUT), "darkconv weights diff compares the arrays"
    ),
}
"""Files whose outputs are not compared, by suffix, and what helps."""


@click.command(cls=ModelCommand)
@click.argument("words", nargs=-1, metavar="MODEL [FILE]")
@click.option("--image", type=click.Path(), help="Picture to run  [default: seeded noise]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--all", "show_all", is_flag=True, help="Show every layer, not the ten worst.")
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
    backend: str | None,
    **options: Any,
) -> None:
    """Compare every layer of a model in PyTorch and in onnxruntime, or Keras, worst first.

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
        verify_file(model_words, ModelWords(rest[0]), image, as_json=as_json, **options)
        return
    model = read_model(model_words, **options)
    other = backend or "onnx"
    errors = layer_errors(model, image, other)
    worst = sorted(errors, key=lambda entry: -entry["error"])
    if as_json:
        click.echo(json.dumps(worst, indent=2))
    else:
        shown = worst if show_all else worst[:10]
        rows = [(e["layer"], e["type"], f"{e['error']:.1e}") for e in shown]
        click.echo(format_table(("layer", "type", "relative error"), rows, left=(1,)))
        click.echo(verdict(worst[0]["error"], other))
    if worst[0]["error"] > TOLERANCE:
        raise SystemExit(1)


def verify_file(
    model_words: ModelWords,
    file_words: ModelWords,
    image: str | None,
    *,
    as_json: bool,
    input_size: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Compare the outputs of a file with the model's; exit status 1 if they disagree."""
    from darkconv.backends.exported import ExportedFile
    from darkconv.detection.comparison import compare_outputs

    model = read_model(model_words, **options)
    file = read_file(file_words)
    if not isinstance(file, ExportedFile):
        model = model.with_input_size(*input_size) if input_size else model
        show_agreement(foreign_agreement(model, file, image), as_json=as_json)
        return
    if file.input_size and model.network.input_shape.is_map:
        model = model.with_input_size(*file.input_size)
    warn_of_other_sources(model, file)
    if input_size:
        model, file = model.with_input_size(*input_size), file.with_input_size(*input_size)
    show_agreement(compare_outputs(model, file, _input(model, image)), as_json=as_json)


def read_file(words: ModelWords) -> "ExportedFile | ForeignFile":
    """Read what is compared with the model.

    Raises:
        DarkconvError: a file that is not compared.
    """
    from darkconv.backends import spoke

    if words.suffix in NOT_COMPARED:
        raise DarkconvError(
            f"{words.first}: its outputs cannot be compared",
            expected="a file that ends in .onnx, .keras or .tflite",
            hint=NOT_COMPARED[words.suffix],
        )
    file: ExportedFile | ForeignFile
    if words.suffix == KERAS_SUFFIX:
        file = spoke("keras").read_keras_file(words.first)
    elif words.suffix == LITERT_SUFFIX:
        file = spoke("keras").read_litert(words.first)
    else:
        file = spoke("onnx").read_any(words.first)
    return file


def foreign_agreement(
    model: Model, file: "ForeignFile", image: str | None
) -> "Sequence[Agreement]":
    """Compare a file of another tool with the model."""
    from darkconv.detection.foreign import compare_foreign, fitted_model

    model = fitted_model(model, file)
    return compare_foreign(model, file, _input(model, image))


def show_agreement(found: "Sequence[Agreement]", *, as_json: bool) -> None:
    """Print what was compared; exit status 1 where something disagrees."""
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in found], indent=2))
    else:
        rows = [(e.name, f"{e.error:.1e}", f"{e.allowed:.0e}") for e in found]
        click.echo(format_table(("output", "error", "allowed"), rows, left=(0,)))
    if not all(entry.is_good for entry in found):
        raise SystemExit(1)


def warn_of_other_sources(model: Model, file: "ExportedFile") -> None:
    """Say which of a model's files the ONNX file was not made from."""
    from darkconv.backends import spoke

    if "cfg_sha256" not in file.metadata:
        return

    for key, digest in spoke("onnx").digests(model).items():
        if file.metadata.get(key) != digest:
            what = key.removesuffix("_sha256")
            logger.warning("%s: was made from another %s file", file.path, what)


def verdict(error: float, backend: str) -> str:
    """One line on the worst layer."""
    word = "agree" if error <= TOLERANCE else "DISAGREE"
    return f"torch and {backend} {word}: worst layer {error:.1e}, allowed {TOLERANCE:.0e}"


def layer_errors(
    model: Model, image: str | None = None, backend: str = "onnx"
) -> list[dict[str, Any]]:
    """Relative L2 difference of every layer between the torch spoke and another."""
    import numpy as np

    from darkconv.backends import trace

    x = _input(model, image)
    pairs = zip(trace(model, x), trace(model, x, backend=backend), strict=True)
    errors = []
    for layer, (a, b) in zip(model.network.layers, pairs, strict=True):
        difference = float(np.linalg.norm(a - b)) / (float(np.linalg.norm(a)) or 1.0)
        errors.append({"layer": layer.index, "type": layer.type, "error": difference})
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
