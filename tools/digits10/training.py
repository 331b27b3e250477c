"""Training of digits10: pictures made as they are needed, Adam, one cosine, averaged weights."""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import darkconv as dc
from darkconv.backends.torch import DarknetModule
from darkconv.detection.picture import Fit
from darkconv.finetune.losses.report import LossReport
from darkconv.finetune.losses.yolo import yolo_loss
from darkconv.layers.head import Yolo
from digits10.scene import COUNTS, Samples, Scene, make_scene

SEED = 20
RATE = 4e-3
DECAY = 0.02
AVERAGING = 0.998
"""Share of the old value that averaged parameters keep at each step."""
STATISTICS_BATCHES = 100
REPORT_EVERY = 100


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Picture `i` is the same at every time and in every process."""

    def __init__(self, samples: Samples, size: tuple[int, int], count: int) -> None:
        """Pictures of `size` (width, height)."""
        self.samples = samples
        self.size = size
        self.count = count

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """The network input (3, H, W) and its truths (7, 5), filled up with -1."""
        scene = make_scene(np.random.default_rng([SEED, index]), self.samples)
        truths = np.full((COUNTS[1], 5), -1, np.float32)
        truths[: len(scene.labels)] = scene.labels
        return torch.from_numpy(network_input(scene, self.size)), torch.from_numpy(truths)


def network_input(scene: Scene, size: tuple[int, int]) -> np.ndarray:
    """The picture as `dc.detect` gives it to this network: stretched."""
    height, width, _ = scene.picture.shape
    return Fit((width, height), size, letterbox=False).apply(scene.picture)


@dataclass(frozen=True)
class Schedule:
    """Learning rate over the steps: a linear rise, then half a cosine."""

    steps: int
    warm_up: int

    def factor(self, step: int) -> float:
        """Share of the highest rate."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        done = (step - self.warm_up) / (self.steps - self.warm_up)
        return 0.5 + 0.5 * math.cos(math.pi * done)


def train(model: dc.Model, samples: Samples) -> dc.Model:
    """Train a model of Darknet's initial values with the batch sizes that its cfg names."""
    torch.manual_seed(SEED)
    options = model.network.options
    schedule = Schedule(options.max_batches, options.burn_in)
    size = options.width, options.height
    pictures = Pictures(samples, size, options.batch * (schedule.steps + STATISTICS_BATCHES))
    batches = iter(DataLoader(pictures, options.batch, num_workers=2, prefetch_factor=4))
    module = dc.to_torch(model).train()
    averaged = copy.deepcopy(module)
    for step, report in enumerate(_steps(module, averaged, batches, schedule)):
        if step % REPORT_EVERY == 0 or step == schedule.steps - 1:
            _print(step, report)
    _measure_statistics(averaged, batches)
    return dc.from_torch(averaged.eval())


def _steps(
    module: DarknetModule,
    averaged: DarknetModule,
    batches: Iterator[tuple[Tensor, Tensor]],
    schedule: Schedule,
) -> Iterator[LossReport]:
    """Take all steps; gives what each one cost."""
    optimiser = torch.optim.AdamW(_groups(module), RATE, weight_decay=DECAY)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.factor)
    for step in range(schedule.steps):
        x, truths = next(batches)
        report = head_loss(module, x, truths)
        optimiser.zero_grad()
        (report.total / len(x)).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimiser.step()
        rate.step()
        _average(averaged, module, min(AVERAGING, step / (step + 10)))
        yield report


def head_loss(module: DarknetModule, x: Tensor, truths: Tensor) -> LossReport:
    """What the network's only head costs on a batch."""
    (head,) = module.network.heads
    assert isinstance(head.spec, Yolo)
    values = module.trace(x)
    size = module.network.options.width, module.network.options.height
    return yolo_loss(head.spec, values[head.sources[0]], truths, input_size=size)


def _groups(module: nn.Module) -> list[dict[str, object]]:
    """Kernels, which decay, and the rest, which does not."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def _average(averaged: nn.Module, module: nn.Module, keep: float) -> None:
    for mean, value in zip(averaged.parameters(), module.parameters(), strict=True):
        mean.lerp_(value, 1 - keep)


@torch.no_grad()
def _measure_statistics(module: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
    """Set the batch norms' running statistics to their mean over the remaining batches.

    Those of training belong to parameters that were not averaged.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for count, (x, _) in enumerate(batches, start=1):
        for norm in norms:
            norm.momentum = 1 / count
        module(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _print(step: int, report: LossReport) -> None:
    parts = {name: float(value.detach()) for name, value in vars(report).items()}
    text = "  ".join(f"{name} {value:.2f}" for name, value in parts.items())
    print(f"{time.strftime('%H:%M:%S')} step {step:5d}  {text}", flush=True)
