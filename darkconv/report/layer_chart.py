"""Draw the error of every layer as bars on a logarithmic axis.

Positions along the axes are percentages, so that the chart takes any width and its texts keep their
size.
"""

import math
from collections.abc import Iterator, Sequence

from darkconv.core.network import Layer
from darkconv.presentation.markup import escape

DECADES_BELOW = 4
"""The smallest number of decades that are shown below the allowed error."""
LOWEST = 1e-12
LABELS = 8  # approximate number of layers that are named below the chart
GAP = 0.25  # share of a bar's room that is left free


def layer_chart(layers: Sequence[Layer], errors: Sequence[float], allowed: float) -> str:
    """Draw one bar for each layer, in the network's order; there is none where nothing differs.

    Args:
        layers: the layers of the network.
        errors: error of each layer, not negative; infinite ones reach the top.
        allowed: the largest error that is right.

    Returns:
        HTML with SVG.
    """
    low, high = _decades(errors, allowed)
    step = 100 / len(layers)
    bars = (
        _bar(layer, error, place * step, step, (low, high), is_wrong=not error <= allowed)
        for place, (layer, error) in enumerate(zip(layers, errors, strict=True))
    )
    line = f"{_height(allowed, low, high):.2f}%"
    wrong = next((i for i, error in enumerate(errors) if not error <= allowed), None)
    parts = [
        *_decade_lines(low, high),
        *bars,
        f'<line class="allowed" x1="0" x2="100%" y1="{line}" y2="{line}"/>'
        f'<text class="allowed" x="100%" y="{line}" dy="-5" text-anchor="end">allowed</text>',
        *_layer_labels(layers, step),
        "" if wrong is None else _mark(layers[wrong], (wrong + 0.5) * step),
    ]
    label = escape(f"relative error of {len(layers)} layers, {allowed:.0e} allowed")
    return f'<div class="chart"><svg role="img" aria-label="{label}">{"".join(parts)}</svg></div>'


def _decades(errors: Sequence[float], allowed: float) -> tuple[int, int]:
    """Return the powers of ten at both ends of the axis."""
    shown = [max(error, LOWEST) for error in errors if 0 < error < math.inf]
    low = math.floor(math.log10(min([*shown, allowed]) * 0.999))
    high = math.ceil(math.log10(max([*shown, allowed]) * 1.001))
    return min(low, round(math.log10(allowed)) - DECADES_BELOW), high + 1


def _height(error: float, low: int, high: int) -> float:
    """Return the distance of an error from the top, in per cent."""
    place = high if not math.isfinite(error) else math.log10(max(error, 10.0**low))
    return 100 * (high - place) / (high - low)


def _bar(
    layer: Layer,
    error: float,
    left: float,
    step: float,
    decades: tuple[int, int],
    *,
    is_wrong: bool,
) -> str:
    top = _height(error, *decades)
    title = escape(f"layer {layer.index} [{layer.type}]: {error:.1e}")
    return (
        f'<rect class="{"wrong" if is_wrong else "kept"}" x="{left + step * GAP / 2:.2f}%" '
        f'y="{top:.2f}%" width="{step * (1 - GAP):.2f}%" height="{100 - top:.2f}%">'
        f"<title>{title}</title></rect>"
    )


def _decade_lines(low: int, high: int) -> Iterator[str]:
    step = math.ceil((high - low) / 6)
    for power in range(low, high + 1, step):
        y = f"{100 * (high - power) / (high - low):.2f}%"
        yield f'<line class="axis" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        yield f'<text x="-8" y="{y}" dy=".35em" text-anchor="end">{10.0**power:.0e}</text>'


def _layer_labels(layers: Sequence[Layer], step: float) -> Iterator[str]:
    every = max(1, math.ceil(len(layers) / LABELS))
    for place in range(0, len(layers), every):
        x = f"{(place + 0.5) * step:.2f}%"
        yield f'<text x="{x}" y="100%" dy="16" text-anchor="middle">{layers[place].index}</text>'
    yield '<text x="50%" y="100%" dy="34" text-anchor="middle">layer</text>'


def _mark(layer: Layer, x: float) -> str:
    """Mark the first layer that is wrong."""
    anchor = "start" if x < 33 else "end" if x > 67 else "middle"
    text = escape(f"first wrong: {layer.index} {layer.type}")
    return (
        f'<text class="cut" x="{x:.2f}%" y="0" dy="-8" text-anchor="{anchor}">{text}</text>'
        f'<line class="cut" x1="{x:.2f}%" x2="{x:.2f}%" y1="-4" y2="100%"/>'
    )
