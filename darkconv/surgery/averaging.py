"""average: the mean of several trained models of one network."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from darkconv.core.model import Array, Model
from darkconv.core.network import Layer, Network
from darkconv.core.options import option_table
from darkconv.core.unchanging import frozen
from darkconv.errors import PlanError

FILE_OPTIONS = ("dontload", "dontloadscales", "numload", "flipped")
"""Options that concern only the weights file, and not what is computed."""


def average(models: Sequence[Model]) -> Model:
    """Return a model whose arrays are the means of those of all models, in double precision.

    Args:
        models: models of the same network; the first gives cfg and names, and the one with the most
            pictures seen gives the header.

    Raises:
        PlanError: there is no model, or two models are not of the same network; the first
            difference is named.
    """
    if not models:
        raise PlanError("no model to average")
    first, *others = models
    for other in others:
        check_same_network(first.network, other.network)
        _check_same_origin(first, other)
    arrays = {key: _mean([model.arrays[key] for model in models]) for key in first.arrays}
    header = max((model.header for model in models), key=lambda header: header.seen)
    return replace(first, arrays=arrays, header=header)


def _mean(arrays: Sequence[Array]) -> Array:
    total = arrays[0].astype(np.float64)  # starting from zeros would lose the sign of -0
    with np.errstate(invalid="ignore"):
        for array in arrays[1:]:
            total += array
    return frozen(total / len(arrays))


def check_same_network(a: Network, b: Network) -> None:
    """Raise an error unless two networks compute the same when given the same arrays.

    Options that only affect training may differ.

    Args:
        a: the first network.
        b: the second network, whose place the message names.

    Raises:
        PlanError: names the first difference.
    """
    message = f"not the same network as {a.file}"
    for what, x, y in (
        ("dialect", a.dialect, b.dialect),
        ("input", a.input_shape, b.input_shape),
        ("number of layers", len(a.layers), len(b.layers)),
    ):
        if x != y:
            raise PlanError(f"{b.file}: {message}: {what}", expected=x, found=y)
    for layer, other in zip(a.layers, b.layers, strict=True):
        _check_same_layer(b, message, layer, other)


def _check_same_layer(network: Network, message: str, a: Layer, b: Layer) -> None:
    for what, x, y in (
        ("type", a.type, b.type),
        ("sources", a.sources, b.sources),
        ("output", a.out_shape, b.out_shape),
        ("shared layer", a.shared, b.shared),
    ):
        if x != y:
            raise PlanError(f"{message}: {what}", where=network.where(b.index), expected=x, found=y)
    kind: type = type(a.spec)
    for key, (name, _, info) in option_table(kind).items():
        x, y = getattr(a.spec, name), getattr(b.spec, name)
        if x != y and not info.training and key not in FILE_OPTIONS:
            raise PlanError(message, where=network.where(b.index, key), expected=x, found=y)


def _check_same_origin(a: Model, b: Model) -> None:
    """Raise an error if only one of two models has trained values in a layer."""
    only = sorted(set(a.initial_layers) ^ set(b.initial_layers))
    if only:
        without = a if only[0] in a.initial_layers else b
        raise PlanError(
            "one of the models has only initial values here, since no file gave others",
            where=without.network.where(only[0]),
        )
