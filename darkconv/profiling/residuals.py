"""residuals: the errors that refitting leaves when channels are removed one by one."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from darkconv.backends.torch import inference_module
from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.core.processes import Processes
from darkconv.profiling.loader import Image
from darkconv.profiling.second_moments import InputMoments, input_moments
from darkconv.profiling.walking import MEMORY, POSITIONS, RIDGE, Sampling, read_share
from darkconv.surgery.channels import ChannelClasses, find_classes
from darkconv.surgery.chooser import class_families
from darkconv.surgery.elimination import eliminate
from darkconv.surgery.profile import Profile
from darkconv.surgery.readers import (
    fixed_costs,
    input_labels,
    readers,
    reading_of,
    refitted_layers,
)

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

logger = logging.getLogger("darkconv")


@dataclass(frozen=True, eq=False)
class Family:
    """Classes of tied channels that are alternatives to each other, and the layers that read them.

    Attributes:
        labels: numbers of the classes.
        refitted: readers whose weights can be refitted.
        fixed: the other readers.
    """

    labels: Labels
    refitted: tuple[Layer, ...]
    fixed: tuple[Layer, ...]

    @property
    def last(self) -> int:
        """Index of the last reader that can be refitted; -1 if there is none."""
        return max((layer.index for layer in self.refitted), default=-1)


def find_families(classes: ChannelClasses) -> list[Family]:
    """Return the families of a network with their readers.

    Args:
        classes: classes of tied channels of the network.
    """
    mixing = readers(classes.network)
    owners = {layer.index: input_labels(classes, layer) for layer in mixing}
    can_be_refitted = refitted_layers(classes.network)
    families = []
    for labels in class_families(classes):
        own = [layer for layer in mixing if np.isin(owners[layer.index], labels).any()]
        refitted = tuple(layer for layer in own if layer.index in can_be_refitted)
        fixed = tuple(layer for layer in own if layer.index not in can_be_refitted)
        families.append(Family(labels, refitted, fixed))
    return families


@dataclass
class Ledger:
    """Moments of readers, kept as long as a later family needs them.

    Attributes:
        families: families that are not complete yet.
        moments: moments by the reader's layer index.
    """

    families: list[Family]
    moments: dict[int, InputMoments] = field(default_factory=dict)

    def enter(
        self, found: Iterator[tuple[Layer, InputMoments | None]]
    ) -> Iterator[tuple[Family, Mapping[int, InputMoments]]]:
        """Take in moments, and give each family as soon as all its readers have theirs.

        Args:
            found: layers in order with their moments; None where they are not needed.

        Yields:
            A family and the moments of its readers.
        """
        yield from self._complete(-1)
        for layer, moments in found:
            if moments is not None:
                self.moments[layer.index] = moments
            yield from self._complete(layer.index)

    def _complete(self, index: int) -> Iterator[tuple[Family, Mapping[int, InputMoments]]]:
        for family in [one for one in self.families if one.last == index]:
            yield family, self.moments
        self.families = [one for one in self.families if one.last > index]
        needed = {layer.index for one in self.families for layer in one.refitted}
        self.moments = {i: found for i, found in self.moments.items() if i in needed}


def residuals(
    model: Model,
    profile: Profile,
    images: Sequence[Image],
    processes: Processes,
    *,
    device: torch.device,
    batch: int,
    resize: str | None,
    unreadable: str,
    seed: int,
) -> dict[int, Doubles]:
    """Remove the channels of each family one by one, and compute the error that each leaves.

    Args:
        model: model whose channels they are.
        profile: profile of the model.
        images: pictures of all processes.
        processes: processes that work together; each gets the same result.
        device: device of the computation.
        batch: number of pictures that are run together.
        resize: "stretch" or "letterbox"; None for what the dialect and cfg say.
        unreadable: "skip" or "raise", see `darkconv.profile`.
        seed: seed of the choice of positions.

    Returns:
        Errors (out_channels,) by layer index from 0, see `LayerStatistics.residual`; 0 for channels
        that cannot be removed.
    """
    network = model.network
    classes = find_classes(network)
    families = find_families(classes)
    share = read_share(
        network, images, processes, mirror=True, memory=MEMORY, batch=batch, resize=resize,
        unreadable=unreadable,
    )  # fmt: skip
    batch = min(batch, share.total)
    wanted = {layer.index for family in families for layer in family.refitted}
    walk = input_moments(
        inference_module(model).to(device), share, Sampling(POSITIONS, seed), wanted,
        device=device, batch=batch,
    )  # fmt: skip
    errors = np.zeros(classes.count)
    for family, moments in Ledger(families).enter(walk):
        logger.info("removing %d channels one by one", len(family.labels))
        sides = [
            reading_of(model, one, moments[one.index].covariance, input_labels(classes, one))
            for one in family.refitted
        ]
        fixed = sum(
            (fixed_costs(classes, model, profile, family.labels, one) for one in family.fixed),
            np.zeros(len(family.labels)),
        )
        errors[family.labels] = eliminate(family.labels, sides, RIDGE, fixed)
    return {layer.index: errors[classes.of(layer.index)] for layer in network.layers}
