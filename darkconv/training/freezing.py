"""Which layers are not trained: what the cfg says, and what the user asks for."""

from collections.abc import Collection

from torch import nn

from darkconv.backends.torch import DarknetModule
from darkconv.backends.torch.norm import BatchNorm
from darkconv.core.network import Network
from darkconv.errors import PlanError
from darkconv.surgery.backbone import find_backbone

NORMS = (BatchNorm, nn.SyncBatchNorm)


def frozen_layers(network: Network, *, first: int = 0, backbone: bool = False) -> frozenset[int]:
    """Numbers of the layers that stay as they are.

    `stopbackward=1` stops what flows back from the end of the network: that layer and all
    before it. `dont_update` and `onlyforward` are about one layer.

    Args:
        network: with the cfg's options.
        first: so many of the first layers.
        backbone: all before what the heads decide on.

    Raises:
        PlanError: `first` is more than there are layers, or the network has no backbone.
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
    """Numbers of the layers that those wanted do not depend on: nothing would ever reach them."""
    return frozenset(range(len(network.layers))).difference(network.needed_layers(wanted))


def freeze(module: DarknetModule, layers: Collection[int]) -> None:
    """Let parameters of some layers need no gradient; `train_only_bn` leaves batch norm alone.

    A frozen layer's running statistics stay too: see `set_training`.
    """
    for layer, part in zip(module.network.layers, module.layers, strict=True):
        if layer.index in layers:
            part.requires_grad_(False)
        elif layer.spec.train_only_bn:
            norms = {id(p) for norm in _norms(part) for p in norm.parameters()}
            for parameter in part.parameters():
                parameter.requires_grad_(id(parameter) in norms)


def set_training(module: DarknetModule, frozen: Collection[int], *, norms: bool = True) -> None:
    """Training mode, but for frozen layers.

    Args:
        module: to be switched.
        frozen: numbers of layers.
        norms: let batch norms use and track the batch's statistics; else they stay in evaluation
            mode, with scales and biases still trained.
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
