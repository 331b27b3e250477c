"""Learning rates over the steps of training: the cfg's own policies, and a cosine.

A step is what Darknet calls a batch: one update of the weights. The first step is 1, as in C, which
counts a batch's pictures before it computes the rate.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from darkconv.core.net import NetOptions

RANDOM_SEED = 0


class Schedule(Protocol):
    """A learning rate for every step."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: the step, from 1.
        """


@dataclass(frozen=True)
class CfgSchedule:
    """The schedule of [net]: burn_in, then policy (get_current_rate in network.c of both dialects).

    A burn-in rises as (step / burn_in) ^ power. Policy `random` draws a new rate at every step,
    here from a generator of its own for each, so that a resumed run draws the same.

    Attributes:
        options: options of [net].
    """

    options: NetOptions

    def rate(self, step: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: the step, from 1.
        """
        options = self.options
        if step < options.burn_in:
            return options.learning_rate * float((step / options.burn_in) ** options.power)
        return float(_POLICIES[options.policy](options, step))


def _constant(options: NetOptions, _: int) -> float:
    return options.learning_rate


def _step(options: NetOptions, step: int) -> float:
    return options.learning_rate * float(options.scale ** (step // max(options.step, 1)))


def _steps(options: NetOptions, step: int) -> float:
    rate = options.learning_rate
    for start, scale in zip(options.steps, options.scales, strict=False):
        if start > step:
            break
        rate *= scale
    return rate


def _exp(options: NetOptions, step: int) -> float:
    return options.learning_rate * float(options.gamma**step)


def _poly(options: NetOptions, step: int) -> float:
    left = max(0.0, 1 - step / max(options.max_batches, 1))
    return options.learning_rate * float(left**options.power)


def _random(options: NetOptions, step: int) -> float:
    drawn = np.random.default_rng([RANDOM_SEED, step]).random()
    return options.learning_rate * float(drawn**options.power)


def _sigmoid(options: NetOptions, step: int) -> float:
    exponent = min(options.gamma * (step - options.step), 700.0)
    return options.learning_rate / (1 + math.exp(exponent))


def _sgdr(options: NetOptions, step: int) -> float:
    """Return cosine cycles with restarts, each `sgdr_mult` times as long as the last."""
    start, length = 0, max(options.sgdr_cycle, 1)
    while start + length < step:
        start += length
        length *= max(options.sgdr_mult, 1)
    lowest = options.learning_rate_min
    swing = (options.learning_rate - lowest) / 2
    return lowest + swing * (1 + math.cos(math.pi * (step - start) / length))


_POLICIES = {
    "constant": _constant,
    "step": _step,
    "steps": _steps,
    "exp": _exp,
    "poly": _poly,
    "random": _random,
    "sigmoid": _sigmoid,
    "sgdr": _sgdr,
}


@dataclass(frozen=True)
class WarmupCosine:
    """A linear rise of the learning rate, followed by half a cosine.

    Attributes:
        peak: highest learning rate.
        steps: number of all steps.
        warm_up: number of steps of the rise.
        lowest: learning rate of the last step, as a share of `peak`.
    """

    peak: float
    steps: int
    warm_up: int
    lowest: float = 0.01

    def rate(self, step: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: the step, from 1.
        """
        if step <= self.warm_up:
            return self.peak * step / max(self.warm_up, 1)
        done = min(1.0, (step - self.warm_up) / max(self.steps - self.warm_up, 1))
        return self.peak * (self.lowest + (1 - self.lowest) * (1 + math.cos(math.pi * done)) / 2)
