"""Read the MODEL of a command, and write models."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from darkconv import loading
from darkconv.console.printing import echo
from darkconv.core.finite import check_kept
from darkconv.core.model import Model
from darkconv.darknet.bundled import find_cfg
from darkconv.darknet.dialect import AUTO
from darkconv.darknet.reading import names_beside
from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.exporting.formats import WRITERS, size_of, write_file, written_files
from darkconv.exporting.targets import check_target
from darkconv.files.sizes import format_size
from darkconv.loading.exported import RUN_IT
from darkconv.loading.formats import is_checkpoint
from darkconv.options.params import ModelWords, OutputFiles

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile


logger = logging.getLogger("darkconv")

REMEDY = "--allow-nonfinite uses it all the same"


def read_model(
    words: ModelWords,
    *,
    needs_weights: bool = True,
    allow_nonfinite: bool = False,
    unchecked: bool = False,
    dialect: str = AUTO,
    cutoff: int | None = None,
    imports: Mapping[str, Any] | None = None,
    **options: Any,
) -> Model:
    """Read a MODEL.

    Args:
        words: MODEL.
        needs_weights: refuse a cfg alone.
        allow_nonfinite: accept NaN and infinity in the arrays; variances without a root are a
            warning.
        unchecked: check neither, for commands that use no array.
        dialect: see `darkconv.load`.
        cutoff: see `darkconv.load`.
        imports: options of another tool's file: see `darkconv.import_weights`.
        options: names, names_encoding and input_size: see `darkconv.load`.

    Raises:
        WeightsError: an array holds NaN or infinity, a variance has no root, or `darkconv.load`
            raises it.
        UsageError: an option is about another tool's file, and MODEL is none.
    """
    if _is_imported(words):
        model = _import(words, cutoff, dialect=dialect, **(imports or {}), **options)
    else:
        if imports:
            option = next(iter(imports)).replace("_", "-")
            raise click.UsageError(f"--{option} is about another tool's file in place of weights")
        model = _read(words, needs_weights=needs_weights, dialect=dialect, cutoff=cutoff, **options)
    if not unchecked:
        file = words.weights or words.first
        loading.check_arrays(model, file, allow_nonfinite=allow_nonfinite, remedy=REMEDY)
    return model


def _read(
    words: ModelWords, *, needs_weights: bool, dialect: str, cutoff: int | None, **options: Any
) -> Model:
    """Read a model of Darknet's own files, or a file that darkconv has written."""
    if words.is_exported:
        check_says_itself(words, dialect, cutoff)
    elif words.weights is None and needs_weights and not words.is_pickle:
        raise WeightsError(
            "no weights given",
            where=Where(file=str(find_cfg(words.first))),
            hint=f"a model is two files: {words.first} NET.weights",
        )
    try:
        return loading.read_model(
            words.first, words.weights, dialect=dialect, cutoff=cutoff, **options
        )
    except DarkconvError as error:
        if error.hint == RUN_IT:
            error.hint = "detect and eval run it, verify compares it"
        raise


def _is_imported(words: ModelWords) -> bool:
    """Return True if another tool's file stands in place of weights, or alone."""
    file = words.weights or words.first
    if not is_checkpoint(file):
        return False
    from darkconv.imports.opening import is_foreign

    return words.weights is not None or is_foreign(file)


def _import(words: ModelWords, cutoff: int | None, **options: Any) -> Model:
    """Read another tool's file, and say on stderr which arrays were taken from it."""
    from darkconv.imports.importing import read_checkpoint

    file = words.weights or words.first
    if cutoff is not None:
        raise click.UsageError(f"--cutoff is about Darknet's weights, not {file}")
    done = read_checkpoint(words.first if words.weights else None, file, **options)
    if logger.isEnabledFor(logging.WARNING):
        for line in done.lines():
            echo(line, err=True)
    return done.model


def shared_options(
    options: Mapping[str, Any], words: ModelWords, others: Sequence[ModelWords]
) -> dict[str, Any]:
    """Return the options of reading one of several models.

    Dialects are for Darknet's files, encodings for models that have class names.

    Args:
        options: the options that the user gave, by name.
        words: the model to read.
        others: all models of the command.
    """
    is_for_others = words.is_exported and not all(other.is_exported for other in others)
    own = {**options, "dialect": AUTO} if is_for_others else dict(options)
    if not own.get("names") and not _has_names(words) and any(map(_has_names, others)):
        own["names_encoding"] = None
    return own


def _has_names(words: ModelWords) -> bool:
    return words.is_exported or names_beside(words.first, words.weights) is not None


def check_says_itself(words: ModelWords, dialect: str, cutoff: int | None = None) -> None:
    """Raise a usage error for options about Darknet's files where the file is an exported one.

    Args:
        words: MODEL, an exported file.
        dialect: value of --dialect.
        cutoff: value of --cutoff; None if it is not given.

    Raises:
        UsageError: an option other than its default is given.
    """
    for option, is_given in (("dialect", dialect != AUTO), ("cutoff", cutoff is not None)):
        if is_given:
            raise click.UsageError(f"--{option} is about Darknet's files, not {words.first}")


def read_exported(
    words: ModelWords, *, dialect: str = AUTO, allow_nonfinite: bool = False, **options: Any
) -> "ExportedFile":
    """Open an ONNX or LiteRT file to run it: see `darkconv.loading.open_exported`.

    Args:
        words: MODEL, an ONNX or LiteRT file.
        dialect: value of --dialect, which must be `auto`.
        allow_nonfinite: value of --allow-nonfinite, which must be False.
        options: see `darkconv.loading.open_exported`.

    Raises:
        UsageError: an option about Darknet's files is given.
    """
    check_says_itself(words, dialect)
    if allow_nonfinite:
        raise click.UsageError(f"--allow-nonfinite is about Darknet's arrays, not {words.first}")
    return loading.open_exported(words.first, **options)


def write_model(model: Model, output: OutputFiles, **options: Any) -> None:
    """Write a model in the format that the output's suffix says.

    Args:
        model: the model to write.
        output: the file, or the two files.
        options: options of the format: see `write_onnx`, `to_keras` and `write_litert`.

    Raises:
        DarkconvError: an unknown suffix.
    """
    if output.weights:
        names = output.path.with_suffix(".names") if model.names else None
        loading.save(model, output.path, output.weights, names=names, allow_nonfinite=True)
    else:
        check_kept(model, str(output.path), allow_nonfinite=True, remedy="")
        write_file(model, output.path, **options)


def write_models(model: Model, outputs: Iterable[OutputFiles]) -> None:
    """Write a model to each output, and print its path.

    Args:
        model: the model to write.
        outputs: the outputs of the command.
    """
    for output in outputs:
        write_model(model, output)
        report_written(output)


def require_outputs(outputs: tuple[OutputFiles, ...], *more: str, is_kit: bool = False) -> None:
    """Check that something is to be written, and that it can be.

    Args:
        outputs: the outputs of a command.
        more: suffixes of other files that the command writes beside models.
        is_kit: the outputs are folders.

    Raises:
        UsageError: nothing is to be written, or files where a folder is.
        DarkconvError: an output cannot be written.
    """
    if not outputs:
        raise click.UsageError("Missing option '-o': the file to write")
    if is_kit and any(output.weights for output in outputs):
        raise click.UsageError("--for writes a folder: -o DIR")
    for output in () if is_kit else outputs:
        check_target(output.path, output.weights, (*WRITERS, *more))


def report_written(output: OutputFiles, *, external: bool = False) -> None:
    """Print path and size of a result; `external`: arrays of an ONNX file lie beside it.

    Args:
        output: the output that was written.
        external: True if the arrays of an ONNX file lie beside it.
    """
    files = written_files(output.path, external=external)
    files += (output.weights,) if output.weights else ()
    sizes = ", ".join(f"{file} ({format_size(size_of(file))})" for file in files)
    echo(f"wrote {sizes}", err=True)
