"""The HTML report of a profile: the statistics of each layer's channels."""

from pathlib import Path

import numpy as np

from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.files import PathLike, write_bytes
from darkconv.presentation.markup import escape
from darkconv.report.histogram import Doubles, Mask, histogram
from darkconv.report.page import key_figures, page, section
from darkconv.surgery.channels import makes_channels
from darkconv.surgery.profile import LayerStatistics, Profile

OPEN_LAYERS = 3
"""Number of layers whose histograms are open at first."""


def write_profile_report(path: PathLike, model: Model, profile: Profile) -> None:
    """Write the report of a profile as one HTML file.

    Args:
        path: path of the file.
        model: the model that was profiled.
        profile: its profile.

    Raises:
        DarkconvError: the file cannot be written.
    """
    name = Path(model.network.file).stem
    layers = [layer for layer in model.network.layers if makes_channels(layer)]
    counts = [profile.layers[layer.index].constant for layer in layers]
    figures = [
        ("pictures", f"{profile.pictures:,}", ""),
        ("layers that make channels", f"{len(layers):,}", ""),
        ("channels", f"{sum(map(len, counts)):,}", ""),
        (
            "constant channels",
            f"{sum(int(c.sum()) for c in counts):,}",
            "one value on all pictures",
        ),
    ]
    plots = [
        layer_plots(layer, profile.layers[layer.index], is_open=place < OPEN_LAYERS)
        for place, layer in enumerate(layers)
    ]
    intro = "<p>Each histogram counts the channels of a layer by what they did on the pictures.</p>"
    parts = [
        f"<h1>Profile of {escape(name)}</h1>",
        key_figures(figures),
        section("Layers", intro, *plots),
    ]
    write_bytes(path, [page(f"Profile of {name}", parts).encode()])


def layer_plots(
    layer: Layer,
    found: LayerStatistics,
    *,
    is_open: bool,
    removed: Mask | None = None,
    score: tuple[str, Doubles, float | None] | None = None,
) -> str:
    """Return the histograms of one layer as HTML: mean, variance, and score with its cut.

    Args:
        layer: the layer.
        found: its statistics.
        is_open: True if the histograms are shown at first.
        removed: boolean (channels,), True for removed ones; None for no removal.
        score: name of the score, (channels,) values, and the score of the cut or None; None for
            nll0.
    """
    gone = np.zeros(len(found.mean), bool) if removed is None else removed
    name, values, cut = score or ("nll0", found.nll0, None)
    with np.errstate(divide="ignore"):
        spread = np.where(found.constant, -np.inf, np.log10(np.maximum(found.variance, 1e-300)))
    plots = [
        histogram("mean", found.mean, gone),
        histogram("log10 variance", spread, gone),
        histogram(f"score {name}", values, gone, cut=cut),
    ]
    shape = layer.out_shape
    lost = f", {int(gone.sum())} removed" if gone.any() else ""
    return (
        f"<details{' open' if is_open else ''}><summary>Layer {layer.index} [{layer.type}] "
        f"<small>{shape.c} channels of {shape.w}x{shape.h}{lost}</small></summary>"
        f'<div class="plots">{"".join(plots)}</div></details>'
    )
