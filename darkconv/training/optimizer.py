"""Optimizers: Darknet's with its scaling, and those of PyTorch.

Darknet sums deltas over the B pictures of a step and divides by B in the update: `acc = momentum *
acc + sum - decay * B * w; w += rate / B * acc`. That is torch's SGD on the mean over the pictures,
with the same decay and momentum (golden/loss/README.md). Only kernels have weight decay, biases and
scales do not. Adam in C takes the sums themselves, which matters to its epsilon alone: on the mean
it is eps / B.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from darkconv.backends.torch import DarknetModule
from darkconv.core.net import NetOptions
from darkconv.errors import DarkconvError

OPTIMIZERS = ("cfg", "sgd", "adam", "adamw")
SCALE = "darknet_scale"
"""Key of a parameter group's factor of the learning rate: the layer's own `learning_rate`."""


@dataclass(frozen=True)
class OptimizerChoice:
    """An optimizer with its settings.

    Attributes:
        name: one of `OPTIMIZERS`; "cfg" is SGD or Adam, as [net] says.
        momentum: momentum of SGD, beta1 of the others, 0 to below 1; None for the cfg's.
        decay: weight decay, 0 or more; None for the cfg's.
    """

    name: str = "cfg"
    momentum: float | None = None
    decay: float | None = None

    def __post_init__(self) -> None:
        """Check the name and the numbers.

        Raises:
            DarkconvError: the optimizer is unknown, or a number is out of its range.
        """
        if self.name not in OPTIMIZERS:
            raise DarkconvError("optimizer", expected=", ".join(OPTIMIZERS), found=self.name)
        if self.momentum is not None and not 0 <= self.momentum < 1:
            raise DarkconvError("momentum", expected="0 to below 1", found=self.momentum)
        if self.decay is not None and not 0 <= self.decay < math.inf:
            raise DarkconvError("decay", expected="0 or more", found=self.decay)

    def build(
        self, module: DarknetModule, options: NetOptions, batch: int, *, mixed: bool = False
    ) -> Optimizer:
        """Build the optimizer of a module's trained parameters; its rate is set at each step.

        On the CPU one kernel does all operations for a parameter. GPUs use PyTorch's default, which
        is as fast there.

        Args:
            module: module whose parameters are trained, except those that need no gradient.
            options: options of [net].
            batch: number of pictures in a step.
            mixed: mixed precision is used, with which Lightning cannot clip gradients of such
                kernels.

        Raises:
            DarkconvError: nothing is left to train, or the optimizer does not accept its settings.
        """
        try:
            return self._built(module, options, batch, mixed=mixed)
        except ValueError as error:
            raise DarkconvError(
                f"optimizer {self.name}: {error}", hint="the recipe's settings, or those of [net]"
            ) from None

    def _built(
        self, module: DarknetModule, options: NetOptions, batch: int, *, mixed: bool
    ) -> Optimizer:
        decay = options.decay if self.decay is None else self.decay
        groups = list(parameter_groups(module, decay))
        if not groups:
            raise DarkconvError("every layer is frozen, so there is nothing to train")
        name = self.name
        if name == "cfg":
            name = "adam" if options.adam else "sgd"
        momentum = options.momentum if self.momentum is None else self.momentum
        is_on_cpu = all(parameter.device.type == "cpu" for parameter in module.parameters())
        fused = True if is_on_cpu and not mixed else None
        if name == "sgd":
            return torch.optim.SGD(groups, lr=0.0, momentum=momentum, fused=fused)
        if self.name == "cfg":
            beta1 = options.B1 if self.momentum is None else self.momentum
            betas, epsilon = (beta1, options.B2), options.eps / batch
            return torch.optim.Adam(groups, lr=0.0, betas=betas, eps=epsilon, fused=fused)
        kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
        return kind(groups, lr=0.0, betas=(momentum, 0.999), fused=fused)


def parameter_groups(module: DarknetModule, decay: float) -> Iterator[dict[str, object]]:
    """Collect the trained parameters in groups, by rate factor and weight decay.

    Args:
        module: module whose parameters are trained; parameters of several layers come once.
        decay: weight decay of kernels; other parameters have none.

    Yields:
        Groups as a PyTorch optimizer takes them, with the factor under `SCALE`.
    """
    seen: set[int] = set()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for layer, part in zip(module.network.layers, module.layers, strict=True):
        for parameter in _trained(part.parameters(), seen):
            key = layer.spec.learning_rate, parameter.ndim > 1
            groups.setdefault(key, []).append(parameter)
    for (scale, is_kernel), parameters in groups.items():
        yield {"params": parameters, "weight_decay": decay if is_kernel else 0.0, SCALE: scale}


def _trained(parameters: Iterable[nn.Parameter], seen: set[int]) -> Iterator[nn.Parameter]:
    """Yield parameters that are trained; one that two layers share comes once."""
    for parameter in parameters:
        if parameter.requires_grad and id(parameter) not in seen:
            seen.add(id(parameter))
            yield parameter


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of the next step in every group.

    Args:
        optimizer: optimizer with the groups of `parameter_groups`.
        rate: learning rate, which is multiplied by each group's factor.
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group[SCALE]
