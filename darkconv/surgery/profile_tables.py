"""How profiles look."""

from typing import Any

import numpy as np

from darkconv.core.model import Model
from darkconv.presentation.notebook import html_table
from darkconv.presentation.numerals import format_count
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


def idle_rows(model: Model, profile: Profile) -> list[tuple[int, str, int, int, int]]:
    """Return the rows of `OF_CHANNELS` with constant or near dead channels, the idlest first."""
    rows = [row for row in channel_rows(model, profile) if any(row[3:])]
    return sorted(rows, key=lambda row: -sum(row[3:]) / row[2])


def profile_summary(model: Model, profile: Profile, skipped: int) -> str:
    """Return a line on pictures and layers; `skipped` pictures could not be read."""
    return (
        f"{format_count(profile.pictures)} pictures, {format_count(skipped)} skipped, "
        f"{len(model.network.layers)} layers"
    )


def profile_dict(model: Model, profile: Profile, skipped: int) -> dict[str, Any]:
    """Return the same as JSON can hold it, with all layers."""
    keys = [header.replace(" ", "_") for header in OF_CHANNELS]
    rows = channel_rows(model, profile)
    return {
        "pictures": profile.pictures,
        "skipped": skipped,
        "notes": profile.notes,
        "layers": [dict(zip(keys, row, strict=True)) for row in rows],
    }
