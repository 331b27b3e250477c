"""Frozen layers: those that the cfg, and those that the user excludes from training."""

from collections.abc import Collection

from torch import nn

from darkconv.backends.torch import DarknetModule
from darkconv.backends.torch.norm import BatchNorm
from darkconv.core.network import Network
from darkconv.errors import PlanError
from darkconv.surgery.backbone import find_backbone

NORMS = (BatchNorm, nn.SyncBatchNorm)


def frozen_layers(network: Network, *, first: int = 0, backbone: bool = False) -> frozenset[int]:
    """Return the indices of the layers that are not trained.

    `stopbackward=1` stops the gradient from the end of the network: it freezes that layer and all
    before it. `dont_update` and `onlyforward` freeze one layer.

    Args:
        network: network with the cfg's options.
        first: number of first layers to freeze.
        backbone: freeze the backbone, see `darkconv.surgery.backbone.find_backbone`.

    Raises:
        PlanError: `first` is larger than the number of layers, or the network has no backbone.
    """
    total = len(network.layers)
    if not 0 <= first <= total:
        raise PlanError("layers to freeze", expected=f"0 to {total}", found=first)
    stops = [layer.index + 1 for layer in network.layers if layer.spec.stopbackward == 1]
    leading = max([first, *stops, find_backbone(network) if backbone else 0])
    alone = (
        layer.index for layer in network.layers if layer.spec.dont_update or layer.spec.onlyforward
    )
    return frozenset((*range(leading), *alone))


def unneeded_layers(network: Network, wanted: Collection[int]) -> frozenset[int]:
    """Return the indices of layers that the wanted ones do not depend on: they get no gradient.

    Args:
        network: network whose layers they are.
        wanted: indices of the layers whose values are needed.
    """
    return frozenset(range(len(network.layers))).difference(network.needed_layers(wanted))


def freeze(module: DarknetModule, layers: Collection[int]) -> None:
    """Freeze the parameters of some layers; of `train_only_bn` layers, all but batch norm.

    The running statistics of a frozen layer do not change either: see `set_training`.

    Args:
        module: module that is changed.
        layers: indices of the layers to freeze.
    """
    for layer, part in zip(module.network.layers, module.layers, strict=True):
        if layer.index in layers:
            part.requires_grad_(False)
        elif layer.spec.train_only_bn:
            norms = {id(p) for norm in _norms(part) for p in norm.parameters()}
            for parameter in part.parameters():
                parameter.requires_grad_(id(parameter) in norms)


def set_training(module: DarknetModule, frozen: Collection[int], *, norms: bool = True) -> None:
    """Set a module to training mode, except for frozen layers.

    Args:
        module: module that is changed.
        frozen: indices of the frozen layers.
        norms: let batch norms use and update the batch's statistics; otherwise they stay in
            evaluation mode, with scales and biases still trained.
    """
    module.train()
    for index, part in enumerate(module.layers):
        if index in frozen:
            part.eval()
        elif not norms:
            for norm in _norms(part):
                norm.eval()


def _norms(part: nn.Module) -> list[nn.Module]:
    return [inner for inner in part.modules() if isinstance(inner, NORMS)]
