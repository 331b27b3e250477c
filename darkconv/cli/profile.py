"""`darkconv profile`: measure a model's channels on pictures."""

from pathlib import Path
from typing import Any

import click

from darkconv.console.files import OutputFile, report_option
from darkconv.console.given import refuse
from darkconv.console.printing import echo, echo_json, echo_table
from darkconv.console.values import seed_option
from darkconv.core.model import Model
from darkconv.core.processes import is_first_process
from darkconv.libraries import require
from darkconv.options.command import ModelCommand
from darkconv.options.models import read_model
from darkconv.options.params import model_options, split_model, words_argument
from darkconv.options.pictures import KINDS, PICTURE_NAMES, PictureOptions, picture_options
from darkconv.options.profiling import (
    PROFILING_NAMES,
    SUFFIX,
    ProfilingOptions,
    profile_of,
    profiling_options,
)
from darkconv.surgery.profile import Profile
from darkconv.surgery.profile_tables import OF_CHANNELS, idle_rows, profile_dict, profile_summary

SHOWN_LAYERS = 10


@click.command(cls=ModelCommand, epilog=f"IMAGE: {KINDS}.")
@words_argument("MODEL IMAGE...")
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=OutputFile(over_inputs=True),
    metavar="OUT.npz",
    help="Profile to write.",
)
@report_option("histograms of the channels", was="--html")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@seed_option("the sample that the histograms are of")
@picture_options
@profiling_options
@model_options
def profile(
    words: tuple[str, ...],
    path: Path,
    report: Path | None,
    as_json: bool,
    seed: int,
    pictures: PictureOptions,
    profiling: ProfilingOptions,
    **options: Any,
) -> None:
    """Measure what the channels of each layer do on pictures.

    An IMAGE may be a profile of the same model: its pictures count too. Under torchrun the
    pictures are shared out among the processes.

    Example: darkconv profile yolov3.cfg yolov3.weights photos -o yolov3.npz
    """
    model_words, sources = split_model(words)
    if not sources:
        raise click.UsageError("Missing argument 'IMAGE': pictures, or profiles to merge")
    if path.suffix != SUFFIX:
        raise click.UsageError(f"-o {path}: the name of a profile ends in {SUFFIX}")
    if all(source.endswith(SUFFIX) for source in sources):
        refuse(*PICTURE_NAMES, *PROFILING_NAMES, "seed", because="profiles are merged as they are")
    else:
        require("PIL", "torch", task="profile", extra="torch")
    if pictures.only_classes is None:
        refuse("names", "data_names", because="classes are looked at with --only-classes alone")
    model = read_model(model_words, **options)
    found, skipped = profile_of(model, sources, pictures, profiling, seed=seed)
    if not is_first_process():
        return
    found.save(path)
    echo(f"wrote {path}", err=True)
    if report:
        found.report(report, model)
        echo(f"wrote {report}", err=True)
    show_profile(model, found, skipped, as_json=as_json)


def show_profile(model: Model, found: Profile, skipped: int, *, as_json: bool) -> None:
    """Print a summary of a profile.

    Args:
        model: the model that was profiled.
        found: its profile.
        skipped: number of pictures that could not be read.
        as_json: True to print JSON instead of text.
    """
    if as_json:
        echo_json(profile_dict(model, found, skipped))
        return
    echo(profile_summary(model, found, skipped))
    idle = idle_rows(model, found)
    if not idle:
        echo("no channel is constant or near dead")
        return
    echo_table(OF_CHANNELS, idle[:SHOWN_LAYERS], left=(1,))
    if len(idle) > SHOWN_LAYERS:
        echo(f"... and {len(idle) - SHOWN_LAYERS} more layers with such channels")
