"""How profiles look."""

import numpy as np

from darkconv.core.model import Model
from darkconv.presentation.notebook import html_table
from darkconv.surgery.channels import makes_channels
from darkconv.surgery.profile import Profile

OF_PROFILE = ("layer", "channels", "constant", "mean", "deviation", "nll0")
OF_CHANNELS = ("layer", "type", "channels", "constant", "near dead")


def profile_as_text(profile: Profile) -> str:
    """Return what a profile is in a line."""
    return f"Profile of {', '.join(counted(profile))}"


def profile_as_html(profile: Profile) -> str:
    """Return a table with a row for each layer of a profile."""
    rows = [
        [
            str(index),
            str(len(layer.mean)),
            str(int(layer.constant.sum())),
            f"{layer.mean.mean():.3g}",
            f"{np.sqrt(layer.variance).mean():.3g}",
            f"{layer.nll0.min():.3g} to {layer.nll0.max():.3g}",
        ]
        for index, layer in profile.layers.items()
    ]
    return html_table(OF_PROFILE, rows, (), caption=counted(profile))


def counted(profile: Profile) -> list[str]:
    """Return how many pictures, layers and channels a profile is of."""
    channels = sum(len(layer.mean) for layer in profile.layers.values())
    return [
        f"{profile.pictures:,} pictures",
        f"{len(profile.layers):,} layers",
        f"{channels:,} channels",
    ]


def channel_rows(model: Model, profile: Profile) -> list[tuple[int, str, int, int, int]]:
    """Return a row of `OF_CHANNELS` for each layer that does not just hand channels on."""
    own = [layer for layer in model.network.layers if layer.slots or makes_channels(layer)]
    found = [profile.layers[layer.index] for layer in own]
    return [
        (
            layer.index,
            layer.type,
            layer.out_shape.c,
            int(one.constant.sum()),
            int(one.near_dead.sum()),
        )
        for layer, one in zip(own, found, strict=True)
    ]
