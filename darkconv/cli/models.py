"""Reading the MODEL of a command, and writing models."""

import logging
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.outputs import check_outputs
from darkconv.cli.params import (
    ModelWords,
    Output,
    bundled_cfg,
    bundled_names,
)
from darkconv.cli.printing import echo
from darkconv.core.finite import check_finite, check_variances
from darkconv.core.model import Model
from darkconv.core.names import Names
from darkconv.darknet.data import decoded_names, read_names, tell_of_bytes
from darkconv.darknet.dialect import AUTO
from darkconv.errors import CfgError, DarkconvError, WeightsError, Where
from darkconv.exporting import (
    KERAS_SUFFIX,
    LITERT_SUFFIX,
    ONNX_SUFFIX,
    PROGRAM_SUFFIX,
    SAVED_MODEL_SUFFIX,
    WRITERS,
    size_of,
    write_file,
    written_files,
)
from darkconv.files.sizes import format_size
from darkconv.loading import load, names_beside, save

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile

logger = logging.getLogger("darkconv")

ONE_WAY = {
    ONNX_SUFFIX: "an ONNX file",
    LITERT_SUFFIX: "a LiteRT file",
    SAVED_MODEL_SUFFIX: "a SavedModel, which is for TensorFlow",
    PROGRAM_SUFFIX: "an exported program, which is for PyTorch",
}
"""What cannot be read back, by suffix."""
READABLE = "NET.cfg NET.weights, or a file that ends in .safetensors or .keras"


def read_model(
    words: ModelWords,
    *,
    needs_weights: bool = True,
    allow_nonfinite: bool = False,
    unchecked: bool = False,
    **options: Any,
) -> Model:
    """Read a MODEL.

    Args:
        words: as given.
        needs_weights: refuse a cfg alone.
        allow_nonfinite: do not look for NaN and infinity in the arrays; variances without a root
            are a warning.
        unchecked: do not look for these: for commands that use no array.
        options: names, dialect, input_size and cutoff, as for `darkconv.load`.

    Raises:
        WeightsError: some array holds NaN or infinity, or a variance has no root, beside what
            else can be wrong.
    """
    model = _any_model(words, needs_weights=needs_weights, **options)
    file = words.weights or words.first
    if allow_nonfinite:
        _warn_of_variances(model, file)
    elif not unchecked:
        check_finite(model, file, remedy="--allow-nonfinite uses it all the same")
    return model


def _warn_of_variances(model: Model, file: str) -> None:
    """Say in one line which variances have no root: where they go, all values become NaN."""
    try:
        check_variances(model, file)
    except WeightsError as error:
        logger.warning("%s", str(error).splitlines()[0])


def _any_model(words: ModelWords, *, needs_weights: bool, **options: Any) -> Model:
    if words.is_pickle:
        raise DarkconvError(
            f"{words.first}: is a pickle by its name, which could run code: it is never read",
            expected=READABLE,
        )
    if words.suffix in ONE_WAY:
        if words.is_runnable and not os.path.exists(words.first):
            raise DarkconvError("no such file", where=Where(file=words.first))
        raise DarkconvError(
            f"{words.first}: Darknet's arrays cannot be read back from {ONE_WAY[words.suffix]}",
            expected=READABLE,
            hint="detect and eval run it, verify compares it" if words.is_runnable else None,
        )
    if words.is_exported:
        return _exported(words, **options)
    cfg = words.first if os.path.exists(words.first) else bundled_cfg(words.first) or words.first
    near = get_close_matches(words.first, bundled_names()) if not os.path.exists(cfg) else []
    if near and not Path(words.first).suffix:
        raise CfgError(
            "no such file, and no bundled network of this name",
            where=Where(file=words.first),
            hint=f"did you mean {' or '.join(near)}?",
        )
    if words.weights is None and words.suffix == ".weights":
        raise CfgError(
            "no cfg given",
            where=Where(file=words.first),
            hint=f"a model is two files: NET.cfg {words.first}",
        )
    if words.weights is None and needs_weights:
        raise WeightsError(
            "no weights given",
            where=Where(file=str(cfg)),
            hint=f"a model is two files: {words.first} NET.weights",
        )
    return load(cfg, words.weights, **options)


def shared_options(
    options: Mapping[str, Any], words: ModelWords, others: Sequence[ModelWords]
) -> dict[str, Any]:
    """What `read_model` takes for one of several models.

    Dialects are for Darknet's files, encodings for models that have class names.
    """
    is_for_others = words.is_exported and not all(other.is_exported for other in others)
    own = {**options, "dialect": AUTO} if is_for_others else dict(options)
    if not own.get("names") and not _has_names(words) and any(map(_has_names, others)):
        own["names_encoding"] = None
    return own


def _has_names(words: ModelWords) -> bool:
    return words.is_exported or names_beside(words.first, words.weights) is not None


def check_says_itself(words: ModelWords, dialect: str, cutoff: int | None = None) -> None:
    """Raise a usage error for options about Darknet's files: an exported one knows better."""
    for option, is_given in (("dialect", dialect != AUTO), ("cutoff", cutoff is not None)):
        if is_given:
            raise click.UsageError(f"--{option} is about Darknet's files, not {words.first}")


def _exported(
    words: ModelWords,
    *,
    names: str | None = None,
    names_encoding: str | None = None,
    input_size: tuple[int, int] | None = None,
    dialect: str = AUTO,
    cutoff: int | None = None,
) -> Model:
    from dataclasses import replace

    from darkconv.backends import spoke
    from darkconv.backends.keras_archive import check_keras_file

    check_says_itself(words, dialect, cutoff)
    model: Model
    if words.suffix == KERAS_SUFFIX:
        check_keras_file(words.first)
        keras = spoke("keras")
        model = keras.from_keras(keras.read_keras(words.first))
    else:
        model = spoke("torch").read_safetensors(words.first)
    model = replace(model, names=other_names(model.names, names, names_encoding, words.first))
    return model.with_input_size(*input_size) if input_size else model


def read_exported(
    words: ModelWords,
    *,
    names: str | None = None,
    names_encoding: str | None = None,
    input_size: tuple[int, int] | None = None,
    dialect: str = AUTO,
    allow_nonfinite: bool = False,
) -> "ExportedFile":
    """Read an ONNX or LiteRT file as something that runs; it knows its dialect by itself."""
    from dataclasses import replace

    from darkconv.backends import spoke
    from darkconv.backends.keras_archive import read_litert_texts

    check_says_itself(words, dialect)
    if allow_nonfinite:
        raise click.UsageError(f"--allow-nonfinite is about Darknet's arrays, not {words.first}")
    if words.suffix == LITERT_SUFFIX:
        read_litert_texts(words.first)
        file: ExportedFile = spoke("keras").read_litert(words.first)
    else:
        file = spoke("onnx").read_onnx(words.first, shares_processors=True)
    file = replace(file, names=other_names(file.names, names, names_encoding, words.first))
    return file.with_input_size(*input_size) if input_size else file


def other_names(own: Names, path: str | None, encoding: str | None, file: str) -> Names:
    """Return the class names of an exported file, or those that are to stand in their place.

    Args:
        own: that the file holds.
        path: names file of others.
        encoding: of that file, or of the bytes in the names that the file holds.
        file: the exported file.

    Raises:
        DatasetError: the names file cannot be read, or there is nothing to decode.
    """
    if path is not None:
        return read_names(path, encoding=encoding)
    if encoding is not None:
        return decoded_names(own, encoding, file)
    tell_of_bytes(own, Where(file=file))
    return own


def write_model(model: Model, output: Output, **options: Any) -> None:
    """Write a model in the format that the output's suffix says.

    Args:
        model: what to write.
        output: where to.
        options: of the format: see `write_onnx`, `to_keras`, `write_litert`; others have none.

    Raises:
        DarkconvError: an unknown suffix.
    """
    if output.weights:
        names = output.path.with_suffix(".names") if model.names else None
        save(model, output.path, output.weights, names=names)
    else:
        write_file(model, output.path, **options)


def require_outputs(outputs: tuple[Output, ...], *more: str) -> None:
    """Raise a usage error if nothing is to be written, a DarkconvError if it cannot be.

    Args:
        outputs: of a command.
        more: suffixes of what it writes beside models.
    """
    if not outputs:
        raise click.UsageError("Missing option '-o': the file to write")
    check_outputs(outputs, (*WRITERS, *more))


def report_written(output: Output, *, external: bool = False) -> None:
    """Say where a result is, with its size; `external`: the arrays of ONNX files lie beside."""
    files = written_files(output.path, external=external)
    files += (output.weights,) if output.weights else ()
    sizes = ", ".join(f"{file} ({format_size(size_of(file))})" for file in files)
    echo(f"wrote {sizes}", err=True)
