"""`darkconv profile`: what the channels of a model do on pictures."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from darkconv.cli.device import device_option
from darkconv.cli.file_types import OutputFile
from darkconv.cli.given import refuse
from darkconv.cli.models import read_model
from darkconv.cli.params import ModelCommand, model_options, split_model, words_argument
from darkconv.cli.pictures import (
    KINDS,
    PICTURE_NAMES,
    PictureOptions,
    open_pictures,
    picture_options,
    report_unread,
)
from darkconv.cli.printing import echo, echo_json, echo_table
from darkconv.cli.progress import is_first_process, progress
from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.dataset import Dataset
from darkconv.errors import DatasetError, PlanError, Where
from darkconv.libraries import require
from darkconv.presentation.numerals import format_count
from darkconv.surgery.channels import makes_channels
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.profile import LayerStatistics, Profile, merge_profiles

SUFFIX = ".npz"
HEADERS = ("layer", "type", "channels", "constant", "near dead")
SHOWN_LAYERS = 10
FAINT = 0.01
"""Below this share of the layer's median root mean square, a channel is near dead."""


@dataclass(frozen=True, kw_only=True)
class ProfilingOptions:
    """How pictures are run through a model; see `darkconv.profiling.collect.profile`."""

    batch: int = 8
    device: str = "auto"
    resize: str | None = None
    taylor: bool = False


PROFILING_NAMES = tuple(field.name for field in fields(ProfilingOptions))
"""Of the parameters that `profiling_options` adds."""


def profiling_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say how pictures are run; the command gets them as `profiling`."""

    @functools.wraps(command)
    def collected(*args: Any, **values: Any) -> Any:
        own = {field.name: values.pop(field.name) for field in fields(ProfilingOptions)}
        return command(*args, profiling=ProfilingOptions(**own), **values)

    for option in reversed(_OPTIONS):
        collected = option(collected)
    return collected


_OPTIONS = (
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        default=8,
        show_default=True,
        help="Pictures that are run together.",
    ),
    device_option,
    click.option(
        "--resize",
        type=click.Choice(["stretch", "letterbox"]),
        help="How pictures are fitted  [default: as the dialect and letter_box= say]",
    ),
    click.option("--taylor", is_flag=True, help="Collect gradients too, for the score taylor."),
)


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
@click.option(
    "--html",
    type=OutputFile(),
    metavar="FILE",
    help="Write a report with histograms too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the histograms' sample.",
)
@picture_options
@profiling_options
@model_options
def profile(
    words: tuple[str, ...],
    path: Path,
    html: Path | None,
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
    if html:
        from darkconv.report import write_profile_report

        write_profile_report(html, model, found)
        echo(f"wrote {html}", err=True)
    show_profile(model, found, skipped, as_json=as_json)


def profile_of(
    model: Model,
    sources: Sequence[str],
    pictures: PictureOptions,
    profiling: ProfilingOptions,
    *,
    seed: int = 0,
) -> tuple[Profile, int]:
    """One profile over pictures and profiles, and how many pictures could not be read.

    Raises:
        DarkconvError: no picture is left, or a profile is of another model.
    """
    ready = [source for source in sources if source.endswith(SUFFIX)]
    parts = [read_profile(source, model) for source in ready]
    others = [source for source in sources if source not in ready]
    skipped = 0
    if others:
        dataset = open_pictures(others, pictures, model=model, uses_labels=False)
        measured = measure(model, dataset, profiling, seed=seed)
        skipped = len(dataset) - measured.pictures
        notes = {**measured.notes, "only_classes": pictures.only_classes}
        parts.append(replace(measured, notes=notes))
    return merge_profiles(parts), skipped


def read_profile(path: str, model: Model) -> Profile:
    """The profile in a file.

    Raises:
        PlanError: it is none, or of another model.
    """
    found = Profile.load(path)
    if found.model != fingerprint(model):
        raise PlanError(
            f"is a profile of another model than {model.network.file}",
            where=Where(file=path),
            hint="it fits only the network, input size and weights that it was made with",
        )
    try:
        found.check_fits(model.network)
    except PlanError as error:
        raise error.at(Where(file=path)) from None
    return found


def measure(model: Model, dataset: Dataset, options: ProfilingOptions, *, seed: int = 0) -> Profile:
    """The profile of a model over a data set; progress and what cannot be read go to stderr.

    Raises:
        DarkconvError: no picture could be read, or there is no such device.
    """
    from darkconv.profiling.collect import profile as collect

    images = [sample.image for sample in dataset.samples]
    total, world = len(images), int(os.environ.get("WORLD_SIZE", "1"))
    try:
        with progress(total, "pictures") as update:
            found = collect(
                model,
                images,
                batch=options.batch,
                device=options.device,
                resize=options.resize,
                taylor=options.taylor,
                seed=seed,
                progress=lambda done: update(min(done * world, total)),
            )
    except DatasetError as error:
        raise error.at(Where(file=dataset.source)) from None
    if is_first_process():
        report_unread(dataset, total - found.pictures)
    return replace(found, notes={**found.notes, "source": dataset.source})


def show_profile(model: Model, found: Profile, skipped: int, *, as_json: bool) -> None:
    """Print what a profile says, in short."""
    rows = [channel_counts(layer, found.layers[layer.index]) for layer in own_layers(model)]
    if as_json:
        head = {"pictures": found.pictures, "skipped": skipped}
        keys = [header.replace(" ", "_") for header in HEADERS]
        layers = [dict(zip(keys, row, strict=True)) for row in rows]
        echo_json({**head, "notes": found.notes, "layers": layers})
        return
    echo(
        f"{format_count(found.pictures)} pictures, {format_count(skipped)} skipped, "
        f"{len(model.network.layers)} layers"
    )
    idle = sorted((row for row in rows if any(row[3:])), key=lambda row: -sum(row[3:]) / row[2])
    if not idle:
        echo("no channel is constant or near dead")
        return
    echo_table(HEADERS, idle[:SHOWN_LAYERS], left=(1,))
    if len(idle) > SHOWN_LAYERS:
        echo(f"... and {len(idle) - SHOWN_LAYERS} more layers with such channels")


def own_layers(model: Model) -> list[Layer]:
    """The layers that do not just hand channels on."""
    return [layer for layer in model.network.layers if layer.slots or makes_channels(layer)]


def channel_counts(layer: Layer, found: LayerStatistics) -> tuple[int, str, int, int, int]:
    """Index, type, channels, and how many of them are constant and how many near dead."""
    constant = found.constant
    strength = np.sqrt(found.mean**2 + found.variance)
    faint = (strength < FAINT * np.median(strength)) & ~constant
    return layer.index, layer.type, layer.out_shape.c, int(constant.sum()), int(faint.sum())
