"""`darkconv weights`: run safe versions of Darknet's own weight tools."""

from pathlib import Path
from typing import Any

import click

from darkconv.console.files import OutputFile
from darkconv.console.given import refuse
from darkconv.console.groups import SuggestingGroup
from darkconv.console.printing import echo, echo_json, echo_lines, echo_table
from darkconv.core.model import Model
from darkconv.darknet.weights import CUTOFF_NAME
from darkconv.files.outputs import note_output
from darkconv.options.command import ModelCommand
from darkconv.options.models import (
    read_model,
    report_written,
    require_outputs,
    shared_options,
    write_models,
)
from darkconv.options.params import (
    ModelWords,
    OutputFiles,
    model_options,
    nameless_model_options,
    nameless_reading_options,
    only_model,
    output_option,
    split_model,
    words_argument,
)
from darkconv.surgery import array_tables as arrays
from darkconv.surgery.averaging import average as average_models
from darkconv.surgery.backbone import explain, plan_backbone, write_partial
from darkconv.surgery.colours import swap_rgb as swap_colours
from darkconv.surgery.compare import difference, statistics
from darkconv.surgery.folding import fold_batchnorm, plan_folding

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
partial_output = click.option(
    "-o",
    "--output",
    "path",
    type=OutputFile(over_inputs=True),
    metavar="OUT",
    help="File to write  [default: the weights' name with .conv.N, in the working folder]",
)


@click.group(cls=SuggestingGroup)
def weights() -> None:
    """Fold, average, cut, compare: Darknet's own weight tools, made safe.

    Example: darkconv weights fold yolov3.cfg yolov3.weights -o folded.cfg folded.weights
    """


@weights.command(cls=ModelCommand, short_help="Fold batch norm into the weights.")
@words_argument()
@output_option
@model_options
def fold(words: tuple[str, ...], outputs: tuple[OutputFiles, ...], **options: Any) -> None:
    """Fold batch norm into the weights before it: same outputs, less work.

    For running; train on from the unfolded model.

    Example: darkconv weights fold yolov3.cfg yolov3.weights -o folded.cfg folded.weights
    """
    require_outputs(outputs)
    model = _only_model(words, options)
    plan = plan_folding(model.network)
    write_models(fold_batchnorm(model), outputs)
    echo(f"folded the batch norm of {_count(plan.folded, 'layer')}")
    for index, reason in plan.left.items():
        echo(f"left layer {index} [{model.network.layers[index].type}]: {reason}")


@weights.command(cls=ModelCommand, short_help="Average several trainings.")
@words_argument("MODEL [WEIGHTS|MODEL]...")
@output_option
@model_options
def average(words: tuple[str, ...], outputs: tuple[OutputFiles, ...], **options: Any) -> None:
    """Average the arrays of several trainings of one network.

    Behind the first MODEL, a weights file alone belongs to the same cfg.

    Example: darkconv weights average net.cfg a.weights b.weights -o mean.cfg mean.weights
    """
    require_outputs(outputs)
    models = read_models(words, options)
    if len(models) < 2:
        raise click.UsageError("Nothing to average: give several weights files")
    mean = average_models(models)
    write_models(mean, outputs)
    echo(f"averaged {len(models)} models; pictures seen: {mean.header.seen:,}")


@weights.command(cls=ModelCommand, short_help="Write the first N layers.")
@words_argument()
@click.option("--layers", type=int, required=True, metavar="N", help="How many layers to keep.")
@partial_output
@nameless_model_options
def partial(words: tuple[str, ...], layers: int, path: Path | None, **options: Any) -> None:
    """Write the weights of the first N layers, as Darknet's `partial` does.

    The cfg stays as it is: it reads the file, whose name says how many layers it holds.

    Example: darkconv weights partial yolov3.cfg yolov3.weights --layers 81
    """
    model_words, model = _words_and_model(words, options)
    _write_partial(model, model_words, layers, path)


@weights.command(cls=ModelCommand, short_help="Find the cut, and write the layers before it.")
@words_argument()
@click.option("--layers", type=int, metavar="N", help="Cut here instead.")
@partial_output
@nameless_model_options
def backbone(words: tuple[str, ...], layers: int | None, path: Path | None, **options: Any) -> None:
    """Find where the features end and the heads begin, and write the weights up to there.

    From such a file a detector of other classes can be trained. Of a cfg alone, say where.

    Example: darkconv weights backbone yolov3.cfg yolov3.weights
    """
    model_words, model = _words_and_model(words, options, needs_weights=False)
    has_weights = bool(model_words.weights or model_words.is_exported)
    if not has_weights:
        refuse("layers", "path", because="there are no weights to write: give NET.weights")
    if layers is None:
        plan = plan_backbone(model.network)
        echo_lines(explain(plan, model.network))
        layers = plan.layers
    if has_weights:
        _write_partial(model, model_words, layers, path)


@weights.command("swap-rgb", cls=ModelCommand, short_help="Exchange red and blue.")
@words_argument()
@output_option
@model_options
def swap_rgb(words: tuple[str, ...], outputs: tuple[OutputFiles, ...], **options: Any) -> None:
    """Exchange red and blue in the first layers: a model for BGR pictures, or back.

    Example: darkconv weights swap-rgb net.cfg net.weights -o bgr.cfg bgr.weights
    """
    require_outputs(outputs)
    write_models(swap_colours(_only_model(words, options)), outputs)


@weights.command(cls=ModelCommand, short_help="Show what the arrays hold.")
@words_argument()
@json_option
@nameless_reading_options
def stats(words: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Show what each array holds: mean, deviation, range, zeros, broken values.

    Example: darkconv weights stats yolov3.cfg yolov3.weights
    """
    rows = statistics(_only_model(words, {**options, "unchecked": True}))
    if as_json:
        echo_json([row.to_dict() for row in rows])
        return
    echo_table(arrays.STATISTICS, [*map(arrays.statistics_row, rows)], left=(0, 1))
    broken = [row.key for row in rows if row.non_finite]
    if broken:
        echo(f"values that are not finite in: {', '.join(broken)}")


@weights.command(cls=ModelCommand, short_help="Compare the arrays of two models.")
@words_argument("MODEL WEIGHTS|MODEL")
@click.option("--all", "show_all", is_flag=True, help="Show equal arrays too.")
@json_option
@nameless_reading_options
def diff(words: tuple[str, ...], show_all: bool, as_json: bool, **options: Any) -> None:
    """Compare the arrays of two models.

    A weights file alone as the second belongs to the same cfg.

    Example: darkconv weights diff net.cfg before.weights after.weights
    """
    if as_json:
        refuse("show_all", because="--json has all arrays")
    models = read_models(words, {**options, "unchecked": True})
    if len(models) != 2:
        raise click.UsageError(f"Two models to compare are needed, {len(models)} given")
    rows = difference(*models)
    if as_json:
        echo_json([row.to_dict() for row in rows])
        return
    shown = [row for row in rows if show_all or row.state != "equal"]
    if shown:
        echo_table(arrays.DIFFERENCES, [*map(arrays.difference_row, shown)], left=(0, 1))
    equal = sum(row.state == "equal" for row in rows)
    echo(f"{equal} of {_count(rows, 'array')} equal to the bit")


def read_models(words: tuple[str, ...], options: dict[str, Any]) -> list[Model]:
    """Read several MODELs; after the first, a weights file alone goes with the cfg before it.

    Args:
        words: the words as the user gave them.
        options: the options of reading models, by name.

    Raises:
        UsageError: a weights file has no cfg in front of it.
    """
    first, rest = split_model(words)
    given = [first]
    while rest:
        if rest[0].endswith(".cfg") or ModelWords(rest[0]).is_exported:
            word, rest = split_model(rest)
        elif given[-1].is_exported:
            raise click.UsageError(f"{rest[0]} needs a cfg in front of it")
        else:
            word, rest = ModelWords(given[-1].first, rest[0]), rest[1:]
        given.append(word)
    return [read_model(word, **shared_options(options, word, given)) for word in given]


def _words_and_model(
    words: tuple[str, ...], options: dict[str, Any], *, needs_weights: bool = True
) -> tuple[ModelWords, Model]:
    model_words = only_model(words)
    return model_words, read_model(model_words, needs_weights=needs_weights, **options)


def _only_model(words: tuple[str, ...], options: dict[str, Any]) -> Model:
    return _words_and_model(words, options)[1]


def _write_partial(model: Model, words: ModelWords, layers: int, path: Path | None) -> None:
    target = path or Path(f"{_stem(words)}.conv.{layers}")
    if path is None:
        note_output(target)
    cutoff = write_partial(model, target, layers)
    report_written(OutputFiles(target))
    if cutoff:
        echo(f"to read it, say --cutoff {cutoff}", err=True)


def _stem(words: ModelWords) -> str:
    """Return `yolov3` for `weights/yolov3.weights` and for `yolov3.conv.81`."""
    if words.is_exported:
        return Path(words.first).stem
    return CUTOFF_NAME.sub("", Path(words.weights or words.first).name).removesuffix(".weights")


def _count(things: Any, word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")
