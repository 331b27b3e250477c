"""Training at several input sizes, as `random=` of a head asks for."""

import functools
import logging
from collections.abc import Callable, Iterator

import numpy as np

from darkconv.augmentation.sampler import no_size
from darkconv.core.dialect import PJREDDIE
from darkconv.core.network import Network
from darkconv.dataset.label import Size
from darkconv.errors import DarkconvError

logger = logging.getLogger("darkconv")

STEPS = 10
"""Number of steps with one size."""
FACTOR = 1.4
"""AlexeyAB's largest factor and divisor of the input size if `random` is 1."""
DRAWS = 64
"""Number of factors, evenly spread, and of divisors; each size is as frequent as among them."""
ORIGINAL = np.arange(10, 20) / 13
"""Factors of the original program: they give 320, 352 ... 608 for networks of 416."""
STRIDE = 32
"""The original program's sizes are multiples of it."""
STREAM = 0x5157
"""Number that separates the draws of sizes from other draws with the same seed."""


def size_schedule(network: Network, seed: int) -> Callable[[int], Size | None]:
    """Build a function that gives the input size of every step; it depends on the seed alone.

    Only sizes are used at which the network's layers fit together, and at which every head has its
    usual scale. C ends its training with the largest size; this does not.

    Args:
        network: network that is trained.
        seed: seed of the sizes.

    Returns:
        A function from the step, from 0, to (width, height); to None, the usual size, if no head
        asks for several sizes or the network takes no other.
    """
    sizes = possible_sizes(network)
    return functools.partial(_size_at, sizes, seed) if len(set(sizes)) > 1 else no_size


def _size_at(sizes: tuple[Size, ...], seed: int, step: int) -> Size:
    rng = np.random.default_rng([seed, step // STEPS, STREAM])
    return sizes[rng.integers(len(sizes))]


def possible_sizes(network: Network) -> tuple[Size, ...]:
    """Return the input sizes to draw from, frequent ones several times.

    Args:
        network: network that is trained.

    Returns:
        Sizes (width, height); none if the cfg asks for none.
    """
    heads = [layer.spec for layer in network.box_heads]
    random = float(getattr(heads[-1], "random", 0.0)) if heads else 0.0
    if not random:
        return ()
    is_original = network.dialect == PJREDDIE
    wanted = _original_sizes(network) if is_original else _sizes(network, random)
    fits = functools.cache(lambda size: takes_size(network, size))
    sizes = tuple(size for size in wanted if fits(size))
    if len(set(sizes)) < 2:
        logger.warning(
            "%s: random=%g, but the network takes its own input size only", network.file, random
        )
    return sizes


def _original_sizes(network: Network) -> Iterator[Size]:
    """Yield the original program's sizes, relative to the network's own."""
    options = network.options
    for factor in ORIGINAL:
        width, height = (
            max(STRIDE, round(factor * side / STRIDE) * STRIDE)
            for side in (options.width, options.height)
        )
        yield width, height


def _sizes(network: Network, random: float) -> Iterator[Size]:
    """Yield AlexeyAB's sizes: the own size times or divided by up to a factor, plus a step."""
    limit = FACTOR if random == 1 else random
    own = (network.options.width, network.options.height)
    step = max(network.options.resize_step, 1)
    for scale in np.linspace(1, limit, DRAWS):
        for factor in (float(scale), 1 / float(scale)):
            width, height = (max(step, int(factor * side / step + 1.5) * step) for side in own)
            grows = width > own[0] or height > own[1]
            yield own if factor < 1 and grows else (width, height)


def takes_size(network: Network, size: Size) -> bool:
    """Return True if a network works at an input size, with its heads at their usual scale.

    Args:
        network: network that is trained.
        size: (width, height) in pixels.
    """
    try:
        resized = network.with_input_size(*size)
    except DarkconvError:
        return False
    own, other = network.input_shape, resized.input_shape
    return all(
        before.out_shape.w * other.w == after.out_shape.w * own.w
        and before.out_shape.h * other.h == after.out_shape.h * own.h
        for before, after in zip(network.heads, resized.heads, strict=True)
    )
