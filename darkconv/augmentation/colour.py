"""Random hue, saturation and exposure, as in Darknet: in HSV, each channel clipped at the end.

The formulas avoid the conversion to HSV. With the largest channel `top`, the difference `chroma` to
the smallest, and the hue h in sixths of a turn, HSV to RGB is

    channel = top - chroma * clip(min(k, 4 - k), 0, 1),  k = (n + h) mod 6,  n = 5, 3, 1 for R, G, B

so a factor of the saturation multiplies the second term, a factor of the exposure both, and a turn
is added to h. Multiplied by chroma all numbers are whole, so no division is needed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array

Levels = npt.NDArray[np.uint8]
"""8-bit levels (C, H, W)."""

ROWS = 64
"""Number of picture rows that are processed at a time, so that they fit in the CPU's cache."""
_SECTORS = np.array([5, 3, 1], np.int16).reshape(3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class ColourChange:
    """One change of all colours of a picture.

    Attributes:
        turn: change of the hue, in whole turns of the colour circle.
        saturation: factor of the saturation.
        exposure: factor of the brightness.
    """

    turn: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ColourRange:
    """The range that changes are drawn from: options of [net].

    Attributes:
        hue: largest turn in either direction, in whole turns.
        saturation: largest factor or divisor; 0.75 is the same as its inverse.
        exposure: largest factor or divisor.
    """

    hue: float = 0.0
    saturation: float = 1.0
    exposure: float = 1.0

    def draw(self, rng: np.random.Generator) -> ColourChange:
        """Draw a change within the range.

        Args:
            rng: random generator of this draw.
        """
        return ColourChange(
            turn=self.hue * rng.uniform(-1, 1),
            saturation=draw_scale(rng, self.saturation),
            exposure=draw_scale(rng, self.exposure),
        )


def draw_scale(rng: np.random.Generator, limit: float) -> float:
    """Draw a factor between 1 and a limit, or its inverse.

    Args:
        rng: random generator of this draw.
        limit: largest factor; if it is not positive, the factor is 1.
    """
    scale = 1.0 + (limit - 1.0) * rng.random() if limit > 0 else 1.0
    return scale if rng.random() < 0.5 else 1.0 / scale


def distort(levels: Levels, change: ColourChange) -> Array:
    """Apply a colour change; grey pictures get the exposure alone.

    Args:
        levels: (C, H, W) 8-bit levels.
        change: the change.

    Returns:
        float32 (C, H, W) in 0..1.
    """
    out = np.empty(levels.shape, np.float32)
    coloured = len(levels) == 3
    steps = np.rint(change.turn % 1 * 6 * np.arange(256)).astype(np.int16)
    for start in range(0, levels.shape[1], ROWS):
        rows = slice(start, start + ROWS)
        part, target = levels[:, rows], out[:, rows]
        if not coloured or (change.saturation == 1 and not change.turn):
            np.multiply(part, np.float32(change.exposure / 255), out=target, dtype=np.float32)
        elif not change.turn:
            _saturate(part, change, target)
        else:
            _turn(part, change, steps, target)
        np.clip(target, 0, 1, out=target)
    return out


def _saturate(levels: Levels, change: ColourChange, out: Array) -> None:
    """Compute `_turn` without a turn: top - saturation * (top - channel)."""
    top = np.maximum(np.maximum(levels[0], levels[1]), levels[2])
    exposure = change.exposure / 255
    np.multiply(levels, np.float32(change.saturation * exposure), out=out, dtype=np.float32)
    out += top * np.float32((1 - change.saturation) * exposure)


def _turn(levels: Levels, change: ColourChange, steps: npt.NDArray[np.int16], out: Array) -> None:
    """Compute the formula of this module into `out`, without clipping.

    Args:
        levels: (3, rows, W) 8-bit levels.
        change: the change.
        steps: (256,) the turn multiplied by every chroma.
        out: (3, rows, W) result.
    """
    top = np.maximum(np.maximum(levels[0], levels[1]), levels[2])
    difference = top - np.minimum(np.minimum(levels[0], levels[1]), levels[2])
    chroma = difference.astype(np.int16)
    place = _hue(levels.astype(np.int16), top, chroma)
    place += steps.take(difference)
    turns = (6 * chroma).view(np.uint16)
    k = place + _SECTORS * chroma
    for _ in range(2):  # k < 16 chroma: modulo 6 chroma, smaller numbers wrap to large ones
        np.minimum(k.view(np.uint16), k.view(np.uint16) - turns, out=k.view(np.uint16))
    np.minimum(k, 4 * chroma - k, out=k)
    np.maximum(k, np.zeros_like(chroma), out=k)  # this is far faster than a plain 0
    np.minimum(k, chroma, out=k)
    exposure = change.exposure / 255
    np.multiply(k, np.float32(-change.saturation * exposure), out=out, dtype=np.float32)
    out += top * np.float32(exposure)


def _hue(
    levels: npt.NDArray[np.int16], top: Levels, chroma: npt.NDArray[np.int16]
) -> npt.NDArray[np.int16]:
    """Return the hue in sixths of a turn, multiplied by chroma: from -chroma to 5 chroma."""
    red, green, blue = levels
    is_red = red == top
    is_green = (green == top) > is_red
    is_blue = ~(is_red | is_green)
    place: npt.NDArray[np.int16] = (green - blue) * is_red
    place += (blue - red + 2 * chroma) * is_green
    place += (red - green + 4 * chroma) * is_blue
    return place
