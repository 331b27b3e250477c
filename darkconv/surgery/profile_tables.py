"""Tables and texts that show profiles."""

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
    """Return one line that describes a profile.

    Args:
        profile: the profile to describe.
    """
    return f"Profile of {', '.join(counted(profile))}"


def profile_as_html(profile: Profile) -> str:
    """Return an HTML table with a row for each layer of a profile.

    Args:
        profile: the profile to describe.
    """
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
    """Return texts with the numbers of pictures, layers and channels of a profile.

    Args:
        profile: the profile to describe.
    """
    channels = sum(len(layer.mean) for layer in profile.layers.values())
    return [
        f"{profile.pictures:,} pictures",
        f"{len(profile.layers):,} layers",
        f"{channels:,} channels",
    ]


def channel_rows(model: Model, profile: Profile) -> list[tuple[int, str, int, int, int]]:
    """Return a row of `OF_CHANNELS` for each layer that does more than pass channels on.

    Args:
        model: the model that was profiled.
        profile: its profile.
    """
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
    """Return the rows of `OF_CHANNELS` with constant or near dead channels, largest share first.

    Args:
        model: the model that was profiled.
        profile: its profile.
    """
    rows = [row for row in channel_rows(model, profile) if any(row[3:])]
    return sorted(rows, key=lambda row: -sum(row[3:]) / row[2])


def profile_summary(model: Model, profile: Profile, skipped: int) -> str:
    """Return one line about pictures and layers.

    Args:
        model: the model that was profiled.
        profile: its profile.
        skipped: number of pictures that could not be read.
    """
    return (
        f"{format_count(profile.pictures)} pictures, {format_count(skipped)} skipped, "
        f"{len(model.network.layers)} layers"
    )


def profile_dict(model: Model, profile: Profile, skipped: int) -> dict[str, Any]:
    """Return the profile of all layers as data that JSON can hold.

    Args:
        model: the model that was profiled.
        profile: its profile.
        skipped: number of pictures that could not be read.
    """
    keys = [header.replace(" ", "_") for header in OF_CHANNELS]
    rows = channel_rows(model, profile)
    return {
        "pictures": profile.pictures,
        "skipped": skipped,
        "notes": profile.notes,
        "layers": [dict(zip(keys, row, strict=True)) for row in rows],
    }
