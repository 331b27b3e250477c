"""`darkconv finetune`: train a model on pictures, with labels or from a teacher."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.console.files import OutputFolder
from darkconv.console.given import refuse
from darkconv.console.options import titled, with_options
from darkconv.console.printing import echo, echo_json, echo_lines
from darkconv.console.progress import progress
from darkconv.console.renamed import option
from darkconv.console.values import DeviceType, NumberType, numbers, read_pairs
from darkconv.core.model import Model
from darkconv.core.processes import is_first_process
from darkconv.errors import DarkconvError
from darkconv.files.outputs import may_overwrite, note_folder_use, note_output
from darkconv.files.signals import SHELL_BASE, Ended
from darkconv.files.sources import release_sources
from darkconv.libraries import require, telling_missing
from darkconv.options.command import ModelCommand, command_line
from darkconv.options.models import (
    read_model,
    require_outputs,
    shared_options,
    write_models,
)
from darkconv.options.params import (
    READING_NAMES,
    ModelType,
    ModelWords,
    OutputFiles,
    Word,
    model_options,
    only_model,
    output_option,
    words_argument,
)
from darkconv.options.pictures import PictureOptions, picture_options
from darkconv.training.progress_line import figures_as_text, row_as_text
from darkconv.training.run_folder import Folder

if TYPE_CHECKING:
    from darkconv.training.recipe import Recipe
    from darkconv.training.run import PreparedRun

Option = Callable[[Any], Any]


FROM_0, FROM_1 = click.IntRange(min=0), click.IntRange(min=1)
POSITIVE, SHARE = NumberType(0, min_open=True), NumberType(0, 1, max_open=True)

TEACHER = titled(
    "Teacher and first weights",
    click.option("--teacher", type=ModelType(), metavar="MODEL", help="Model whose outputs and "
                 "feature maps are to be learned; labels are not needed."),
    click.option("--labels", is_flag=True, help="With --teacher: use the labels too."),
    click.option("--feature-weight", type=NumberType(0),
                 help="Weight of the loss of the feature maps in the whole loss  [default: 4]"),
    click.option("--feature-layers", type=numbers, metavar="N,M", help="Indices of the layers "
                 "whose feature maps are compared  [default: the ends of blocks]"),
    click.option("--backbone", type=ModelType(), metavar="MODEL", help="Model, such as a "
                 "classifier, whose layers are taken at the start where they fit."),
)  # fmt: skip
LENGTH = titled(
    "Length and batches",
    click.option("--epochs", type=POSITIVE, metavar="N",
                 help="How often each picture is seen  [default: 50]"),
    click.option("--steps", type=FROM_1, help="Number of updates of the weights, "
                 "in place of --epochs."),
    click.option("--batch", type=FROM_1, help="Pictures in a step, on all GPUs "
                 "together  [default: 16]"),
    option("--accumulate", was="--parts", type=FROM_1, help="Gradient "
                 "accumulation: number of batches whose gradients are added up for one step."),
    click.option("--overfit", type=FROM_1, metavar="N", help="Test of the set-up: train on N "
                 "pictures alone and measure on the same. The model should find everything in "
                 "them."),
    click.option("--seed", type=FROM_0, help="Seed of all random choices  [default: 0]"),
)  # fmt: skip
OPTIMIZER = titled(
    "Optimizer",
    click.option("--optimizer", type=click.Choice(["adamw", "adam", "sgd", "cfg"]), help="cfg is "
                 "Darknet's SGD or Adam, with its momentum and decay  [default: adamw]"),
    option("--lr", "rate", was="--rate", type=POSITIVE,
                 help="Highest learning rate  [default: 0.001]"),
    click.option("--schedule", type=click.Choice(["cosine", "cfg"]), help="A warm-up and half a "
                 "cosine; or what burn_in, policy, batch and max_batches of the cfg say  "
                 "[default: cosine]"),
    click.option("--momentum", type=SHARE, help="Momentum of SGD; beta1 of Adam and AdamW."),
    option("--weight-decay", "decay", was="--decay", type=NumberType(0),
                 help="Weight decay of the optimizer  [default: the cfg's]"),
    click.option("--clip", type=NumberType(0),
                 help="Gradient clipping: largest norm of the gradients; 0 for no limit  "
                 "[default: 10]"),
    click.option("--ema", "averaging", type=SHARE, help="Share of its value that the exponential "
                 "moving average of the weights keeps at each step; 0 for no average  [default: "
                 "0.998]"),
    click.option("--rule", type=click.Choice(["default", "darknet"]), help="Gradients of the "
                 "loss: true derivatives, or the C program's own deltas  [default: default]"),
    click.option("--class-weights", metavar="auto|A=W,...", help="Weights of the classes in the "
                 "loss; with auto, rare classes count as much as frequent ones."),
)  # fmt: skip
TRAINED = titled(
    "What is trained",
    click.option("--freeze", "freeze_first", type=FROM_0, metavar="N",
                 help="Leave the first N layers as they are."),
    click.option("--freeze-backbone", flag_value=True, default=None,
                 help="Leave the backbone as it is: train only the layers behind it."),
    click.option("--freeze-norms/--train-norms", default=None, help="Keep the running "
                 "statistics of batch normalization  [default: with --teacher alone]"),
)  # fmt: skip
BATCHES = titled(
    "Pictures of a batch",
    click.option("--no-augment", "augment", flag_value=False, default=None,
                 help="Train on the pictures as they are, without the changes that the cfg asks "
                 "for."),
    click.option("--letterbox/--stretch", default=None,
                 help="Keep the proportions of pictures, or stretch them  [default: what the cfg "
                 "says]"),
    click.option("--workers", type=FROM_0,
                 help="Number of processes that read pictures  [default: by the processors]"),
)  # fmt: skip
FIGURES = titled(
    "Figures and checkpoints",
    click.option("--evaluate-every", type=FROM_1, metavar="ROWS",
                 help="Evaluate on --valid each time that this many rows of figures are printed  "
                 "[default: 20 times]"),
    click.option("--draw-every", type=FROM_0, metavar="ROWS",
                 help="Draw predictions each time that this many rows of figures are printed; 0 "
                 "for never  [default: 1]"),
    click.option("--checkpoint-every", type=FROM_1, metavar="STEPS",
                 help="Write a checkpoint each time that this many steps are done  [default: with "
                 "every row of figures]"),
)  # fmt: skip
DEVICES = titled(
    "Devices",
    click.option("--device", type=DeviceType("gpu"), default="auto", show_default=True,
                 metavar="cpu|cuda|cuda:N", help="Where to train; auto is the GPU if there is "
                 "one, else the CPU; gpu means the same as cuda."),
    click.option("--devices", type=FROM_1, default=1, show_default=True,
                 help="Number of GPUs of this machine, or of processes on the CPU; torchrun "
                 "decides about it by itself."),
    click.option("--precision", type=click.Choice(["32", "bf16", "16"]),
                 help="Numbers to compute with: float32, bfloat16 or float16  [default: 32]"),
    click.option("--compile", is_flag=True, help="Compile the network with PyTorch first. That "
                 "takes up to minutes for each input size, and pays in long runs on a GPU."),
)  # fmt: skip
OPTIONS: tuple[Option, ...] = (
    click.option("--data", multiple=True, required=True, type=Word(), metavar="D",
                 help="Pictures to train on: Darknet's .data, a list, a folder, VOC, COCO's .json; "
                 "for a classifier a folder with a folder for each class, or a .data file; "
                 "repeatable."),
    click.option("--valid", multiple=True, type=Word(), metavar="D",
                 help="Labelled pictures to evaluate the model on as it trains."),
    click.option("--valid-split", metavar="NAME", help="Split of --valid to use, such as val."),
    output_option,
    click.option("--run", "folder", type=OutputFolder(), metavar="DIR", help="Folder for "
                 "checkpoints, curves and pictures  [default: OUT.run]"),
    click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder of "
                 "--run."),
    click.option("--last", is_flag=True, help="Write the last weights, not those that did best "
                 "on --valid."),
    click.option("--json", "as_json", is_flag=True, help="Print the run's figures as JSON."),
    TEACHER,
    LENGTH,
    OPTIMIZER,
    TRAINED,
    BATCHES,
    FIGURES,
    DEVICES,
    picture_options,
    model_options,
)  # fmt: skip
"""All options, as the help lists them."""


@click.command(cls=ModelCommand)
@words_argument()
@with_options(*OPTIONS)
def finetune(
    words: tuple[str, ...],
    outputs: tuple[OutputFiles, ...],
    data: tuple[str, ...],
    valid: tuple[str, ...],
    valid_split: str | None,
    teacher: ModelWords | None,
    labels: bool,
    backbone: ModelWords | None,
    overfit: int | None,
    folder: Path | None,
    resume: bool,
    device: str,
    devices: int,
    compile: bool,
    last: bool,
    as_json: bool,
    pictures: PictureOptions,
    **options: Any,
) -> None:
    """Train a model on labelled pictures, or on any pictures with another model as its teacher.

    MODEL may be a cfg and its weights, a cfg alone to train from scratch, or a cfg and a file with
    the first layers of another model (darknet53.conv.74). The result is the average of the weights
    over the last steps (--ema); with --valid, the average that did best there. Under torchrun all
    processes share the work.

    Example: darkconv finetune small.cfg small.weights --teacher big.cfg big.weights
    --data photos -o recovered.cfg recovered.weights
    """
    model_words = only_model(words)
    require_outputs(outputs)
    require("PIL", "torch", "lightning", "tensorboard", task="training", extra="train")
    place = Folder(folder or outputs[0].path.with_suffix(".run"))
    note_run(place, is_given=folder is not None, resume=resume)
    refuse_idle(teacher, labels=labels, overfit=overfit, **options)
    reading = {name: options[name] for name in READING_NAMES}
    given = [one for one in (model_words, backbone, teacher) if one]
    model = start_model(model_words, backbone, reading, given)
    whole = None
    if teacher:
        shared = shared_options({**reading, "names": None}, teacher, given)
        whole = read_model(teacher, **shared).in_memory()
    model = model.in_memory()
    release_sources()  # training takes long, and does not read these files again
    with telling_missing("training", extra="train"):
        from darkconv.training.run import finetune as train
        from darkconv.training.sources import open_pictures
    opened = open_pictures(
        model,
        data,
        valid or None,
        labels=whole is None or labels,
        overfit=overfit,
        selection=pictures.selection(),
        valid_split=valid_split,
    )
    if opened.valid is None:
        refuse("evaluate_every", "last", because="nothing is evaluated without --valid")
    if opened.splits and is_first_process():
        echo(
            f"training on split {opened.splits[0]} ({len(opened.training)} pictures), evaluating "
            f"on {opened.splits[1]} ({len(opened.valid or ())} pictures)",
            err=True,
        )
    with Telling(place, resume=resume).of_stop() as telling:
        result = train(
            opened.model,
            opened.training,
            whole,
            make_recipe(options),
            None if overfit else opened.valid,
            "cuda" if device == "gpu" else device,
            labels=labels,
            overfit=overfit,
            folder=place.path,
            resume=resume,
            overwrite=may_overwrite(),
            devices=devices,
            compile=compile,
            report=lambda row: echo(row_as_text(row), err=True),
            progress=telling.count,
            ready=telling.begin,
        )
    if not is_first_process():
        return
    write_models(result.last if last else result.model, outputs)
    if as_json:
        echo_json(result.to_dict())
    elif result.best_epoch and not last:
        echo(f"the weights are those of epoch {result.best_epoch:.3g}, the best evaluated")


def refuse_idle(
    teacher: ModelWords | None, *, labels: bool, overfit: int | None, **options: Any
) -> None:
    """Raise a usage error for options that would do nothing beside the others.

    Args:
        teacher: value of --teacher; None if it is not given.
        labels: True if --labels is given.
        overfit: value of --overfit; None if it is not given.
        options: values of the recipe's options by name; None for those that are not given.

    Raises:
        UsageError: an option is given that would do nothing.
    """
    if not teacher:
        refuse("labels", "feature_weight", "feature_layers", because="there is no --teacher")
    elif not labels:
        refuse(
            "rule", "class_weights", "rename", because="--teacher uses labels with --labels alone"
        )
    if overfit:
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
    """Return the model that training starts from.

    Args:
        words: MODEL.
        backbone: model that gives the first layers; None for none.
        own: options of reading models.
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


def note_run(folder: Folder, *, is_given: bool, resume: bool) -> None:
    """Register the files of the run, and check that none is in the way.

    Args:
        folder: folder of the run.
        is_given: True if the user has named the folder.
        resume: True if a run goes on.

    Raises:
        DarkconvError: see `Folder.check`.
    """
    if not is_given:
        note_folder_use(folder.path)
    if is_first_process():
        folder.check(resume=resume, overwrite=may_overwrite())
    for file in folder.files:
        note_output(file, makes_folder=True)


class Telling:
    """Messages on a run: its start, its progress, and what is left when it is stopped."""

    def __init__(self, folder: Folder, *, resume: bool) -> None:
        self.folder = folder
        self.steps: int | None = None
        self.done = (folder.last_step() or 0) if resume else 0
        self._update: Callable[[int], None] = lambda done: None
        self._stack = contextlib.ExitStack()

    def begin(self, start: "PreparedRun") -> None:
        """Print the costs of the model before training.

        Args:
            start: what is known before the first step.
        """
        self.steps = start.steps
        for word, costs in start.costs() if is_first_process() else ():
            known = {name: value for name, value in costs.items() if value}
            echo(f"before training, {word}: {figures_as_text(known)}", err=True)
        if start.machine.compile:
            echo("compiling: the first step of each input size takes longer", err=True)
        self._update = self._stack.enter_context(progress(start.steps, "training steps"))

    def count(self, done: int) -> None:
        """Show the number of steps that are done.

        Args:
            done: number of steps.
        """
        self.done = done
        self._update(done)

    @contextlib.contextmanager
    def of_stop(self) -> "Iterator[Telling]":
        """Say what is kept when the run is stopped, and which command resumes it.

        Yields:
            Itself.

        Raises:
            SystemExit: the user or the system stopped the run; the status is 128 plus the signal's
                number.
        """
        try:
            with self._stack:
                yield self
        except (KeyboardInterrupt, Ended) as end:
            if is_first_process():
                at = "before the first step" if self.steps is None else f"at step {self.done}"
                of = "" if self.steps is None else f" of {self.steps}"
                echo_lines(f"stopped {at}{of}; {kept(self.folder)}", err=True)
            number = end.number if isinstance(end, Ended) else signal.SIGINT
            raise SystemExit(SHELL_BASE + number) from None


def kept(folder: Folder) -> str:
    """Return the text on what a stopped run leaves, and on the command that resumes it.

    Args:
        folder: folder of the run.
    """
    step = folder.last_step()
    if step is None:
        return "no checkpoint was written yet, so the run begins anew next time"
    command = command_line(without="--overwrite", more="--resume")
    return f"{folder.last} keeps step {step}. To go on from there:\n  {command}"


def make_recipe(options: Mapping[str, Any]) -> "Recipe":
    """Make the recipe that the options describe.

    Args:
        options: values of the options by name; None for those that are not given.
    """
    from darkconv.training.recipe import Recipe

    given = {
        name: value
        for name, value in options.items()
        if value is not None and name not in READING_NAMES
    }
    if given.get("class_weights", "auto") != "auto":
        given["class_weights"] = read_weights(given["class_weights"])
    return Recipe(**given)


def read_weights(text: str) -> dict[str, float]:
    """Read the weight of each class from a text such as `person=0.5,chair=2`.

    Args:
        text: names and weights.

    Raises:
        DarkconvError: a weight is not a number.
    """
    weights = {}
    for name, value in read_pairs(text, "--class-weights").items():
        try:
            weights[name] = float(value)
        except ValueError:
            raise DarkconvError(
                f"--class-weights: {name}", expected="a number", found=value
            ) from None
    return weights
