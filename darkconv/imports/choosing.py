"""Choose the bundled network that another tool's file belongs to, where no cfg was given."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from darkconv.core.network import Network
from darkconv.darknet.bundled import bundled_names
from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.imports.fit import fit
from darkconv.imports.found import Checkpoint
from darkconv.loading import read_model

MOST_NAMED = 6
GIVE = "give the cfg that the program followed: NET.cfg FILE (import_weights(cfg, file))"


def choose_bundled(checkpoint: Checkpoint) -> str:
    """Return the name of the only bundled network that a file fits.

    Args:
        checkpoint: the file, whose layers are compared with every bundled network.

    Raises:
        WeightsError: the file fits none of the bundled networks, or several.
    """
    fitting = [name for name in bundled_names() if _fits(_network(name), checkpoint)]
    if len(fitting) == 1:
        return fitting[0]
    where = Where(file=checkpoint.file)
    if not fitting:
        raise WeightsError("fits none of the bundled networks", where=where, hint=GIVE)
    raise WeightsError(
        "fits several of the bundled networks",
        where=where,
        expected="one of them as cfg",
        found=", ".join(fitting[:MOST_NAMED]),
        hint=GIVE,
    )


def _network(name: str) -> Network:
    with _silence():
        return read_model(name).network


def _fits(network: Network, checkpoint: Checkpoint) -> bool:
    if sum(bool(layer.slots) for layer in network.layers) > len(checkpoint.units):
        return False
    try:
        fit(network, checkpoint)
    except DarkconvError:
        return False
    return True


@contextmanager
def _silence() -> Iterator[None]:
    """Silence the warnings about cfgs that are only tried."""
    logger = logging.getLogger("darkconv")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
