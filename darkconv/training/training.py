"""Training: a Darknet module as Lightning trains it."""

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer

from darkconv.backends.torch import DarknetModule
from darkconv.errors import DarkconvError
from darkconv.training.device import Select
from darkconv.training.freezing import freeze, set_training, unneeded_layers
from darkconv.training.objective import QUALITIES, Costs, Objective
from darkconv.training.optimizer import set_rate
from darkconv.training.recipe import Course, Recipe

Batch = tuple[Tensor, Tensor]
"""Pictures (N, C, H, W) with their ground truth."""
MOST_SEED = 2**31


def remedies(recipe: Recipe, *, has_learned: bool) -> str:
    """Return advice against a loss that is NaN or infinite: the settings that often cause it.

    Args:
        recipe: recipe of the training.
        has_learned: False before the first step, when no setting has changed the weights yet.
    """
    if not has_learned:
        text = "nothing was learned yet: `darkconv weights stats` shows whether weights are damaged"
        return text if recipe.precision == "32" else f"{text}; precision 32 reaches further"
    plain = Recipe()
    pushing = ("decay", "class_weights", "feature_weight")
    own = [name for name in pushing if getattr(recipe, name) != getattr(plain, name)]
    lower = ["rate" if recipe.schedule == "cosine" else "learning_rate in the cfg", *own]
    clipping = [] if recipe.clip else ["gradient clipping"]
    return ", or ".join([f"a lower {name}" for name in lower] + clipping)


class Training(pl.LightningModule):
    """A module, its objective, and the updates of its weights.

    Attributes:
        module: the network.
        objective: loss of a batch; it is not a part of the state.
        recipe: training recipe.
        course: the recipe's numbers for this run.
        select: how the network is run.
        frozen: indices of the layers that are not trained.
        first_seen: number of pictures trained on before this run.
    """

    def __init__(
        self,
        module: DarknetModule,
        objective: Objective,
        recipe: Recipe,
        course: Course,
        *,
        frozen: frozenset[int] = frozenset(),
        select: Select = DarknetModule.select,
    ) -> None:
        super().__init__()
        module.train()  # the module gets its own copy of the weights
        self.module = module.channels_last()
        self.objective = objective
        self.recipe = recipe
        self.course = course
        self.select = select
        self.frozen = frozen | unneeded_layers(module.network, objective.layers)
        self.first_seen = module.header.seen
        self._sums: Costs = {}
        self._count = 0
        freeze(module, self.frozen)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the network's outputs."""
        outputs: tuple[Tensor, ...] = self.module(x)
        return outputs

    def train(self, mode: bool = True) -> "Training":
        """Set the mode; frozen layers stay in evaluation mode.

        Args:
            mode: True for training mode.

        Returns:
            This object.
        """
        super().train(mode)
        if mode:
            set_training(self.module, self.frozen, norms=not self.recipe.freeze_norms)
        return self

    @property
    def seen(self) -> int:
        """Number of pictures that the network was trained on, in this run and before."""
        return self.first_seen + self.global_step * self.course.batch

    def costs(self, batch: Batch, *, seen: int) -> Costs:
        """Compute the loss of a batch, in parts.

        Args:
            batch: pictures with their ground truth.
            seen: number of pictures trained on, this batch included.
        """
        x, truths = batch
        x = x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
        values = self.select(self.module, x, self.objective.layers)
        return self.objective.costs(values, x, truths, seen)

    def on_train_start(self) -> None:
        """Keep frozen layers in evaluation mode."""
        self.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate and the seed of dropout, which depend on the step alone."""
        step = self.global_step
        rate = self.course.schedule.rate(step + 1)
        set_rate(self._optimizer, rate)
        self.log("rate", rate, on_step=True)
        turn = (
            step * self.course.accumulate + batch_idx % self.course.accumulate
        ) * self.trainer.world_size
        torch.manual_seed((self.recipe.seed * 1_000_003 + turn + self.global_rank) % MOST_SEED)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean loss of the batch's pictures.

        Raises:
            DarkconvError: it is NaN or infinite.
        """
        costs = self.costs(batch, seen=self.seen + self.course.batch)
        loss = costs["loss"] / len(batch[0])
        if not bool(torch.isfinite(loss)):
            raise DarkconvError(
                f"the loss became {float(loss.detach())} at step {self.global_step + 1}",
                hint=remedies(self.recipe, has_learned=self.global_step > 0),
            )
        self._remember(costs, len(batch[0]))
        return loss

    def _remember(self, costs: Mapping[str, Tensor], pictures: int) -> None:
        for name, cost in costs.items():
            scale = 1.0 if name in QUALITIES else 1.0 / pictures
            self._sums[name] = self._sums.get(name, 0.0) + scale * cost.detach()
        self._count += 1

    def take_means(self) -> dict[str, float]:
        """Return the mean parts per picture over all processes' batches since the last call."""
        sums, count = self.shared_sums(), max(self._count, 1)
        self._sums, self._count = {}, 0
        return {name: value.item() / count for name, value in sums.items()}

    def shared_sums(self) -> Costs:
        """Return the sums that `take_means` divides, as means over all processes."""
        sums = torch.stack(list(self._sums.values()) or [torch.zeros(())])
        shared = self.trainer.strategy.reduce(sums, reduce_op="mean")
        return dict(zip(self._sums, shared.cpu(), strict=False))

    def sums_state(self) -> dict[str, Any]:
        """Return the sums over the batches since `take_means`, for a checkpoint."""
        return {"sums": self.shared_sums(), "count": self._count}

    def load_sums_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of `sums_state`.

        Args:
            state: sums and number of batches.
        """
        self._sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self._count = state["count"]

    def configure_optimizers(self) -> Optimizer:
        """Build the optimizer, see `OptimizerChoice`."""
        options = self.module.network.options
        mixed = self.recipe.precision != "32"
        return self.recipe.choice.build(self.module, options, self.course.batch, mixed=mixed)

    @property
    def _optimizer(self) -> Optimizer:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        return optimizer

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm, and log it as it was before."""
        groups = optimizer.param_groups
        moved = [p for group in groups for p in group["params"] if p.grad is not None]
        length = torch.tensor(math.nan)
        if gradient_clip_val:
            length = clip_grad_norm_(moved, gradient_clip_val)
        elif moved:
            length = get_total_norm([p.grad for p in moved if p.grad is not None])
        self.log("gradient", length, on_step=True)
