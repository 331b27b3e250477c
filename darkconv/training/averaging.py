"""The moving average of weights that training keeps, and that becomes the result."""

from copy import deepcopy
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from darkconv.backends.torch import DarknetModule
from darkconv.training.training import Training


def _state(module: nn.Module) -> list[Tensor]:
    """What training changes, in place."""
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]


KEY = "Averaging"
"""Under which a checkpoint's callbacks hold the average."""


class Averaging(pl.Callback):
    """Exponential moving average of weights and running statistics, young ones moving faster.

    The share of the old value rises as n / (n + 10) to `keep`, so that the average does not
    remember the start (as TensorFlow's ExponentialMovingAverage with num_updates). Of a small
    network it takes longer to gather all tensors than to average them, so they are gathered once.
    """

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.count = 0
        self._module: DarknetModule | None = None
        self._step = 0
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None

    @property
    def state_key(self) -> str:
        """See `KEY`."""
        return KEY

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the module that holds the average."""
        assert isinstance(pl_module, Training)
        self._module = deepcopy(pl_module.module)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the module to its device."""
        assert self._module is not None
        self._module.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object
    ) -> None:
        """Update the average, once for each step; the values of the first are taken over."""
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
        """The averaged module; the module itself before the first step."""
        return self._module if self._module is not None and self.count else training.module

    def state_dict(self) -> dict[str, Any]:
        """Return the average, for a checkpoint."""
        assert self._module is not None
        return {"step": self._step, "count": self.count, "average": self._module.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        assert self._module is not None
        self._step, self.count = state_dict["step"], state_dict["count"]
        self._module.load_state_dict(state_dict["average"])
