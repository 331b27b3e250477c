"""Recipe: how a model is trained; everything that is neither model nor data."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self, get_args

from darkconv.core.net import NetOptions
from darkconv.core.network import Network, check_training_options
from darkconv.errors import DarkconvError
from darkconv.finetune.losses import Rule
from darkconv.finetune.optimizer import OptimizerChoice
from darkconv.finetune.schedule import CfgSchedule, Schedule, WarmupCosine

SCHEDULES = ("cosine", "cfg")
PRECISIONS = ("32", "bf16", "16")
RULES = get_args(Rule)
BATCH = 16
EPOCHS = 50
WARM_UP_SHARE, MOST_WARM_UP = 0.05, 500
RATES = {"adamw": 1e-3, "adam": 1e-3}
"""Highest learning rate where neither the user nor, for SGD, the cfg says one."""
MOST_ROUNDS, MOST_EVALUATIONS = 100, 20
OVERFIT_STEPS = 300

Bound = tuple[Callable[[float], bool], str]
_IS_ABOVE_0: Bound = (lambda value: value > 0, "a number above 0")
_IS_FROM_0: Bound = (lambda value: value >= 0, "0 or more")
_IS_FROM_1: Bound = (lambda value: value >= 1, "1 or more")
BOUNDS: dict[str, Bound] = {
    **dict.fromkeys(("epochs", "rate"), _IS_ABOVE_0),
    **dict.fromkeys(("steps", "batch", "parts", "evaluate_every", "checkpoint_every"), _IS_FROM_1),
    **dict.fromkeys(
        ("freeze_first", "clip", "feature_weight", "seed", "workers", "draw_every"), _IS_FROM_0
    ),
    "averaging": (lambda value: 0 <= value < 1, "a share from 0 to below 1"),
}
"""What holds of a recipe's numbers, by field."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: how often every picture is seen; `steps` counts before it.
        steps: updates of the weights. With schedule "cfg" and neither, the cfg's max_batches.
        batch: pictures in a step, over all processes; by default 16, with schedule "cfg" the
            cfg's.
        parts: each process takes its share of a step in so many parts, one after the other; by
            default 1, with schedule "cfg" the cfg's subdivisions.
        schedule: "cosine", with a warm-up, or "cfg", what [net] says.
        rate: highest learning rate.
        optimizer: which, and its settings.
        freeze_first: so many layers are not trained.
        freeze_backbone: what the heads do not decide on is not trained.
        freeze_norms: batch norms keep their running statistics and use them; None for yes where a
            teacher alone teaches, which learns far faster from a few pictures.
        averaging: share of the old value that averaged weights keep at each step; 0 for none.
        clip: longest gradient over all parameters; 0 for any.
        precision: "32", "bf16" or "16": of what a GPU computes with.
        augment: change pictures at random as the cfg says.
        multi_scale: train at several sizes where a head says random=1.
        letterbox: how pictures are fitted; None for what the network says.
        rule: see `darkconv.finetune.losses`.
        class_weights: factors of the classes' objects; "auto" makes rare ones count as much as
            frequent ones.
        feature_weight: of feature maps beside outputs, when a teacher teaches.
        feature_layers: the layers whose maps are compared; None for the ends of blocks.
        seed: of all randomness.
        workers: processes that read pictures; None chooses.
        evaluate_every: rows of the history between evaluations; None for at most 20 in a run.
        draw_every: rows between sheets of predictions; 0 for none.
        checkpoint_every: steps between checkpoints; None for one with every row.
    """

    epochs: float | None = None
    steps: int | None = None
    batch: int | None = None
    parts: int | None = None
    schedule: str = "cosine"
    rate: float | None = None
    optimizer: OptimizerChoice = field(default_factory=lambda: OptimizerChoice("adamw"))
    freeze_first: int = 0
    freeze_backbone: bool = False
    freeze_norms: bool | None = None
    averaging: float = 0.998
    clip: float = 10.0
    precision: str = "32"
    augment: bool = True
    multi_scale: bool = True
    letterbox: bool | None = None
    rule: Rule = "default"
    class_weights: tuple[float, ...] | str = ()
    feature_weight: float = 4.0
    feature_layers: tuple[int, ...] | None = None
    seed: int = 0
    workers: int | None = None
    evaluate_every: int | None = None
    draw_every: int = 1
    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers and words.

        Raises:
            DarkconvError: one that means nothing.
        """
        for name, known in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("rule", RULES)):
            if getattr(self, name) not in known:
                raise DarkconvError(name, expected=", ".join(known), found=getattr(self, name))
        for name, (holds, expected) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and holds(value)):
                raise DarkconvError(name, expected=expected, found=value)

    def for_overfitting(self, pictures: int) -> Self:
        """To learn so many pictures by heart: nothing changes them, every step sees them all."""
        steps = self.steps or (None if self.epochs else OVERFIT_STEPS)
        return replace(
            self, augment=False, multi_scale=False, batch=pictures, steps=steps, averaging=0.9
        )


@dataclass(frozen=True)
class Course:
    """A recipe's numbers for one network, one data set and so many processes.

    Attributes:
        batch: pictures in a step.
        parts: batches that a process makes of its share.
        steps: in all.
        samples: pictures of the data set.
        round: steps between rows of the history: about an epoch, longer for few pictures.
        schedule: learning rate of each step.
    """

    batch: int
    parts: int
    steps: int
    samples: int
    round: int
    schedule: Schedule

    @property
    def rounds(self) -> int:
        """In all; the last may be shorter."""
        return self.rows(self.steps)

    def rows(self, step: int) -> int:
        """Return how many rows of the history there are after so many steps."""
        return -(-step // self.round)

    def ends_row(self, step: int) -> bool:
        """Return True if a row ends with this step."""
        return step % self.round == 0 or step >= self.steps

    def epoch(self, step: int) -> float:
        """How often each picture has been seen after so many steps."""
        return step * self.batch / self.samples


def plan_course(recipe: Recipe, network: Network, *, samples: int, processes: int) -> Course:
    """Work the numbers out.

    Args:
        recipe: what the user wishes.
        network: whose cfg counts where the recipe's schedule is "cfg".
        samples: pictures of the data set.
        processes: that share a step.

    Raises:
        OptionError: the cfg has a value that training cannot use: NaN or infinity; where the
            schedule is "cfg", any that does not say a number.
        DarkconvError: a batch that the processes cannot share.
    """
    check_training_options(network, obeys=recipe.schedule == "cfg")
    options = network.options
    by_cfg = recipe.schedule == "cfg" and recipe.batch is None
    batch = options.batch if by_cfg else recipe.batch or BATCH
    parts = recipe.parts or (options.subdivisions if by_cfg else 1)
    if batch % (parts * processes):
        raise DarkconvError(
            "pictures in a step",
            expected=f"a multiple of {parts * processes}: {processes} processes, {parts} parts",
            found=batch,
            hint="set the batch, or the parts",
        )
    epoch = max(1, round(samples / batch))
    steps = recipe.steps or round((recipe.epochs or 0) * epoch)
    if not steps:
        by_cfg = recipe.schedule == "cfg" and options.max_batches > 0
        steps = options.max_batches if by_cfg else EPOCHS * epoch
    length = max(epoch, -(-steps // MOST_ROUNDS))
    return Course(batch, parts, steps, samples, length, _schedule(recipe, options, steps))


def _schedule(recipe: Recipe, options: NetOptions, steps: int) -> Schedule:
    if recipe.schedule == "cfg":
        return CfgSchedule(options)
    warm_up = min(MOST_WARM_UP, max(1, round(WARM_UP_SHARE * steps)))
    rate = recipe.rate or RATES.get(recipe.optimizer.name, options.learning_rate)
    return WarmupCosine(rate, steps, warm_up)
