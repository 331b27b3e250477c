"""What a good PyTorch user would write for one family of networks: the yardstick for speed.

A bare cfg reader, a module on the meta device, and views of the mapped weights file. It reads
convolutional, maxpool, route, shortcut, upsample, yolo and, as far as its input, region. It has no
dialects, no checks and no other options.
"""

import itertools
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

HEADER = 20
ACTIVATIONS = {
    "leaky": lambda x: functional.leaky_relu(x, 0.1, inplace=True),
    "mish": lambda x: functional.mish(x, inplace=True),
    "swish": lambda x: functional.silu(x, inplace=True),
    "relu": lambda x: functional.relu(x, inplace=True),
    "logistic": torch.sigmoid,
    "linear": lambda x: x,
}


class Conv(nn.Module):
    def __init__(self, channels: int, options: dict[str, str]) -> None:
        super().__init__()
        filters, size = int(options["filters"]), int(options["size"])
        is_normalized = options.get("batch_normalize") == "1"
        self.conv = nn.Conv2d(
            channels,
            filters,
            size,
            int(options.get("stride", 1)),
            size // 2 if options.get("pad") == "1" else 0,
            groups=int(options.get("groups", 1)),
            bias=not is_normalized,
        )
        self.norm = nn.BatchNorm2d(filters, eps=1e-5) if is_normalized else None
        self.activation = ACTIVATIONS[options["activation"]]

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.activation(x if self.norm is None else self.norm(x))


class MaxPool(nn.Module):
    def __init__(self, options: dict[str, str]) -> None:
        super().__init__()
        self.size, self.stride = int(options["size"]), int(options["stride"])

    def forward(self, x: Tensor) -> Tensor:
        before = (self.size - 1) // 2
        after = self.size - 1 - before
        x = functional.pad(x, (before, after, before, after), value=-torch.inf)
        return functional.max_pool2d(x, self.size, self.stride)


class Yolo(nn.Module):
    def __init__(self, options: dict[str, str]) -> None:
        super().__init__()
        self.anchors = len(options["mask"].split(","))
        self.scale = float(options.get("scale_x_y", 1))

    def forward(self, x: Tensor) -> Tensor:
        entries = x.unflatten(1, (self.anchors, -1))
        centre = torch.sigmoid(entries[:, :, :2])
        if self.scale != 1:
            centre = centre * self.scale - 0.5 * (self.scale - 1)
        rest = torch.sigmoid(entries[:, :, 4:])
        return torch.cat([centre, entries[:, :, 2:4], rest], 2).flatten(1, 2)


MODULES = {"maxpool": MaxPool, "yolo": Yolo}


class Plain(nn.Module):
    """The network; `forward` gives the values of each head."""

    def __init__(self, cfg: Path) -> None:
        super().__init__()
        sections = read_sections(cfg)
        self.sections = sections[1:]
        self.shape = tuple(int(sections[0][1][key]) for key in ("channels", "height", "width"))
        self.layers = nn.ModuleList()
        channels: list[int] = []
        for index, (kind, options) in enumerate(self.sections):
            before = channels[-1] if channels else self.shape[0]
            self.layers.append(
                Conv(before, options)
                if kind == "convolutional"
                else MODULES[kind](options)
                if kind in MODULES
                else nn.Identity()
            )
            if kind == "convolutional":
                before = int(options["filters"])
            elif kind == "route":
                parts = sum(channels[source] for source in sources(index, options["layers"]))
                before = parts // int(options.get("groups", 1))
            channels.append(before)

    def forward(self, x: Tensor) -> list[Tensor]:
        values: list[Tensor] = []
        heads = []
        for index, ((kind, options), layer) in enumerate(
            zip(self.sections, self.layers, strict=True)
        ):
            if kind == "route":
                parts = [values[source] for source in sources(index, options["layers"])]
                x = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
                groups = int(options.get("groups", 1))
                x = x.chunk(groups, 1)[int(options.get("group_id", 0))] if groups > 1 else x
            elif kind == "shortcut":
                x = x + values[sources(index, options["from"])[0]]
            elif kind == "upsample":
                x = functional.interpolate(x, scale_factor=int(options["stride"]), mode="nearest")
            else:
                x = layer(x)
            if kind in ("yolo", "region"):
                heads.append(x)
            values.append(x)
        return heads


def sources(index: int, text: str) -> list[int]:
    numbers = map(int, text.split(","))
    return [number if number >= 0 else index + number for number in numbers]


def read_sections(cfg: Path) -> list[tuple[str, dict[str, str]]]:
    """Type and options of each section."""
    found: list[tuple[str, dict[str, str]]] = []
    for line in cfg.read_text().splitlines():
        text = line.partition("#")[0].replace(" ", "")
        if text.startswith("["):
            found.append((text.strip("[]"), {}))
        elif text:
            key, _, value = text.partition("=")
            found[-1][1][key] = value
    return found


def build(cfg: str = "net.cfg", weights: str = "net.weights") -> Plain:
    """Return the module, whose parameters are views of the file."""
    with torch.device("meta"):
        module = Plain(Path(cfg)).eval()
    values = np.memmap(weights, np.float32, "c", offset=HEADER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = torch.from_numpy(values)
    start = 0
    for conv in (layer for layer in module.layers if isinstance(layer, Conv)):
        norm = conv.norm
        places = [(norm, "bias"), (norm, "weight"), (norm, "running_mean"), (norm, "running_var")]
        for owner, name in [*(places if norm else [(conv.conv, "bias")]), (conv.conv, "weight")]:
            old = getattr(owner, name)
            view = flat[start : start + old.numel()].view(old.shape)
            if name in owner._parameters:
                owner._parameters[name] = nn.Parameter(view, requires_grad=False)
            else:
                owner._buffers[name] = view
            start += old.numel()
        if norm:
            norm._buffers["num_batches_tracked"] = torch.zeros((), dtype=torch.long)
    return module


def fold(module: Plain) -> Plain:
    """Batch norms folded into their convolutions."""
    for conv in (layer for layer in module.layers if isinstance(layer, Conv)):
        if conv.norm is not None:
            conv.conv = nn.utils.fusion.fuse_conv_bn_eval(conv.conv, conv.norm)
            conv.norm = None
    return module


def parameters(module: nn.Module) -> int:
    """Values in all parameters and buffers that are floats."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())
