"""`darkconv graft`: one network's layers in another."""

import os
from pathlib import Path
from typing import Any

import click

from darkconv.cli.models import (
    read_model,
    report_written,
    require_outputs,
    shared_options,
    write_model,
)
from darkconv.cli.params import (
    ModelCommand,
    ModelWords,
    Output,
    OutputType,
    model_options,
    split_model,
    words_argument,
)
from darkconv.cli.printing import echo_json, echo_lines
from darkconv.core.model import Model
from darkconv.darknet.cfg import read_cfg
from darkconv.darknet.dialect import AUTO, choose_dialect
from darkconv.darknet.weights import write_weights
from darkconv.presentation.layer_table import ranges
from darkconv.surgery.graft import GraftResult
from darkconv.surgery.graft import graft as graft_layers
from darkconv.zoo.bundled import bundled_cfg


class WeightsOutputType(OutputType):
    """As OutputType, and a weights file alone, for the receiver's cfg as it is."""

    def convert(
        self, value: str | Output, param: click.Parameter | None, ctx: click.Context | None
    ) -> Output:
        """A lone `.weights` is one file."""
        if isinstance(value, str) and value.endswith(".weights") and "\0" not in value:
            return Output(Path(value))
        return super().convert(value, param, ctx)


@click.command(cls=ModelCommand)
@words_argument("DONOR RECEIVER")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=WeightsOutputType(),
    multiple=True,
    metavar="OUT",
    help="OUT.cfg OUT.weights, or OUT.weights alone for the receiver's cfg as it is.",
)
@click.option(
    "--layers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take only the donor's first N layers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@model_options
def graft(
    words: tuple[str, ...],
    outputs: tuple[Output, ...],
    layers: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Put one network's layers into another, each to the layer that it fits.

    DONOR is a model, RECEIVER a model or a cfg alone. Layers whose arrays agree in name and
    shape are matched in order; the others keep the receiver's values. Nothing is shifted.

    Example: darkconv graft yolov3.cfg yolov3.weights three-classes.cfg -o start.weights
    """
    donor_words, rest = split_model(words)
    if not rest:
        raise click.UsageError("Missing argument 'RECEIVER': B.cfg, or B.cfg B.weights")
    receiver_words, more = split_model(rest)
    if more:
        raise click.UsageError(f"Got unexpected extra argument ({more[0]})")
    require_outputs(outputs, ".weights")
    donor = read_model(donor_words, **shared_options(options, donor_words, [receiver_words]))
    options = shared_options(options, receiver_words, [donor_words])
    result = graft_layers(donor, _read_receiver(receiver_words, donor, options), layers=layers)
    for output in outputs:
        _write(result.model, output)
        report_written(output)
    if as_json:
        echo_json(as_dict(result))
    else:
        echo_lines(describe(result))


def _read_receiver(words: ModelWords, donor: Model, options: dict[str, Any]) -> Model:
    """The receiver; a cfg that leaves its dialect open follows the donor's weights."""
    if words.weights is None and not words.is_exported and options["dialect"] == AUTO:
        cfg = words.first if os.path.exists(words.first) else bundled_cfg(words.first)
        if cfg:
            dialect = choose_dialect(read_cfg(cfg), donor.header)
            options = {**options, "dialect": dialect.name}
    return read_model(words, needs_weights=False, **options)


def _write(model: Model, output: Output) -> None:
    if output.suffix == ".weights":
        write_weights(model, output.path)
    else:
        write_model(model, output)


def describe(result: GraftResult) -> str:
    """The account in words: runs of layers taken, layers left."""
    total = len(result.taken) + len(result.fresh)
    lines = [f"taken: {len(result.taken)} of {total} layers with arrays"]
    for (a, b), (c, d) in runs(result):
        donor, receiver = (str(x) if x == y else f"{x}-{y}" for x, y in ((a, c), (b, d)))
        lines.append(f"  donor {donor} -> receiver {receiver}")
    for word, indices in (
        ("fresh, keep the receiver's values", result.fresh),
        ("unused, of the donor", result.unused),
        ("taken, but behind fresh ones", result.behind_fresh),
    ):
        lines.append(f"{word}: {ranges(indices) if indices else 'none'}")
    return "\n".join(lines)


Pair = tuple[int, int]


def runs(result: GraftResult) -> list[tuple[Pair, Pair]]:
    """First and last pair of each run of matches between which nothing was left out."""
    found: list[tuple[Pair, Pair]] = []
    for pair in result.taken:
        last = found[-1][1] if found else None
        if last and _follows(last, pair, result):
            found[-1] = found[-1][0], pair
        else:
            found.append((pair, pair))
    return found


def _follows(last: Pair, pair: Pair, result: GraftResult) -> bool:
    skipped = any(last[0] < index < pair[0] for index in result.unused)
    missed = any(last[1] < index < pair[1] for index in result.fresh)
    return pair[0] - last[0] == pair[1] - last[1] and not skipped and not missed


def as_dict(result: GraftResult) -> dict[str, Any]:
    """The account for programs."""
    return {
        "taken": [list(pair) for pair in result.taken],
        "fresh": list(result.fresh),
        "unused": list(result.unused),
        "behind_fresh": list(result.behind_fresh),
    }
