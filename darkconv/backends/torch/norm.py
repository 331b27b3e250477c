"""batchnorm, normalization, l2norm, activation, softmax, logistic."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkconv.backends.registry import ParameterTable
from darkconv.backends.torch.activation import Activation, build_activation
from darkconv.backends.torch.registry import BUILDERS, PARAMETERS
from darkconv.core.dialect import Dialect
from darkconv.core.network import Layer, Network
from darkconv.core.tree import Tree
from darkconv.layers import norm

MOMENTUM = 0.01  # share of a new batch in the running statistics: C keeps 0.99 of the old
NORM_PARAMETERS = {
    "biases": "bias",
    "scales": "weight",
    "rolling_mean": "running_mean",
    "rolling_variance": "running_var",
}


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm with a dialect's divisor, for maps and vectors.

    Divides by sqrt(variance + variance_epsilon) + deviation_epsilon at inference. In training
    the divisor is sqrt(variance + batch_epsilon), as in the GPU code of both C programs.

    Args:
        channels: of the input.
        dialect: whose divisor it is.
        own_input: nobody else holds the input, so it may be overwritten.

    Attributes:
        train_forward: what computes it in training, in place of torch's own.
    """

    train_forward: "Callable[[BatchNorm, Tensor], Tensor] | None" = None

    def __init__(self, channels: int, dialect: Dialect, *, own_input: bool = False) -> None:
        super().__init__(channels, eps=dialect.batch_epsilon, momentum=MOMENTUM)
        self.num_batches_tracked = None
        self.dialect = dialect
        self.own_input = own_input

    def forward(self, x: Tensor) -> Tensor:
        """Normalise channel axis 1."""
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
        # over its input where it may be: a new map costs more than to compute it
        if self.own_input and is_plain_cpu(x) and x.dtype == self.weight.dtype:
            unused = x.new_empty(0)
            statistics = (mean, variance, False, MOMENTUM, epsilon)
            out = (x, unused, unused)
            return torch.native_batch_norm(x, self.weight, self.bias, *statistics, out=out)[0]
        return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=epsilon)

    def reset_parameters(self) -> None:
        """Set initial values; not on the meta device, where the arrays of a model follow."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def _check_input_dim(self, x: Tensor) -> None:
        pass

    def _load_from_state_dict(self, *arguments: Any) -> None:
        # torch's own asks plain dicts for the counter of batches, which there is none of
        nn.Module._load_from_state_dict(self, *arguments)


def is_plain_cpu(x: Tensor) -> bool:
    """Whether x is computed on the CPU as the code says it, with no gradient or graph to come."""
    is_recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not is_recorded


def norm_table(prefix: str) -> dict[str, str]:
    """Parameter table of a batch norm under `prefix`."""
    return {slot: f"{prefix}.{name}" for slot, name in NORM_PARAMETERS.items()}


@BUILDERS.register(norm.Batchnorm)
def build_batchnorm(layer: Layer, _: Network) -> nn.Module:
    """Pjreddie's has no bias: it stays zero."""
    module = BatchNorm(layer.out_shape.c, layer.spec.dialect)
    if not layer.spec.dialect.batchnorm_has_biases:
        module.register_parameter("bias", None)
    return module


@PARAMETERS.register(norm.Batchnorm)
def batchnorm_parameters(layer: Layer) -> ParameterTable:
    """The module is the batch norm itself."""
    return NORM_PARAMETERS


class Normalization(nn.Module):
    """See `darkconv.layers.norm.Normalization`."""

    def __init__(self, spec: norm.Normalization) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        """In * norm ^ -beta."""
        spec = self.spec
        square = x * x
        before, after = (spec.size - 1) // 2, spec.size // 2
        padded = F.pad(square, (0, 0, 0, 0, before, after))
        window = sum(padded[:, i : i + x.shape[1]] for i in range(spec.size))
        missing = square[:, spec.size // 2].unsqueeze(1)
        return x * (spec.kappa + spec.alpha * (window - missing)) ** -spec.beta


@BUILDERS.register(norm.Normalization)
def build_normalization(layer: Layer, _: Network) -> nn.Module:
    """Local response normalisation."""
    assert isinstance(layer.spec, norm.Normalization)
    return Normalization(layer.spec)


class L2norm(nn.Module):
    """Each pixel divided by the length of its channel vector."""

    def forward(self, x: Tensor) -> Tensor:
        """No epsilon."""
        return x / (x * x).sum(1, keepdim=True).sqrt()


@BUILDERS.register(norm.L2norm)
def build_l2norm(layer: Layer, _: Network) -> nn.Module:
    """L2 norm over channels."""
    return L2norm()


@BUILDERS.register(norm.Activation)
def build_activation_layer(layer: Layer, _: Network) -> nn.Module:
    """The function by itself."""
    assert isinstance(layer.spec, norm.Activation)
    return build_activation(layer.spec.activation)


@BUILDERS.register(norm.Logistic)
def build_logistic(layer: Layer, _: Network) -> nn.Module:
    """Sigmoid."""
    return Activation("logistic")


class Softmax(nn.Module):
    """Softmax over `groups` equal parts of the flattened input, or over a tree's groups."""

    def __init__(self, spec: norm.Softmax, tree: Tree | None) -> None:
        super().__init__()
        self.spec = spec
        self.tree = tree

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, values)."""
        flat = x.flatten(1) / self.spec.temperature
        if self.tree:
            return tree_softmax(flat, self.tree)
        parts = flat.reshape(flat.shape[0], self.spec.groups, -1)
        values = torch.softmax(parts, -1).flatten(1)
        keep = self.spec.keep_classes
        return values[:, list(keep)] if keep else values


def tree_softmax(x: Tensor, tree: Tree, dim: int = 1) -> Tensor:
    """One softmax per group of siblings along `dim`; values behind the tree stay."""
    counts = [count for _, count in tree.groups]
    rest = x.shape[dim] - sum(counts)
    parts = x.split([*counts, rest] if rest else counts, dim)
    siblings = [torch.softmax(part, dim) for part in parts[: len(counts)]]
    return torch.cat([*siblings, *parts[len(counts) :]], dim)


@BUILDERS.register(norm.Softmax)
def build_softmax(layer: Layer, network: Network) -> nn.Module:
    """With the class tree, if the cfg names one."""
    assert isinstance(layer.spec, norm.Softmax)
    return Softmax(layer.spec, norm.required_tree(layer, network, layer.in_shapes[0].size))
