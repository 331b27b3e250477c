"""`darkconv prune`: a model without the channels that matter least."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from darkconv.cli.file_types import InputFile, OutputFile
from darkconv.cli.given import refuse
from darkconv.cli.info import weights_size
from darkconv.cli.models import read_model, report_written, require_outputs, write_model
from darkconv.cli.params import (
    ModelCommand,
    ModelWords,
    Output,
    Word,
    model_options,
    output_option,
    split_model,
    words_argument,
)
from darkconv.cli.pictures import (
    PICTURE_NAMES,
    PictureOptions,
    open_pictures,
    picture_options_beside_images,
)
from darkconv.cli.planning import Planning, make_plan, plan_options
from darkconv.cli.printing import echo, echo_json, echo_lines, echo_table
from darkconv.cli.profile import (
    PROFILING_NAMES,
    ProfilingOptions,
    profile_of,
    profiling_options,
    read_profile,
)
from darkconv.cli.progress import is_first_process
from darkconv.cli.reconstruction import refit
from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.errors import PlanError
from darkconv.files.sizes import format_size
from darkconv.libraries import require
from darkconv.presentation.numerals import format_count, format_large
from darkconv.surgery.channels import find_classes
from darkconv.surgery.explain import format_bonds
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.plan_file import format_plan
from darkconv.surgery.prune import prune as remove

HEADERS = ("layer", "type", "channels", "parameters", "MACs")

OF_EXPLAIN = ("words", "explain", "dialect", "input_size")
"""What `--explain` needs."""
OF_CHOICE = ("score", "min_keep", "skip_first", "multiple", "lock", "seed", "against_path")
"""Options that say how channels are chosen."""


@click.command(cls=ModelCommand)
@words_argument()
@output_option
@click.option(
    "--profile",
    "profile_path",
    type=InputFile(path_type=None),
    metavar="P.npz",
    help="What darkconv profile wrote.",
)
@click.option(
    "--images",
    multiple=True,
    type=Word(),
    metavar="IMAGES",
    help="Profile these pictures now; repeatable.",
)
@click.option(
    "--against",
    "against_path",
    type=InputFile(path_type=None),
    metavar="P2.npz",
    help="Second profile, for the score contrast.",
)
@plan_options("--keep")
@click.option(
    "--reconstruct",
    "refitted_on",
    multiple=True,
    type=Word(),
    metavar="IMAGES",
    help="Refit the weights that stay, so that each layer gives what it gave on these pictures; "
    "repeatable.",
)
@click.option(
    "--plan",
    "plan_path",
    type=InputFile(dir_okay=False),
    metavar="P.json",
    help="Plan to carry out.",
)
@click.option(
    "--save-plan",
    type=OutputFile(over_inputs=True),
    metavar="P.json",
    help="Write the plan, to edit it.",
)
@click.option("--dry-run", is_flag=True, help="Show what would go, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print plan and costs as JSON.")
@click.option(
    "--explain",
    type=int,
    multiple=True,
    metavar="LAYER",
    help="Say which channels of a layer live and die together, and why; repeatable.",
)
@picture_options_beside_images
@profiling_options
@model_options
def prune(
    words: tuple[str, ...],
    outputs: tuple[Output, ...],
    profile_path: str | None,
    images: tuple[str, ...],
    against_path: str | None,
    planning: Planning,
    refitted_on: tuple[str, ...],
    plan_path: Path | None,
    save_plan: Path | None,
    dry_run: bool,
    as_json: bool,
    explain: tuple[int, ...],
    pictures: PictureOptions,
    profiling: ProfilingOptions,
    **options: Any,
) -> None:
    """Remove the channels that matter least.

    How much goes is said by one of --ratio (or --keep, the same), --count, --threshold,
    --params, --macs, --size and --cut, or by a --plan. The scores l1, bn and random need
    neither --profile nor --images. --reconstruct makes up for much of what is lost, in seconds
    and without labels.

    Example: darkconv prune net.cfg net.weights --profile p.npz --ratio 0.5 -o s.cfg s.weights
    """
    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    if explain:
        others = {name for name in click.get_current_context().params if name not in OF_EXPLAIN}
        refuse(*others, because="--explain only looks at the network")
        explain_layers(model_words, explain, options)
        return
    if profile_path and images:
        raise click.UsageError("--profile and --images: give one of them")
    refuse_idle(planning, plan_path, profile_path, images, refitted_on)
    check_usage(planning, plan_path, save_plan, outputs, dry_run=dry_run)
    if outputs:
        require_outputs(outputs)
    if images or refitted_on:
        task = "prune --images" if images else "prune --reconstruct"
        require("PIL", "torch", task=task, extra="torch")
    model = read_model(model_words, **options)
    found = read_profile(profile_path, model) if profile_path else None
    against = read_profile(against_path, model) if against_path else None
    plan = PrunePlan.load(plan_path) if plan_path else None
    profiling = replace(profiling, taylor=profiling.taylor or planning.score == "taylor")
    if images:
        found, _ = profile_of(model, images, pictures, profiling, seed=planning.seed)
    if not is_first_process():
        return
    plan = plan or make_plan(model, found, planning, against=against)
    small = remove(model, plan, compensate=planning.compensate, profile=found)
    if refitted_on and not dry_run:
        shown = open_pictures(refitted_on, pictures, model=model, uses_labels=False)
        small = refit(small, model, plan, shown, profiling)
    if save_plan:
        plan.save(save_plan, model.network)
        echo(f"wrote {save_plan}", err=True)
    for output in () if dry_run else outputs:
        write_model(small, output)
        report_written(output)
    if as_json:
        echo_json(as_dict(model, small, plan))
    else:
        show_pruning(model, small)
        show_remarks(plan, compensate=planning.compensate)


def refuse_idle(
    planning: Planning,
    plan_path: Path | None,
    profile_path: str | None,
    images: Sequence[str],
    refitted_on: Sequence[str],
) -> None:
    """Raise a usage error for options that would do nothing beside the others."""
    if plan_path:
        refuse(*OF_CHOICE, because="--plan says what goes")
    if planning.score != "contrast":
        refuse("against_path", because="only --score contrast compares two profiles")
    if planning.compensate and not (plan_path or profile_path or images):
        refuse("compensate", because="means come from --profile, --images or a plan")
    if planning.score != "taylor":
        refuse("taylor", because="gradients are read by --score taylor alone")
    if not images:
        refuse("batch", "taylor", because="it is about --images")
    if not (images or refitted_on):
        names = (*PICTURE_NAMES, *PROFILING_NAMES)
        refuse(*names, because="no pictures are looked at without --images and --reconstruct")


def check_usage(
    planning: Planning,
    plan_path: Path | None,
    save_plan: Path | None,
    outputs: Sequence[Output],
    *,
    dry_run: bool,
) -> None:
    """Raise a usage error for options that contradict each other or leave nothing to do."""
    if plan_path is None:
        planning.require_amount()
    elif planning.amounts:
        (name, *_) = planning.amounts
        raise click.UsageError(f"--plan says what goes, so --{name} does not")
    if dry_run and save_plan:
        raise click.UsageError(
            "--dry-run writes nothing: for the plan alone leave it out, and -o too"
        )
    if not (outputs or save_plan or dry_run):
        raise click.UsageError("Missing option '-o': the file to write; or --dry-run")


def explain_layers(words: ModelWords, layers: Sequence[int], options: dict[str, Any]) -> None:
    """Print what binds the channels of some layers.

    Raises:
        PlanError: a layer that the network does not have.
    """
    options = {**options, "unchecked": True}  # no array is looked at
    network = read_model(words, needs_weights=False, **options).network
    last = len(network.layers) - 1
    for index in layers:
        if not 0 <= index <= last:
            raise PlanError("--explain", expected=f"a layer from 0 to {last}", found=index)
    classes = find_classes(network)
    echo_lines("\n\n".join(format_bonds(classes, index) for index in layers))


def show_pruning(model: Model, small: Model) -> None:
    """The layers that change, and the totals."""
    pairs = changed_layers(model, small)
    if pairs:
        echo_table(HEADERS, [table_row(*pair) for pair in pairs], left=(1, 2, 3, 4))
        echo()
    else:
        echo("nothing goes")
    before, after = totals(model), totals(small)
    echo(f"parameters    {change(before['parameters'], after['parameters'], format_count)}")
    echo(f"MACs          {change(before['macs'], after['macs'], format_large)}")
    echo(f"weights file  {change(before['bytes'], after['bytes'], format_size)}")


def show_remarks(plan: PrunePlan, *, compensate: bool) -> None:
    """What the choice of channels gave rise to; of a plan from a file, nothing is known."""
    if plan.file is not None:
        return
    folded = plan.notes.get("folded", 0)
    if folded and compensate:
        noun = "channel" if folded == 1 else "channels"
        echo(f"{folded} constant {noun} folded at no cost")
    for remark in plan.notes.get("remarks", ()):
        echo(remark)


def changed_layers(model: Model, small: Model) -> list[tuple[Layer, Layer]]:
    """Layers with arrays that lose channels or inputs: before and after."""
    pairs = zip(model.network.layers, small.network.layers, strict=True)
    return [
        (old, new)
        for old, new in pairs
        if (old.slots or old.macs)
        and (old.out_shape, old.in_shapes) != (new.out_shape, new.in_shapes)
    ]


def table_row(old: Layer, new: Layer) -> tuple[object, ...]:
    """The cells of a layer."""
    cells = (
        (old.out_shape.c, new.out_shape.c, format_count),
        (old.parameters, new.parameters, format_count),
        (old.macs, new.macs, format_large),
    )
    arrows = (show(a) if a == b else f"{show(a)} -> {show(b)}" for a, b, show in cells)
    return old.index, old.type, *arrows


def change(before: int, after: int, show: Any) -> str:
    """`100 -> 40 (40.0 %)`."""
    return f"{show(before)} -> {show(after)} ({after / max(before, 1):.1%})"


def totals(model: Model) -> dict[str, int]:
    """Costs of a model."""
    return {
        "parameters": model.network.parameters,
        "macs": model.network.macs,
        "bytes": weights_size(model),
    }


def as_dict(model: Model, small: Model, plan: PrunePlan) -> dict[str, Any]:
    """The plan, and what it does, for programs."""
    text = format_plan(plan.model, plan.keep, plan.means, plan.notes, model.network)
    layers = [
        {
            "layer": old.index,
            "type": old.type,
            "channels": [old.out_shape.c, new.out_shape.c],
            "parameters": [old.parameters, new.parameters],
            "macs": [old.macs, new.macs],
        }
        for old, new in changed_layers(model, small)
    ]
    return {
        "before": totals(model),
        "after": totals(small),
        "layers": layers,
        "plan": json.loads(text),
    }
