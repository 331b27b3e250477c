"""`darkconv finetune`: train a model on pictures, with labels or from a teacher."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.file_types import OutputFolder
from darkconv.cli.given import refuse
from darkconv.cli.models import (
    read_model,
    report_written,
    require_outputs,
    shared_options,
    write_model,
)
from darkconv.cli.params import (
    ModelCommand,
    ModelType,
    ModelWords,
    NumberType,
    Output,
    Word,
    command_line,
    is_number,
    model_options,
    output_option,
    split_model,
    words_argument,
)
from darkconv.cli.pictures import picture_options, read_pairs
from darkconv.cli.printing import echo, echo_json, echo_lines
from darkconv.cli.progress import progress
from darkconv.cli.sources import Sources, open_sources
from darkconv.core.model import Model
from darkconv.core.names import find_name
from darkconv.core.processes import is_first_process
from darkconv.dataset.for_model import named_model
from darkconv.errors import DarkconvError, DatasetError
from darkconv.files.outputs import may_overwrite, note_folder_use, note_output
from darkconv.files.signals import SHELL_BASE, Ended
from darkconv.files.sources import release_sources
from darkconv.finetune.folder import Folder
from darkconv.libraries import require, telling_missing
from darkconv.presentation.numerals import per_cent

if TYPE_CHECKING:
    from darkconv.finetune.recipe import Recipe
    from darkconv.finetune.run import Finetuned
    from darkconv.finetune.tasks import Data

SHOWN = ("loss", "box", "objectness", "no_object", "classes", "features", "iou")
SHARES = {"recall": "recall", "AP": "AP", "top1": "top-1", "top5": "top-5"}
"""What a line shows of a row: first as it is, then in per cent."""
"""Figures of a line of progress, where they exist."""
READING = ("names", "names_encoding", "dialect", "input_size", "allow_nonfinite")
"""How models are read: those of `model_options`."""
Option = Callable[[Any], Any]


class NumbersType(click.ParamType):  # type: ignore[type-arg]
    """`12,45`: numbers of layers."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """As a tuple."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        if not all(map(is_number, words)):
            self.fail(f"{value!r} is no list of layer numbers", param, ctx)
        return tuple(map(int, words))


def _positive(**options: Any) -> dict[str, Any]:
    return {"type": click.IntRange(min=1), **options}


POSITIVE = NumberType(0, min_open=True)

LEARNING: dict[str, Option] = {
    "epochs": click.option("--epochs", type=POSITIVE, metavar="N", help="[default: 50]"),
    "steps": click.option(
        "--steps", **_positive(help="Updates of the weights, in place of --epochs.")
    ),
    "batch": click.option(
        "--batch", **_positive(help="Pictures in a step, over all GPUs  [default: 16]")
    ),
    "parts": click.option(
        "--parts", **_positive(help="Parts of a batch that memory holds one after the other.")
    ),
    "schedule": click.option(
        "--schedule",
        type=click.Choice(["cosine", "cfg"]),
        help="A warm-up and half a cosine, or burn_in, policy, batch and max_batches of the cfg  "
        "[default: cosine]",
    ),
    "rate": click.option("--rate", type=POSITIVE, help="Highest learning rate  [default: 0.001]"),
    "precision": click.option(
        "--precision", type=click.Choice(["32", "bf16", "16"]), help="[default: 32]"
    ),
    "averaging": click.option(
        "--ema",
        "averaging",
        type=NumberType(0, 1, max_open=True),
        help="What averaged weights keep at each step; 0 for none  [default: 0.998]",
    ),
    "clip": click.option("--clip", type=NumberType(0), help="Longest gradient  [default: 10]"),
    "freeze_first": click.option(
        "--freeze", "freeze_first", type=click.IntRange(min=0), metavar="N",
        help="Leave the first N layers as they are.",
    ),
    "freeze_backbone": click.option(
        "--freeze-backbone", flag_value=True, default=None, help="Train only what heads decide on."
    ),
    "freeze_norms": click.option(
        "--freeze-norms/--train-norms", default=None,
        help="Batch norms keep their running statistics  [default: with --teacher alone]",
    ),
    "augment": click.option(
        "--no-augment", "augment", flag_value=False, default=None,
        help="Show pictures as they are, and not as the cfg says.",
    ),
    "feature_weight": click.option(
        "--feature-weight", type=NumberType(0),
        help="Of feature maps beside outputs, with --teacher  [default: 4]",
    ),
    "feature_layers": click.option(
        "--feature-layers", type=NumbersType(), metavar="N,M",
        help="Layers whose feature maps are compared  [default: the ends of blocks]",
    ),
    "rule": click.option(
        "--rule", type=click.Choice(["default", "darknet"]),
        help="True derivatives, or the C program's own deltas  [default: default]",
    ),
    "seed": click.option("--seed", type=click.IntRange(min=0), help="[default: 0]"),
    "workers": click.option(
        "--workers", type=click.IntRange(min=0), help="Processes that read pictures."
    ),
    "evaluate_every": click.option(
        "--evaluate-every",
        **_positive(metavar="ROWS", help="Rows of figures between two  [default: 20 in a run]"),
    ),
    "draw_every": click.option(
        "--draw-every", type=click.IntRange(min=0), metavar="ROWS",
        help="Rows between sheets of predictions; 0 for none  [default: 1]",
    ),
    "checkpoint_every": click.option(
        "--checkpoint-every", **_positive(metavar="STEPS", help="[default: with every row]")
    ),
}  # fmt: skip
"""Options by the field of `Recipe` that they set; what is not given keeps its default."""


def learning_options(command: Any) -> Any:
    """Add `LEARNING`."""
    for option in reversed(LEARNING.values()):
        command = option(command)
    return command


@click.command(cls=ModelCommand)
@words_argument()
@click.option(
    "--data",
    "data",
    multiple=True,
    required=True,
    type=Word(),
    metavar="D",
    help="Pictures to train on: Darknet's .data, a list, a folder, VOC, COCO's .json; for a "
    "classifier a folder with a folder for each class, or a .data file; repeatable.",
)
@click.option(
    "--valid", multiple=True, type=Word(), metavar="D", help="Labelled pictures for evaluation."
)
@click.option("--valid-split", metavar="NAME", help="Their part, such as val.")
@output_option
@click.option(
    "--teacher",
    type=ModelType(),
    metavar="MODEL",
    help="Learn from this model's outputs and feature maps; labels are not needed.",
)
@click.option("--labels", is_flag=True, help="With --teacher: use the labels too.")
@click.option(
    "--backbone",
    type=ModelType(),
    metavar="MODEL",
    help="Start with this model's layers where they fit, such as a classifier's.",
)
@click.option(
    "--overfit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Learn N pictures by heart and measure on them: a sound set-up gets all of them right.",
)
@learning_options
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "adam", "sgd", "cfg"]),
    default="adamw",
    show_default=True,
    help="cfg is Darknet's SGD or Adam, with its momentum and decay.",
)
@click.option(
    "--momentum", type=NumberType(0, 1, max_open=True), help="Of SGD; beta1 of the others."
)
@click.option("--decay", type=NumberType(0), help="Weight decay  [default: the cfg's]")
@click.option(
    "--class-weights",
    metavar="auto|A=W,...",
    help="What objects of a class count; auto lets rare classes count as much as frequent ones.",
)
@click.option("--letterbox/--stretch", default=None, help="[default: what the cfg says]")
@click.option(
    "--run", "folder", type=OutputFolder(), metavar="DIR",
    help="Folder for checkpoints, curves and pictures  [default: OUT.run]",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on from the folder's last checkpoint.")
@click.option(
    "--device", "accelerator", type=click.Choice(["auto", "cpu", "gpu"]), default="auto",
    show_default=True,
)  # fmt: skip
@click.option("--devices", **_positive(default=1, show_default=True, help="GPUs of this host."))
@click.option(
    "--compile", is_flag=True,
    help="With code that PyTorch makes for this network and machine, up to minutes for each input "
    "size: for long runs on a GPU.",
)  # fmt: skip
@click.option("--last", is_flag=True, help="Write the last weights, not those that did best.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's figures as JSON.")
@picture_options
@model_options
def finetune(words: tuple[str, ...], outputs: tuple[Output, ...], **options: Any) -> None:
    """Train a model: with labels, or from the model that it was cut from.

    MODEL may be a model, a cfg alone to train from scratch, or a cfg with the first layers of
    another (darknet53.conv.74). The result is the average of the weights over the last steps;
    with --valid, the best that was evaluated. Under torchrun all processes share the work.

    Example: darkconv finetune small.cfg small.weights --teacher big.cfg big.weights
    --data photos -o recovered.cfg recovered.weights
    """
    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    require_outputs(outputs)
    require("PIL", "torch", "lightning", "tensorboard", task="training", extra="train")
    note_run(Folder(run_folder(outputs, options)), options)
    refuse_idle(options)
    own = {name: options.pop(name) for name in READING}
    backbone, teacher_words = options.pop("backbone"), options.pop("teacher")
    given = [one for one in (model_words, backbone, teacher_words) if one]
    model = start_model(model_words, backbone, own, given)
    teacher = None
    if teacher_words:
        reading = shared_options({**own, "names": None}, teacher_words, given)
        teacher = read_model(teacher_words, **reading)
        teacher = teacher.in_memory()
    model = model.in_memory()
    release_sources()  # training takes long, and needs no more of them
    sources = Sources(
        **{name: options.pop(name) for name in ("data", "valid", "valid_split")},
        pictures=options.pop("pictures"),
    )
    overfit = options.pop("overfit")
    labelled = teacher is None or options["labels"]
    data, valid = open_sources(sources, model, overfit, labelled=labelled)
    model = named_model(model, data)
    as_json, last = options.pop("as_json"), options.pop("last")
    if valid is None:
        refuse("evaluate_every", "last", because="nothing is evaluated without --valid")
    result, rows = run(model, data, valid, teacher, overfit, outputs, options)
    if not is_first_process():
        return
    final = result.last if last else result.model
    for output in outputs:
        write_model(final, output)
        report_written(output)
    if as_json:
        echo_json({"best_epoch": result.best_epoch, "rows": rows})
    elif result.best_epoch and not last:
        echo(f"the weights are those of epoch {result.best_epoch:.3g}, the best evaluated")


def refuse_idle(options: Mapping[str, Any]) -> None:
    """Raise a usage error for options that would do nothing beside the others."""
    if not options["teacher"]:
        refuse("labels", "feature_weight", "feature_layers", because="there is no --teacher")
    elif not options["labels"]:
        refuse(
            "rule", "class_weights", "rename", because="--teacher uses labels with --labels alone"
        )
    if options["overfit"]:
        refuse("valid", "valid_split", because="--overfit measures on what is learned")
        refuse("batch", "averaging", "augment", because="--overfit says it")
    if options["steps"]:
        refuse("epochs", because="--steps counts")
    if options["schedule"] == "cfg":
        refuse("rate", because="--schedule cfg takes the cfg's")


def start_model(
    words: ModelWords,
    backbone: ModelWords | None,
    own: dict[str, Any],
    given: Sequence[ModelWords],
) -> Model:
    """Where training starts.

    Args:
        words: MODEL.
        backbone: what gives the first layers.
        own: how models are read.
        given: all models of the command.
    """
    model = read_model(words, needs_weights=False, **shared_options(own, words, given))
    if backbone is None:
        return model
    from darkconv.surgery.graft import graft

    kept = {name: own[name] for name in ("dialect", "allow_nonfinite")}
    reading = shared_options(kept, backbone, given)
    donor = read_model(backbone, **reading)
    result = graft(donor, model)
    total = len(result.taken) + len(result.fresh)
    echo(f"backbone: {len(result.taken)} of {total} layers with arrays", err=True)
    return result.model


def run(
    model: Model,
    data: "Data",
    valid: "Data | None",
    teacher: Model | None,
    overfit: int | None,
    outputs: tuple[Output, ...],
    options: dict[str, Any],
) -> "tuple[Finetuned, list[Mapping[str, float]]]":
    """Train, telling how it goes."""
    with telling_missing("training", extra="train"):
        from darkconv.finetune.machine import Machine
        from darkconv.finetune.recipe import plan_course
        from darkconv.finetune.run import finetune, show_target
    recipe = make_recipe(options, model, overfit)
    rows: list[Mapping[str, float]] = []

    def report(row: Mapping[str, float]) -> None:
        rows.append(row)
        echo(format_row(row), err=True)

    labels = options["labels"] if teacher else True
    machine = Machine(options["accelerator"], options["devices"], options["compile"])

    def tell_target() -> None:
        for line in show_target(model, data, teacher, recipe):
            echo(line, err=True)
        if machine.compile:
            echo("compiling: the first step of each input size takes longer", err=True)

    course = plan_course(recipe, model.network, samples=len(data), processes=machine.processes)
    folder = run_folder(outputs, options)
    with (
        telling_of_stop(Folder(folder), course.steps, resume=options["resume"]) as count,
        progress(course.steps, "training steps") as update,
    ):
        result = finetune(
            model,
            data,
            folder=folder,
            valid=valid,
            teacher=teacher,
            labelled=labels,
            recipe=recipe,
            machine=machine,
            resume=options["resume"],
            overwrite=may_overwrite(),
            report=report,
            progress=lambda done: update(count(done)),
            ready=tell_target,
        )
    return result, rows


def run_folder(outputs: Sequence[Output], options: Mapping[str, Any]) -> Path:
    """The folder that was asked for, else one beside the first output."""
    asked: Path | None = options["folder"]
    return asked or outputs[0].path.with_suffix(".run")


def note_run(folder: Folder, options: Mapping[str, Any]) -> None:
    """Tell of the files of the run, which must not get in another's way.

    Raises:
        DarkconvError: see `Folder.check`.
    """
    if options["folder"] is None:
        note_folder_use(folder.path)
    if is_first_process():
        folder.check(resume=options["resume"], overwrite=may_overwrite())
    for file in folder.files:
        note_output(file, makes_folder=True)


@contextlib.contextmanager
def telling_of_stop(folder: Folder, steps: int, *, resume: bool) -> Iterator[Callable[[int], int]]:
    """When the run is stopped, say what is kept and which command goes on.

    Args:
        folder: of the run.
        steps: of the whole run.
        resume: it goes on from a checkpoint.

    Yields:
        What counts the steps: it takes their number, and gives it back.
    """
    done = (folder.last_step() or 0) if resume else 0

    def count(number: int) -> int:
        nonlocal done
        done = number
        return number

    try:
        yield count
    except (KeyboardInterrupt, Ended) as end:
        if is_first_process():
            echo_lines(f"stopped at step {done} of {steps}; {kept(folder)}", err=True)
        number = end.number if isinstance(end, Ended) else signal.SIGINT
        raise SystemExit(SHELL_BASE + number) from None


def kept(folder: Folder) -> str:
    """What is left of a run that was stopped, and the command that goes on."""
    step = folder.last_step()
    if step is None:
        return "no checkpoint was written yet, so the run begins anew next time"
    command = command_line(without="--overwrite", more="--resume")
    return f"{folder.last} keeps step {step}. To go on from there:\n  {command}"


def make_recipe(options: dict[str, Any], model: Model, overfit: int | None) -> "Recipe":
    """What the options say about training."""
    from darkconv.finetune.optimizer import OptimizerChoice
    from darkconv.finetune.recipe import Recipe

    given = {name: options[name] for name in LEARNING if options[name] is not None}
    choice = OptimizerChoice(options["optimizer"], options["momentum"], options["decay"])
    weights = read_weights(options["class_weights"], model)
    recipe = Recipe(
        **given, optimizer=choice, class_weights=weights, letterbox=options["letterbox"]
    )
    return recipe.for_overfitting(overfit) if overfit else recipe


def read_weights(text: str | None, model: Model) -> tuple[float, ...] | str:
    """`person=0.5,chair=2`, by the model's classes; the others weigh 1."""
    if text in (None, "auto"):
        return text or ()
    weights = dict.fromkeys(model.names, 1.0)
    for name, value in read_pairs(str(text), "--class-weights"):
        place = find_name(model.names, name)
        if place is None:
            raise DatasetError(
                f"--class-weights: the model has no class {name}",
                expected=", ".join(model.names[:10]) or "a model with class names",
            )
        try:
            weights[model.names[place]] = float(value)
        except ValueError:
            raise DarkconvError(
                f"--class-weights: {name}", expected="a number", found=value
            ) from None
    return tuple(weights.values())


def format_row(row: Mapping[str, float]) -> str:
    """An epoch in a line."""
    parts = [f"epoch {row['epoch']:.3g}", f"step {row['step']:.0f}"]
    parts += [f"{name.replace('_', ' ')} {row[name]:.4g}" for name in SHOWN if name in row]
    parts += [f"{title} {per_cent(row[name])} %" for name, title in SHARES.items() if name in row]
    return "  ".join([*parts, f"{row['pictures_per_second']:.1f}/s"])
