"""Recipe: how a model is trained; everything that is neither model nor data."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from darkconv.arguments import check_fields, fits
from darkconv.backends.torch.losses import Rule
from darkconv.core.memory import require_memory
from darkconv.core.net import NetOptions
from darkconv.core.network import Network, check_training_options
from darkconv.errors import DarkconvError, Where
from darkconv.training.optimizer import OptimizerChoice
from darkconv.training.schedule import CfgSchedule, Schedule, WarmupCosine

ScheduleName = Literal["cosine", "cfg"]
OptimizerName = Literal["adamw", "adam", "sgd", "cfg"]
Precision = Literal["32", "bf16", "16"]
BATCH = 16
EPOCHS = 50
WARM_UP_SHARE, MOST_WARM_UP = 0.05, 500
RATES = {"adamw": 1e-3, "adam": 1e-3}
"""Default of the highest learning rate; SGD has the cfg's."""
MOST_ROUNDS, MOST_EVALUATIONS = 100, 20
OVERFIT_STEPS = 300
BEYOND_FLOAT32, FLOAT32 = 2.0**128, 4

MOST_EPOCHS = 1e9

Bound = tuple[Callable[[float], bool], str]
_IS_ABOVE_0: Bound = (lambda value: value > 0, "a number above 0")
_IS_FROM_0: Bound = (lambda value: value >= 0, "0 or more")
_IS_FROM_1: Bound = (lambda value: value >= 1, "1 or more")
BOUNDS: dict[str, Bound] = {
    "epochs": (lambda value: 0 < value <= MOST_EPOCHS, "a number above 0, up to a billion"),
    "rate": _IS_ABOVE_0,
    **dict.fromkeys(
        ("steps", "batch", "accumulate", "evaluate_every", "checkpoint_every"), _IS_FROM_1
    ),
    **dict.fromkeys(
        ("freeze_first", "clip", "feature_weight", "seed", "workers", "draw_every"), _IS_FROM_0
    ),
    "averaging": (lambda value: 0 <= value < 1, "a share from 0 to below 1"),
}
"""Condition on each number of a recipe, and its description, by field."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training: everything that is neither model nor data.

    The command has the same defaults.

    Example:
        >>> import darkconv as dc
        >>> recipe = dc.Recipe(steps=300, batch=8, rate=0.003, averaging=0.98)
        >>> recipe.optimizer, recipe.seed
        ('adamw', 0)

    Attributes:
        epochs: number of epochs, which may be a fraction; by default 50. With schedule "cfg" and
            neither epochs nor steps the cfg's max_batches count.
        steps: number of weight updates, in place of epochs.
        batch: number of pictures in a step, over all processes; by default 16, with schedule "cfg"
            the cfg's.
        accumulate: number of gradient accumulation steps: each process takes its share of a step in
            so many batches, one after the other; by default 1, with schedule "cfg" the cfg's
            subdivisions.
        schedule: "cosine" is a warm-up, 5 % of the steps and at most 500, and half a cosine down to
            1 % of the rate; "cfg" is what [net] says: burn_in, policy, steps, scales.
        rate: highest learning rate; by default 0.001, with optimizer "sgd" or "cfg" the cfg's.
            With schedule "cfg" it is an error: the cfg's counts.
        optimizer: "adamw", "adam", "sgd", or "cfg": Darknet's SGD or Adam with its scaling.
        momentum: momentum of SGD, beta1 of the others, 0 to below 1; by default the cfg's.
        decay: weight decay, 0 or more; by default the cfg's.
        freeze_first: number of first layers to freeze.
        freeze_backbone: freeze the backbone, and train only the layers that belong to the heads.
        freeze_norms: batch norms keep their running statistics and use them; by default only if a
            teacher teaches without labels, which then learns far faster from a few pictures.
        averaging: decay of the exponential moving average of the weights: the share of the old
            value that is kept at each step, 0 to below 1; 0 for no average.
        clip: gradient clipping norm, over all parameters; 0 for none.
        precision: "32", "bf16" or "16": bits of the computations; weights always have 32.
        augment: augmentation: change pictures at random as the cfg says.
        multi_scale: train at several input sizes if a head says random=1.
        letterbox: keep the aspect ratio of pictures; by default what the network says.
        rule: rule of the loss: "default" has true derivatives, "darknet" the C program's own
            deltas.
        class_weights: factor of each class in the loss of its objects, 0 or more, by class name or
            in the order of the model's classes; missing names have 1. "auto" gives rare classes as
            much weight as frequent ones; by default all have 1.
        feature_weight: weight of the feature maps' distance from the teacher's, beside the heads'.
        feature_layers: indices of the layers whose maps are compared; by default the ends of
            blocks.
        seed: seed of all randomness, 0 or more.
        workers: number of processes that read pictures, 0 for none; by default one for every
            processor but one, from 2 to 8.
        evaluate_every: rows of the history between evaluations; by default so many that there are
            at most 20 evaluations in a run. A row is about an epoch.
        draw_every: rows between sheets of predictions; 0 for none.
        checkpoint_every: steps between checkpoints; by default one with every row.
    """

    epochs: float | None = None
    steps: int | None = None
    batch: int | None = None
    accumulate: int | None = None
    schedule: ScheduleName = "cosine"
    rate: float | None = None
    optimizer: OptimizerName = "adamw"
    momentum: float | None = None
    decay: float | None = None
    freeze_first: int = 0
    freeze_backbone: bool = False
    freeze_norms: bool | None = None
    averaging: float = 0.998
    clip: float = 10.0
    precision: Precision = "32"
    augment: bool = True
    multi_scale: bool = True
    letterbox: bool | None = None
    rule: Rule = "default"
    class_weights: Mapping[str, float] | Sequence[float] | Literal["auto"] = ()
    feature_weight: float = 4.0
    feature_layers: Sequence[int] | None = None
    seed: int = 0
    workers: int | None = None
    evaluate_every: int | None = None
    draw_every: int = 1
    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        """Check types, numbers and words.

        Raises:
            DarkconvError: a value is impossible, or has no effect beside the others.
        """
        check_fields(self)
        for name, value in vars(self).items():
            if isinstance(value, np.generic):  # Lightning accepts only Python's own numbers
                object.__setattr__(self, name, value.item())
        for name, (holds, expected) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and holds(value)):
                raise DarkconvError(name, expected=expected, found=value)
        if self.steps is not None and self.epochs is not None:
            raise DarkconvError("epochs would do nothing: steps counts")
        if self.schedule == "cfg" and self.rate is not None:
            raise DarkconvError("rate would do nothing: schedule cfg takes the cfg's")
        assert self.choice  # it checks the optimizer's own settings
        self._check_weights()

    def _check_weights(self) -> None:
        """Raise a DarkconvError unless the class weights are numbers that fit in float32."""
        given = self.class_weights
        if isinstance(given, str):
            return
        named = given.items() if isinstance(given, Mapping) else enumerate(given)
        for name, weight in named:
            if not (fits(weight, float) and 0 <= weight < BEYOND_FLOAT32):
                raise DarkconvError(
                    f"class_weights: {name}", expected="a number from 0", found=weight
                )

    @property
    def choice(self) -> OptimizerChoice:
        """The optimizer and its settings."""
        return OptimizerChoice(self.optimizer, self.momentum, self.decay)

    def for_overfitting(self, pictures: int) -> Self:
        """Return a recipe to learn pictures by heart: without changes, and with all in every step.

        Args:
            pictures: number of pictures.
        """
        steps = self.steps or (None if self.epochs else OVERFIT_STEPS)
        return replace(
            self, augment=False, multi_scale=False, batch=pictures, steps=steps, averaging=0.9
        )


@dataclass(frozen=True)
class Course:
    """A recipe's numbers for one network, one data set and a number of processes.

    Attributes:
        batch: number of pictures in a step.
        accumulate: number of gradient accumulation steps.
        steps: number of all steps.
        samples: number of pictures in the data set.
        round: number of steps between rows of the history: about an epoch, longer for few pictures.
        schedule: learning rate of each step.
    """

    batch: int
    accumulate: int
    steps: int
    samples: int
    round: int
    schedule: Schedule

    @property
    def rounds(self) -> int:
        """Number of all rounds; the last may be shorter."""
        return self.rows(self.steps)

    def rows(self, step: int) -> int:
        """Return the number of rows of the history after a number of steps.

        Args:
            step: number of steps done.
        """
        return -(-step // self.round)

    def ends_row(self, step: int) -> bool:
        """Return True if a row ends with a step.

        Args:
            step: number of steps done.
        """
        return step % self.round == 0 or step >= self.steps

    def epoch(self, step: int) -> float:
        """Return the number of epochs after a number of steps, a fraction.

        Args:
            step: number of steps done.
        """
        return step * self.batch / self.samples


def plan_course(recipe: Recipe, network: Network, *, samples: int, processes: int) -> Course:
    """Plan the numbers of a run.

    Args:
        recipe: recipe of the user.
        network: network whose cfg counts if the recipe's schedule is "cfg".
        samples: number of pictures in the data set.
        processes: number of processes that share a step.

    Raises:
        OptionError: the cfg has a value that training cannot use: NaN or infinity; if the schedule
            is "cfg", any that is no number.
        DarkconvError: the processes cannot share the batch, or it does not fit in memory.
    """
    check_training_options(network, obeys=recipe.schedule == "cfg")
    options = network.options
    by_cfg = recipe.schedule == "cfg" and recipe.batch is None
    batch = options.batch if by_cfg else recipe.batch or BATCH
    accumulate = recipe.accumulate or (options.subdivisions if by_cfg else 1)
    if batch % (accumulate * processes):
        raise DarkconvError(
            "pictures in a step",
            expected=f"a multiple of {accumulate * processes}: {processes} processes, each with "
            f"{accumulate} batches a step",
            found=batch,
            hint="--batch and --accumulate set them",
        )
    size = batch // (accumulate * processes) * network.input_shape.size * FLOAT32
    require_memory(size, what=f"a batch of {batch} pictures", where=Where(file=network.file))
    epoch = max(1, round(samples / batch))
    steps = recipe.steps or (max(1, round(recipe.epochs * epoch)) if recipe.epochs else 0)
    if not steps:
        by_cfg = recipe.schedule == "cfg" and options.max_batches > 0
        steps = options.max_batches if by_cfg else EPOCHS * epoch
    length = max(epoch, -(-steps // MOST_ROUNDS))
    return Course(batch, accumulate, steps, samples, length, make_schedule(recipe, options, steps))


def make_schedule(recipe: Recipe, options: NetOptions, steps: int) -> Schedule:
    """Return the learning rate of each step.

    Args:
        recipe: recipe with the schedule's name and the rate.
        options: options of [net].
        steps: number of all steps.
    """
    if recipe.schedule == "cfg":
        return CfgSchedule(options)
    warm_up = min(MOST_WARM_UP, max(1, round(WARM_UP_SHARE * steps)))
    rate = recipe.rate or RATES.get(recipe.optimizer, options.learning_rate)
    return WarmupCosine(rate, steps, warm_up)
