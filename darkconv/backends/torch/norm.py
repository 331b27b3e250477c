"""Builders of batchnorm, normalization, l2norm, activation, softmax and logistic layers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkconv.backends.registry import ParameterTable
from darkconv.backends.torch.activation import ActivationFunction, build_activation
from darkconv.backends.torch.registry import BUILDERS, PARAMETERS
from darkconv.core.dialect import Dialect
from darkconv.core.network import Layer, Network
from darkconv.core.tree import Tree
from darkconv.layers import norm

MOMENTUM = 0.01  # share of a new batch in the running statistics: C keeps 0.99 of the old ones
NORM_PARAMETERS = {
    "biases": "bias",
    "scales": "weight",
    "rolling_mean": "running_mean",
    "rolling_variance": "running_var",
}


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm with the divisor of a dialect, for feature maps and vectors.

    At inference it divides by sqrt(variance + variance_epsilon) + deviation_epsilon. In training
    the divisor is sqrt(variance + batch_epsilon), as in the GPU code of both C programs.

    Args:
        channels: number of channels of the input.
        dialect: dialect whose divisor is used.
        own_input: nothing else holds the input, so it may be overwritten.

    Attributes:
        train_forward: function that replaces PyTorch's forward pass in training mode.
    """

    train_forward: "Callable[[BatchNorm, Tensor], Tensor] | None" = None

    def __init__(self, channels: int, dialect: Dialect, *, own_input: bool = False) -> None:
        super().__init__(channels, eps=dialect.batch_epsilon, momentum=MOMENTUM)
        self.num_batches_tracked = None
        self.dialect = dialect
        self.own_input = own_input

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the channels, axis 1."""
        if self.training and self.train_forward:
            return self.train_forward(self, x)
        if self.training:
            return super().forward(x)
        mean, variance, epsilon = self.running_mean, self.running_var, self.eps
        assert mean is not None
        assert variance is not None
        if self.dialect.deviation_epsilon:
            divisor = variance.sqrt() + self.dialect.deviation_epsilon
            variance, epsilon = divisor * divisor, 0.0
        # the input is overwritten if it may be: new memory costs more than the computation
        if self.own_input and is_plain_cpu(x) and x.dtype == self.weight.dtype:
            unused = x.new_empty(0)
            statistics = (mean, variance, False, MOMENTUM, epsilon)
            out = (x, unused, unused)
            return torch.native_batch_norm(x, self.weight, self.bias, *statistics, out=out)[0]
        return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=epsilon)

    def reset_parameters(self) -> None:
        """Set initial values; not on the meta device, since the arrays of a model follow."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def _check_input_dim(self, x: Tensor) -> None:
        pass

    def _load_from_state_dict(self, *arguments: Any) -> None:
        # PyTorch's own looks for a counter of batches, which this module does not have
        nn.Module._load_from_state_dict(self, *arguments)


def is_plain_cpu(x: Tensor) -> bool:
    """Return True if x is on the CPU, and neither gradients nor a graph are recorded.

    Args:
        x: tensor of any shape.
    """
    is_recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not is_recorded


def norm_table(prefix: str) -> dict[str, str]:
    """Return the parameter table of a batch norm.

    Args:
        prefix: name of the batch norm in the layer's module.
    """
    return {slot: f"{prefix}.{name}" for slot, name in NORM_PARAMETERS.items()}


@BUILDERS.register(norm.Batchnorm)
def build_batchnorm(layer: Layer, _: Network) -> nn.Module:
    """Build a batch norm; pjreddie's has no biases.

    Args:
        layer: [batchnorm] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    module = BatchNorm(layer.out_shape.c, layer.spec.dialect)
    if not layer.spec.dialect.batchnorm_has_biases:
        module.register_parameter("bias", None)
    return module


@PARAMETERS.register(norm.Batchnorm)
def batchnorm_parameters(layer: Layer) -> ParameterTable:
    """Return the parameter table of a batch norm.

    Args:
        layer: [batchnorm] layer.
    """
    return NORM_PARAMETERS


class Normalization(nn.Module):
    """Local response normalisation: see `darkconv.layers.norm.Normalization`.

    Args:
        spec: options of the [normalization] layer.
    """

    def __init__(self, spec: norm.Normalization) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        """Compute x * norm ^ -beta."""
        spec = self.spec
        square = x * x
        before, after = (spec.size - 1) // 2, spec.size // 2
        padded = F.pad(square, (0, 0, 0, 0, before, after))
        window = sum(padded[:, i : i + x.shape[1]] for i in range(spec.size))
        missing = square[:, spec.size // 2].unsqueeze(1)
        return x * (spec.kappa + spec.alpha * (window - missing)) ** -spec.beta


@BUILDERS.register(norm.Normalization)
def build_normalization(layer: Layer, _: Network) -> nn.Module:
    """Build a local response normalisation with C's missing term.

    Args:
        layer: [normalization] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, norm.Normalization)
    return Normalization(layer.spec)


class L2norm(nn.Module):
    """Each pixel divided by the L2 norm of its channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Divide by the norm without an epsilon."""
        return x / (x * x).sum(1, keepdim=True).sqrt()


@BUILDERS.register(norm.L2norm)
def build_l2norm(layer: Layer, _: Network) -> nn.Module:
    """Build a division of each pixel by the L2 norm of its channels.

    Args:
        layer: [l2norm] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return L2norm()


@BUILDERS.register(norm.Activation)
def build_activation_layer(layer: Layer, _: Network) -> nn.Module:
    """Build an activation function by itself.

    Args:
        layer: [activation] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, norm.Activation)
    return build_activation(layer.spec.activation)


@BUILDERS.register(norm.Logistic)
def build_logistic(layer: Layer, _: Network) -> nn.Module:
    """Build a sigmoid.

    Args:
        layer: [logistic] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return ActivationFunction("logistic")


class Softmax(nn.Module):
    """Softmax over `groups` equal parts of the flattened input, or over those of a class tree.

    Args:
        spec: options of the [softmax] layer.
        tree: class tree, whose groups have a softmax each; None for no tree.
    """

    def __init__(self, spec: norm.Softmax, tree: Tree | None) -> None:
        super().__init__()
        self.spec = spec
        self.tree = tree

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated values (N, values) of an input (N, ...)."""
        flat = x.flatten(1) / self.spec.temperature
        if self.tree:
            return tree_softmax(flat, self.tree)
        parts = flat.reshape(flat.shape[0], self.spec.groups, -1)
        values = torch.softmax(parts, -1).flatten(1)
        keep = self.spec.keep_classes
        return values[:, list(keep)] if keep else values


def tree_softmax(x: Tensor, tree: Tree, dim: int = 1) -> Tensor:
    """Compute one softmax for each group of siblings; values after those of the tree stay.

    Args:
        x: tensor with a value for each class of the tree along `dim`, from index 0 on.
        tree: class tree.
        dim: axis of the classes.
    """
    counts = [count for _, count in tree.groups]
    rest = x.shape[dim] - sum(counts)
    parts = x.split([*counts, rest] if rest else counts, dim)
    siblings = [torch.softmax(part, dim) for part in parts[: len(counts)]]
    return torch.cat([*siblings, *parts[len(counts) :]], dim)


@BUILDERS.register(norm.Softmax)
def build_softmax(layer: Layer, network: Network) -> nn.Module:
    """Build a softmax over groups of the flattened input, or over the groups of a class tree.

    Args:
        layer: [softmax] layer with its options and input shapes.
        network: its network, whose class tree files are known.

    Raises:
        GraphError: the file of its class tree was not found, or has more classes.
    """
    assert isinstance(layer.spec, norm.Softmax)
    return Softmax(layer.spec, norm.required_tree(layer, network, layer.in_shapes[0].size))
