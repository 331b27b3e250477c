"""graft: the layers of one network are copied into another, each to the layer that it fits.

Darknet reads a weights file as one stream: after the first layer of another size, all arrays are
shifted. Here layers are matched one by one in order, and layers that do not fit are reported.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from darkconv.arguments import checked
from darkconv.core.model import Array, Model, replace_arrays
from darkconv.core.network import Layer, Network
from darkconv.core.views import Shown, View
from darkconv.errors import PlanError

logger = logging.getLogger("darkconv")

Pair = tuple[int, int]
Pairs = tuple[Pair, ...]
"""Pairs of (donor layer, receiver layer) that match, in order."""


@dataclass(frozen=True, eq=False, repr=False)
class GraftResult(Shown):
    """A model with layers of another one, and a record of every layer with arrays.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> model = load_digits10()
        >>> done = dc.graft(source=model, target=dc.reclass(model, ["seven", "two"]))
        >>> done.fresh, done.model.names
        ((17,), ('seven', 'two'))

    Attributes:
        model: the receiver, with the donor's arrays in the layers that match.
        taken: pairs of (donor layer, receiver layer) indices, in order.
        fresh: indices of the receiver's layers that keep their own values.
        unused: indices of the donor's layers that fit no layer.
        behind_fresh: indices of the receiver's layers that match although they read a fresh layer:
            until training, they receive other features than in the donor.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> found = dc.graft(model, dc.reclass(model, keep=["seven", "two"]))
        >>> found.model.names, found.fresh
        (('seven', 'two'), (17,))
    """

    model: Model
    taken: Pairs
    fresh: tuple[int, ...]
    unused: tuple[int, ...]
    behind_fresh: tuple[int, ...]

    def _view(self) -> View:
        """Return the view by which the result is shown."""
        from darkconv.surgery import tables

        return View(tables.graft_as_text, tables.graft_as_html)

    @property
    def runs(self) -> list[tuple[Pair, Pair]]:
        """Return the first and last pair of each run of matches without left out layers between."""
        found: list[tuple[Pair, Pair]] = []
        for pair in self.taken:
            last = found[-1][1] if found else None
            if last and self._follows(last, pair):
                found[-1] = found[-1][0], pair
            else:
                found.append((pair, pair))
        return found

    def _follows(self, last: Pair, pair: Pair) -> bool:
        skipped = any(last[0] < index < pair[0] for index in self.unused)
        missed = any(last[1] < index < pair[1] for index in self.fresh)
        return pair[0] - last[0] == pair[1] - last[1] and not skipped and not missed

    def to_dict(self) -> dict[str, Any]:
        """Return the record of every layer with arrays as data for programs."""
        return {
            "taken": [list(pair) for pair in self.taken],
            "fresh": list(self.fresh),
            "unused": list(self.unused),
            "behind_fresh": list(self.behind_fresh),
        }


@checked
def graft(source: Model, target: Model, *, layers: int | None = None) -> GraftResult:
    """Copy the layers of a model into another network where they fit.

    The layers with arrays of both form two sequences. A donor layer fits a receiver layer of the
    same type whose arrays have the same names and shapes. Of all ways to match them in order, the
    one with the most matches is taken, and of those the one that matches earliest, so that the
    common beginning of both networks is always matched first. Arrays are copied whole or not at
    all.

    Layers for which the donor's file gave no values are not taken, nor are layers on either side
    whose cfg says not to load them (`dontload`, `dontloadscales`, `numload`).

    Args:
        source: the donor, whose layers are taken.
        target: the receiver, which stays unchanged. The result has its cfg, header and names, and
            its values in layers that match no layer of the donor.
        layers: number of leading layers of the donor to take from; None for all.

    Returns:
        The new model, and a record of the layers that were taken.

    Raises:
        PlanError: no layer fits, or the donor has fewer layers.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> model = load_digits10()
        >>> dc.graft(source=model, target=dc.reclass(model, ["seven", "two"]))
        taken: 11 of 12 layers with arrays
          donor 0-16 -> receiver 0-16
        fresh, keep the receiver's values: layers 17
        unused, of the donor: layers 17
        taken, but behind fresh ones: none
    """
    donor, receiver = source, target
    total = len(donor.network.layers)
    if layers is not None and not 1 <= layers <= total:
        raise PlanError("layers", expected=f"1 to {total} of the donor's", found=layers)
    giving = [layer for layer in _graftable(donor.network, layers) if _is_loaded(donor, layer)]
    taking = list(_graftable(receiver.network))
    taken = tuple((giving[i].index, taking[j].index) for i, j in align(giving, taking))
    if not taken:
        raise PlanError(
            f"no layer of {donor.network.file} fits into {receiver.network.file}",
            hint=None if giving else "the donor has only initial values: give its weights",
        )
    _warn_of_dialects(donor, receiver)
    return _account(donor, receiver, taken)


def _account(donor: Model, receiver: Model, taken: Pairs) -> GraftResult:
    model = replace_arrays(receiver, _taken_arrays(donor, receiver, taken))
    given, filled = {a for a, _ in taken}, {b for _, b in taken}
    initial = tuple(index for index in receiver.initial_layers if index not in filled)
    fresh = _others(receiver.network, filled)
    return GraftResult(
        model=replace(model, initial_layers=initial),
        taken=taken,
        fresh=fresh,
        unused=_others(donor.network, given),
        behind_fresh=tuple(sorted(_readers(receiver.network, set(fresh)) & filled)),
    )


def _graftable(network: Network, limit: int | None = None) -> Iterator[Layer]:
    """Yield the layers whose arrays the file holds completely."""
    for layer in network.layers[:limit]:
        if layer.slots and all(slot.stored is None for slot in layer.slots):
            yield layer


def _is_loaded(model: Model, layer: Layer) -> bool:
    return layer.index not in model.initial_layers


def _signature(layer: Layer) -> tuple[str, frozenset[tuple[str, tuple[int, ...]]]]:
    return layer.type, frozenset((slot.name, slot.shape) for slot in layer.slots)


def align(donor: Sequence[Layer], receiver: Sequence[Layer]) -> list[tuple[int, int]]:
    """Find the longest common subsequence of two sequences of layers, matched as early as possible.

    Args:
        donor: layers of the donor.
        receiver: layers of the receiver.

    Returns:
        Pairs of positions (from 0) in the two sequences.
    """
    a, b = [_signature(x) for x in donor], [_signature(x) for x in receiver]
    longest = np.zeros((len(a) + 1, len(b) + 1), np.int64)
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            if a[i] == b[j]:
                longest[i, j] = longest[i + 1, j + 1] + 1
            else:
                longest[i, j] = max(longest[i + 1, j], longest[i, j + 1])
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif longest[i + 1, j] >= longest[i, j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _taken_arrays(donor: Model, receiver: Model, taken: Pairs) -> dict[str, Array]:
    return {
        f"{target}.{slot.name}": donor.arrays[f"{source}.{slot.name}"]
        for source, target in taken
        for slot in receiver.network.layers[target].slots
    }


def _others(network: Network, used: set[int]) -> tuple[int, ...]:
    """Return the layers with arrays that are not used."""
    return tuple(x.index for x in network.layers if x.slots and x.index not in used)


def _readers(network: Network, fresh: set[int]) -> set[int]:
    """Return the layers with arrays that read a fresh layer, directly or through others without."""
    touched, found = set(fresh), set()
    for layer in network.layers:
        if not touched.isdisjoint(layer.sources):
            if layer.slots:
                found.add(layer.index)
            else:
                touched.add(layer.index)
    return found


def _warn_of_dialects(donor: Model, receiver: Model) -> None:
    if donor.dialect != receiver.dialect:
        logger.warning(
            "%s follows the rules of %s, %s those of %s: batch norm divides a little differently",
            donor.network.file,
            donor.dialect,
            receiver.network.file,
            receiver.dialect,
        )
