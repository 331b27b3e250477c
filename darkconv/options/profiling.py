"""Define the options of running pictures through a model, and make its profile."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import click

from darkconv.console.options import options_as
from darkconv.console.progress import progress
from darkconv.console.values import batch_option, device_option
from darkconv.core.model import Model
from darkconv.options.pictures import PictureOptions, open_pictures
from darkconv.surgery.profile import Profile, merge_profiles

SUFFIX = ".npz"
"""The suffix of profiles."""


@dataclass(frozen=True, kw_only=True)
class ProfilingOptions:
    """The options of running pictures through a model; see `darkconv.profiling.collect.profile`."""

    batch: int = 8
    device: str = "auto"
    resize: str | None = None
    taylor: bool = False
    obs: bool = False

    @property
    def running(self) -> dict[str, Any]:
        """Return the arguments of every job that runs pictures."""
        return {"batch": self.batch, "device": self.device, "resize": self.resize}


PROFILING_NAMES = tuple(field.name for field in fields(ProfilingOptions))
"""Names of the parameters that `profiling_options` adds."""


profiling_options = options_as(
    "profiling",
    ProfilingOptions,
    batch_option(8),
    device_option,
    click.option(
        "--resize",
        type=click.Choice(["stretch", "letterbox"]),
        help="How pictures are fitted to the input  [default: as the dialect and letter_box= say]",
    ),
    click.option("--taylor", is_flag=True, help="Also collect gradients, for --score taylor."),
    click.option(
        "--obs", is_flag=True, help="Also measure what refitting can make up for, for --score obs."
    ),
    title="Profiling",
)
"""Options of running pictures; the command gets them as `profiling`."""


def profile_of(
    model: Model,
    sources: Sequence[str],
    pictures: PictureOptions,
    profiling: ProfilingOptions,
    *,
    seed: int = 0,
) -> tuple[Profile, int]:
    """Return one profile over pictures and profiles, and how many pictures could not be read.

    Args:
        model: the model to profile.
        sources: pictures and profiles as the user gave them.
        pictures: the choice of pictures.
        profiling: options of running pictures.
        seed: seed of the sample that the histograms show.

    Raises:
        DarkconvError: no picture is left, or a profile is of another model.
    """
    ready = [source for source in sources if source.endswith(SUFFIX)]
    parts = [Profile.load(source, model) for source in ready]
    others = [source for source in sources if source not in ready]
    skipped = 0
    if others:
        from darkconv.profiling.collect import profile

        dataset = open_pictures(others, pictures, model=model, uses_labels=False)
        with progress(len(dataset), "pictures") as update:
            how = {**vars(profiling), "seed": seed, "progress": update}
            found = profile(model, dataset, **how)
        skipped = len(dataset) - found.pictures
        notes = {**found.notes, "only_classes": pictures.only_classes}
        parts.append(replace(found, notes=notes))
    return merge_profiles(parts), skipped
