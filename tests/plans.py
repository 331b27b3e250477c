"""Random pruning plans."""

import functools

import numpy as np

import darkconv as dc

unguarded_plan = functools.partial(dc.plan, skip_first=0, min_keep=0.0, multiple=1)
"""`darkconv.plan` for tiny networks: every layer may lose any number of channels."""


def random_keep(classes, stream, share=0.5):
    """What stays if a share of the classes that can go stays by chance, and one of each layer."""
    removed = classes.free & (stream.random(classes.count) > share)
    for layer in classes.makers:
        own = classes.of(layer.index)
        if removed[own].all():
            removed[own[0]] = False
    return classes.kept(removed)


def random_means(network, keep, stream):
    """A mean for every removed channel."""
    return {
        index: {
            int(channel): float(stream.normal())
            for channel in np.setdiff1d(np.arange(network.shapes[index].c), kept)
        }
        for index, kept in keep.items()
    }
