"""Building tiny networks in tests, and the small ones of the C program's own numbers."""

from pathlib import Path

import numpy as np

from darkconv import layers as _layers  # noqa: F401 - fills the table of layer types
from darkconv.core.dialect import DIALECTS
from darkconv.core.model import Header, InitialArrays, Model
from darkconv.core.network import build_network
from darkconv.core.unchanging import frozen
from darkconv.darknet.cfg import parse_cfg
from reference.collection import Case

MICRO = sorted((Path(__file__).parent / "data" / "micro").iterdir())
NET = "[net]\nwidth={w}\nheight={h}\nchannels={c}\n\n"


def cfg_text(body, shape=(3, 8, 8)):
    """A cfg with a [net] section for pictures of shape (c, h, w)."""
    c, h, w = shape
    return NET.format(c=c, h=h, w=w) + body


def network(body, shape=(3, 8, 8), dialect="alexeyab", **options):
    """A network from the text of its layers."""
    config = parse_cfg(cfg_text(body, shape), file="test.cfg")
    return build_network(config, DIALECTS[dialect], **options)


def random_model(net, seed=0, names=()):
    """A model with arrays of sensible spread: variances and scales about 1."""
    stream = np.random.default_rng(seed)
    arrays = {}
    for key, _, slot in net.keyed_slots():
        kind = key.rpartition(".")[2]
        if kind in ("scales", "rolling_variance"):
            values = stream.uniform(0.5, 1.5, slot.shape)
        else:
            values = stream.normal(scale=0.3, size=slot.shape)
        arrays[key] = frozen(values)
    return Model(net, arrays, Header.new(net.dialect), tuple(names))


def initial_model(net):
    """A model as Darknet initialises it."""
    return Model(net, InitialArrays(net), Header.new(net.dialect))


def micro_model(folder):
    """A small network, and the layers that its heads read, or else its outputs."""
    model = Case(folder, folder / "net.weights").model
    wanted = [i for layer in model.network.heads for i in layer.sources if i >= 0]
    return model, wanted or list(model.network.outputs)
