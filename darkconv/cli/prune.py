"""`darkconv prune`: remove the channels of a model that matter least."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from darkconv.cli.pruned import show_pruning
from darkconv.console.files import InputFile, OutputFile
from darkconv.console.given import refuse
from darkconv.console.printing import echo, echo_json, echo_lines
from darkconv.console.progress import progress, steps
from darkconv.core.processes import is_first_process
from darkconv.libraries import require
from darkconv.options.command import ModelCommand
from darkconv.options.models import (
    read_model,
    require_outputs,
    write_models,
)
from darkconv.options.params import (
    OutputFiles,
    Word,
    model_options,
    only_model,
    output_option,
    words_argument,
)
from darkconv.options.pictures import (
    PICTURE_NAMES,
    PictureOptions,
    open_pictures,
    picture_options_beside_images,
)
from darkconv.options.planning import (
    plan_options,
    refuse_idle_choices,
    require_amount,
)
from darkconv.options.profiling import (
    PROFILING_NAMES,
    SUFFIX,
    ProfilingOptions,
    profile_of,
    profiling_options,
)
from darkconv.surgery.changes import pruning_dict
from darkconv.surgery.explain import explain_layers
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.planning import Planning
from darkconv.surgery.profile import Profile
from darkconv.surgery.prune import prune as remove

OF_EXPLAIN = ("words", "explain", "dialect", "input_size")
"""The parameters that `--explain` uses."""
OF_CHOICE = (
    "score", "min_keep", "skip_first", "multiple", "lock", "seed", "against_path", "allocation",
)  # fmt: skip
"""Options of choosing channels."""


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
@plan_options(was="--keep")
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
    outputs: tuple[OutputFiles, ...],
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
    --params, --macs, --size and --cut, by several of --params, --macs and --size, or by a
    --plan. The scores l1, bn and random need neither --profile nor --images. --reconstruct makes
    up for much of what is lost, in seconds and without labels.

    Example: darkconv prune net.cfg net.weights --profile p.npz --ratio 0.5 -o s.cfg s.weights
    """
    model_words = only_model(words)
    if explain:
        others = {name for name in click.get_current_context().params if name not in OF_EXPLAIN}
        refuse(*others, because="--explain only looks at the network")
        options["unchecked"] = True  # no array is used
        network = read_model(model_words, needs_weights=False, **options).network
        echo_lines(explain_layers(network, explain))
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
    found = Profile.load(profile_path, model) if profile_path else None
    against = Profile.load(against_path, model) if against_path else None
    plan = PrunePlan.load(plan_path) if plan_path else None
    score = planning.score
    profiling = replace(profiling, taylor=score == "taylor", obs=score == "obs")
    if images:
        found, _ = profile_of(model, images, pictures, profiling, seed=planning.seed)
    if plan is None and (images or planning.latency):
        from darkconv.dissection.choosing import choose_channels

        own = [source for source in images if not source.endswith(SUFFIX)]
        tried = open_pictures(own, pictures, model=model, uses_labels=False) if own else None
        with steps() as update:
            how = {**profiling.running, "progress": update}
            plan = choose_channels(model, planning, found, against, images=tried, **how)
    if not is_first_process():
        return
    plan = plan or planning.plan(model, found, against)
    small = remove(model, plan, compensate=planning.compensate, profile=found)
    if refitted_on and not dry_run:
        from darkconv.profiling.reconstruction import reconstruct

        shown = open_pictures(refitted_on, pictures, model=model, uses_labels=False)
        with progress(len(model.network.layers), "refitting layers") as update:
            small = reconstruct(small, model, plan, shown, **profiling.running, progress=update)
    if save_plan:
        plan.save(save_plan)
        echo(f"wrote {save_plan}", err=True)
    write_models(small, () if dry_run else outputs)
    if as_json:
        echo_json(pruning_dict(model, small, plan))
    else:
        show_pruning(model, small, plan, compensate=planning.compensate)


def refuse_idle(
    planning: Planning,
    plan_path: Path | None,
    profile_path: str | None,
    images: Sequence[str],
    refitted_on: Sequence[str],
) -> None:
    """Raise a usage error for options that would do nothing beside the others.

    Args:
        planning: options of choosing channels.
        plan_path: value of --plan; None if it is not given.
        profile_path: value of --profile; None if it is not given.
        images: values of --images.
        refitted_on: values of --reconstruct.

    Raises:
        UsageError: an option is given that would do nothing.
    """
    if plan_path:
        refuse(*OF_CHOICE, because="--plan says what goes")
    if planning.score != "contrast":
        refuse("against_path", because="only --score contrast compares two profiles")
    if planning.compensate and not (plan_path or profile_path or images):
        refuse("compensate", because="means come from --profile, --images or a plan")
    refuse_idle_choices(planning)
    if not images:
        refuse("taylor", "obs", because="it is about --images")
        if planning.is_measured:
            refuse("allocation", because="what cuts cost is measured on --images")
    if not (images or refitted_on):
        names = (*PICTURE_NAMES, *PROFILING_NAMES)
        refuse(*names, because="no pictures are looked at without --images and --reconstruct")


def check_usage(
    planning: Planning,
    plan_path: Path | None,
    save_plan: Path | None,
    outputs: Sequence[OutputFiles],
    *,
    dry_run: bool,
) -> None:
    """Raise a usage error for options that contradict each other or leave nothing to do.

    Args:
        planning: options of choosing channels.
        plan_path: value of --plan; None if it is not given.
        save_plan: value of --save-plan; None if it is not given.
        outputs: the outputs of the command.
        dry_run: True if nothing is to be written.

    Raises:
        UsageError: they do.
    """
    if plan_path is None:
        require_amount(planning)
    elif planning.amounts:
        (name, *_) = planning.amounts
        raise click.UsageError(f"--plan says what goes, so --{name} does not")
    if dry_run and save_plan:
        raise click.UsageError(
            "--dry-run writes nothing: for the plan alone leave it out, and -o too"
        )
    if not (outputs or save_plan or dry_run):
        raise click.UsageError("Missing option '-o': the file to write; or --dry-run")
