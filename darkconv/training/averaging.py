"""The exponential moving average of weights, which becomes the result of training."""

from copy import deepcopy
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from darkconv.backends.torch import DarknetModule
from darkconv.training.training import Training


def _state(module: nn.Module) -> list[Tensor]:
    """Return the tensors that training changes in place."""
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


KEY = "Averaging"
"""Key of the average among the callbacks of a checkpoint."""


class Averaging(pl.Callback):
    """Exponential moving average of weights and running statistics, with a rising decay.

    The decay, the share of the old value that is kept, rises as n / (n + 10) to `keep`, so that the
    average does not depend on the start (as TensorFlow's ExponentialMovingAverage with
    num_updates). For a small network it takes longer to collect all tensors than to average them,
    so they are collected once.
    """

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.count = 0
        self._module: DarknetModule | None = None
        self._step = 0
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint, see `KEY`."""
        return KEY

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the module to hold the average."""
        assert isinstance(pl_module, Training)
        self._module = deepcopy(pl_module.module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the average to the module's device."""
        assert self._module is not None
        self._module.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object
    ) -> None:
        """Update the average once for each step; the first step's values are copied."""
        if trainer.global_step <= self._step:
            return
        self._step = trainer.global_step
        assert isinstance(pl_module, Training)
        assert self._module is not None
        if self._pairs is None:
            self._pairs = _state(self._module), _state(pl_module.module)
        means, values = self._pairs
        if self.count:
            share = min(self.keep, self.count / (self.count + 10))
            average = get_ema_multi_avg_fn(share)  # type: ignore[no-untyped-call]
            average(means, values, self.count)
        else:
            for mean, value in zip(means, values, strict=True):
                mean.copy_(value)
        self.count += 1

    def module_of(self, training: Training) -> DarknetModule:
        """Return the averaged module; before the first step, the module in training itself.

        Args:
            training: training whose module is averaged.
        """
        return self._module if self._module is not None and self.count else training.module

    def state_dict(self) -> dict[str, Any]:
        """Return the average, for a checkpoint."""
        assert self._module is not None
        return {"step": self._step, "count": self.count, "average": self._module.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        assert self._module is not None
        self._step, self.count = state_dict["step"], state_dict["count"]
        self._module.load_state_dict(state_dict["average"])
