"""Darknet's forward pass in plain float64 numpy, to check the package against.

Written from the specification of the two C programs' behaviour, independent of the package:
of a model it reads the sections' text, the arrays, the class trees and the dialect's name, and
shares no code with the layers or the backends. Slow and simple on purpose.

Where the C code is defective, the behaviour is the one that the specification recommends.
Not here: [conv_lstm] with bottleneck=1, which cannot run on the CPU.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

LOWEST = -float(np.finfo(np.float32).max)

ALIASES = {
    "conv": "convolutional",
    "deconv": "deconvolutional",
    "conn": "connected",
    "max": "maxpool",
    "avg": "avgpool",
    "local_avg": "local_avgpool",
    "lrn": "normalization",
    "soft": "softmax",
    "silence": "empty",
}

PASSED_ON = (
    "activation",
    "batch_normalize",
    "stride",
    "dilation",
    "pad",
    "padding",
    "groups",
    "xnor",
)
"""The options that sub-layers take from their recurrent layer."""


def run(model, inputs):
    """The output of every layer, for each of several successive calls.

    Recurrent state starts at zero and is kept between the calls. Maps are (C, H, W), plain
    vectors 1-D. An input is (C, H, W), or a vector for networks without pictures.
    """
    layers = [read_layer(model, index) for index in range(len(model.network.layers))]
    drop_binary_activations(layers)
    return [forward(layers, np.asarray(x, np.float64)) for x in inputs]


def forward(layers, x):
    """One call: the output of every layer in file order."""
    outputs = []
    for layer in layers:
        x = LAYERS[layer.type](layer, x, outputs)
        outputs.append(x)
    return outputs


# --- What a layer is: the text of its section, its arrays, its state


@dataclass
class Layer:
    """One section, with everything that its forward pass needs except the input."""

    index: int
    type: str
    text: dict[str, str]
    dialect: str
    every_array: dict[str, np.ndarray]
    parents: tuple[int, ...] | None
    state: dict[str, Any]
    shares: int | None = None
    prefix: str = ""

    @property
    def is_fork(self):
        """Whether the maintained fork's rules hold."""
        return self.dialect in ("alexeyab", "yolor")

    @property
    def is_yolor(self):
        """Whether the PyTorch program yolor's rules hold."""
        return self.dialect == "yolor"

    def int(self, key, default=0):
        """An integer option."""
        return atoi(self.text[key]) if key in self.text else default

    def float(self, key, default):
        """A real option."""
        return atof(self.text[key]) if key in self.text else default

    def str(self, key, default):
        """A word."""
        return self.text.get(key, default)

    def ints(self, key):
        """A list of integers, separated by commas."""
        return [atoi(part) for part in self.text[key].split(",") if part]

    def sources(self, key):
        """Absolute numbers of the layers that an option names."""
        return [i if i >= 0 else self.index + i for i in self.ints(key)]

    def strides(self):
        """Vertical and horizontal stride."""
        stride = self.int("stride", 1)
        if not self.is_fork:
            return stride, stride
        return self.int("stride_y", stride), self.int("stride_x", stride)

    def array(self, name):
        """An array of this layer, or of the layer that it shares with."""
        owner = self.index if self.shares is None else self.shares
        return np.asarray(self.every_array[f"{owner}.{self.prefix}{name}"], np.float64)

    def has(self, name):
        """Whether the layer has such an array."""
        return f"{self.index}.{self.prefix}{name}" in self.every_array

    def sub(self, name, **text):
        """A sub-layer of a recurrent layer, which sees some of its options."""
        passed = {key: self.text[key] for key in PASSED_ON if key in self.text}
        changed = {key: str(value) for key, value in text.items()}
        return replace(self, prefix=f"{name}.", text={**passed, **changed})


def read_layer(model, index):
    """A layer of the model, reduced to text and arrays."""
    placed = model.network.layers[index]
    text = {key: line.value or "" for key, line in placed.section.options().items()}
    name = placed.section.name
    parents = tuple(placed.tree.parents) if placed.tree is not None else None
    dialect = model.dialect.name
    layer = Layer(index, ALIASES.get(name, name), text, dialect, model.arrays, parents, {})
    if layer.type == "convolutional" and layer.is_fork and "share_index" in text:
        layer.shares = owner_of_arrays(model, index)
    return layer


def owner_of_arrays(model, index):
    """Follow share_index to the layer that has the arrays."""
    options = model.network.layers[index].section.options()
    if "share_index" not in options:
        return index
    shared = atoi(options["share_index"].value)
    return owner_of_arrays(model, shared if shared >= 0 else index + shared)


def atoi(text):
    """C's atoi."""
    found = re.match(r"\s*[+-]?\d+", text)
    return int(found[0]) if found else 0


def atof(text):
    """C's atof, for decimal numbers."""
    found = re.match(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text)
    return float(found[0]) if found else 0.0


def idiv(a, b):
    """C's integer division, which truncates toward zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def drop_binary_activations(layers):
    """bin_output=1: linear, unless a route or an elementwise layer reads the layer."""
    for layer in layers:
        if layer.is_fork and layer.type == "convolutional" and layer.int("xnor"):
            readers = [other for other in layers if layer.index in elementwise_sources(other)]
            if layer.int("bin_output") and not readers:
                layer.text["activation"] = "linear"


def elementwise_sources(layer):
    """The layers that a route, shortcut, scale_channels or sam reads."""
    if layer.type == "route":
        return layer.sources("layers")
    if layer.type in ("shortcut", "scale_channels", "sam"):
        return [layer.index - 1, *layer.sources("from")]
    return []


# --- Activations


def logistic(x):
    """1 / (1 + e^-x), without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def elu(x):
    """e^x - 1 below 0."""
    return np.where(x >= 0, x, np.exp(np.minimum(x, 0)) - 1)


def selu(x):
    """Elu with two constants."""
    return np.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * (np.exp(np.minimum(x, 0)) - 1))


def plse(x):
    """Piecewise linear, steep around 0."""
    low, high = 0.01 * (x + 4), 0.01 * (x - 4) + 1
    return np.where(x < -4, low, np.where(x > 4, high, 0.125 * x + 0.5))


def stair(x):
    """Flat over even unit steps, rising over odd ones."""
    n = np.floor(x)
    return np.where(n % 2 == 0, np.floor(x / 2), (x - n) + np.floor(x / 2))


def lhtan(x):
    """A slope of 0.001 outside 0..1."""
    return np.where(x < 0, 0.001 * x, np.where(x > 1, 0.001 * (x - 1) + 1, x))


def gelu(x):
    """By the tanh approximation."""
    return 0.5 * x * (1 + np.tanh(0.797885 * x + 0.035677 * x**3))


def softplus(x):
    """With the thresholds of mish."""
    middle = np.log(1 + np.exp(np.clip(x, -20, 20)))
    return np.where(x > 20, x, np.where(x < -20, np.exp(np.minimum(x, 0)), middle))


def hard_mish(x):
    """A parabola between -2 and 0."""
    return np.where(x > 0, x, np.where(x > -2, x**2 / 2 + x, 0))


def normalize_channels(x):
    """The share of the positive part of a pixel's channels."""
    positive = np.maximum(x, 0)
    return positive / (0.0001 + positive.sum(axis=0))


def normalize_channels_softmax(x):
    """Softmax over a pixel's channels, no maximum subtracted, so that float32 may overflow."""
    e = np.exp(x)
    total = 0.0001 + e.sum(axis=0)
    return np.where(total > -LOWEST, np.nan, e / total)


def normalize_channels_softmax_maxval(x):
    """Softmax over a pixel's channels, their maximum subtracted."""
    return normalize_channels_softmax(x - x.max(axis=0))


ACTIVATIONS = {
    "linear": lambda x: x,
    "logistic": logistic,
    "loggy": lambda x: 2 * logistic(x) - 1,
    "relu": lambda x: np.maximum(x, 0),
    "elu": elu,
    "selu": selu,
    "relie": lambda x: np.where(x > 0, x, 0.01 * x),
    "ramp": lambda x: np.maximum(x, 0) + 0.1 * x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "tanh": np.tanh,
    "plse": plse,
    "stair": stair,
    "hardtan": lambda x: np.clip(x, -1, 1),
    "lhtan": lhtan,
}

FORK_ACTIVATIONS = {
    "gelu": gelu,
    "revleaky": ACTIVATIONS["leaky"],
    "relu6": lambda x: np.clip(x, 0, 6),
    "swish": lambda x: x * logistic(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "hard_mish": hard_mish,
    "normalize_channels": normalize_channels,
    "normalize_channels_softmax": normalize_channels_softmax,
    "normalize_channels_softmax_maxval": normalize_channels_softmax_maxval,
}


def activate(layer, x, default="logistic"):
    """The layer's activation; an unknown name means relu."""
    known = {**ACTIVATIONS, **FORK_ACTIVATIONS} if layer.is_fork else ACTIVATIONS
    return known.get(layer.str("activation", default), ACTIVATIONS["relu"])(x)


# --- Batch norm


def along(values, x):
    """One value per channel, shaped to meet x."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


def deviation(layer):
    """What batch norm divides by."""
    variance = layer.array("rolling_variance")
    if layer.is_yolor:
        return np.sqrt(variance + 0.0001)
    return np.sqrt(variance + 0.00001) if layer.is_fork else np.sqrt(variance) + 0.000001


def normalize(layer, x):
    """Batch norm without the bias."""
    factor = layer.array("scales") / deviation(layer)
    return (x - along(layer.array("rolling_mean"), x)) * along(factor, x)


def has_batch_norm(layer):
    """Whether outputs are normalised; cbn=1 of the fork asks for it too."""
    return bool(layer.int("batch_normalize") or (layer.is_fork and layer.int("cbn")))


def finish(layer, x):
    """Batch norm, where the layer has it, and bias."""
    if has_batch_norm(layer):
        x = normalize(layer, x)
    return x + along(layer.array("biases"), x)


# --- Windows over a map


def taps(x, size, strides, start, step, out, fill):
    """What each tap of a window reads, as [size][size] maps (C, *out).

    Tap (i, j) at output (y, x) reads start + step * i + stride * y, likewise for the column;
    `fill` outside the map.
    """
    c, h, w = x.shape
    found = np.full((size, size, c, *out), fill)
    for i in range(size):
        for j in range(size):
            rows = start + step * i + strides[0] * np.arange(out[0])
            columns = start + step * j + strides[1] * np.arange(out[1])
            for y, row in enumerate(rows):
                for at, column in enumerate(columns):
                    if 0 <= row < h and 0 <= column < w:
                        found[i, j, :, y, at] = x[:, row, column]
    return found


def out_size(x, padding, size, strides):
    """Height and width of an output, for the padding of both sides together."""
    _, h, w = x.shape
    return tuple(
        idiv(n + padding - size, stride) + 1 for n, stride in zip((h, w), strides, strict=True)
    )


def blur(x, kind, strides):
    """The depthwise blur of antialiasing."""
    if kind == 2:
        kernel, padding = np.full((2, 2), 1 / 4), 0
    else:
        kernel, padding = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16, 1
    size = len(kernel)
    out = out_size(x, 2 * padding, size, strides)
    return np.einsum("ij,ijcyx->cyx", kernel, taps(x, size, strides, -padding, 1, out, 0.0))


# --- Convolution


def half_or_given_padding(layer, size):
    """Padding of one side: pad=1 means half the size, whatever padding= says."""
    return size // 2 if layer.int("pad") else layer.int("padding")


def correlate(x, weights, size, strides, padding, dilation, groups, fill=0.0):
    """Grouped cross-correlation."""
    out = out_size(x, 2 * padding, size, strides)
    read = taps(x, size, strides, -padding * dilation, dilation, out, fill)
    weights = weights.reshape(groups, len(weights) // groups, -1, size, size)
    read = read.reshape(size, size, groups, -1, *out)
    return np.einsum("gncij,ijgcyx->gnyx", weights, read).reshape(-1, *out)


def read_by_groups(layer, x, groups):
    """The channels that groups read: where they do not divide them, some are left out.

    The original program spreads the groups over all channels, the fork lays them end to end.
    """
    c = len(x)
    starts = [j * (c // groups) if layer.is_fork else j * c // groups for j in range(groups)]
    return np.concatenate([x[start : start + c // groups] for start in starts])


def signs(x):
    """+1 for values above zero, else -1."""
    return np.where(x > 0, 1.0, -1.0)


def binary_weights(weights):
    """Each filter's signs times its mean magnitude."""
    return signs(weights) * np.abs(weights).mean(axis=(1, 2, 3), keepdims=True)


def convolutional(layer, x, outputs=None):
    """Convolution, batch norm or bias, activation, blur."""
    size, strides = layer.int("size", 1), layer.strides()
    kind = layer.int("antialiasing") if layer.is_fork else 0
    x = convolve(layer, x, size, (1, 1) if kind else strides)
    x = activate(layer, x)
    return blur(x, kind, strides) if kind else x


def convolve(layer, x, size, strides):
    """Convolution with batch norm or bias."""
    weights, groups = layer.array("weights"), layer.int("groups", 1)
    groups = max(groups, 1) if layer.is_fork else groups
    if not (layer.is_fork and layer.int("xnor")):
        x = read_by_groups(layer, x, groups)
    padding = half_or_given_padding(layer, size)
    dilation = layer.int("dilation", 1) if layer.is_fork and size > 1 else 1
    if not layer.int("xnor"):
        x = correlate(x, weights, size, strides, padding, dilation, groups)
        return finish(layer, x)
    if not layer.is_fork:
        x = correlate(signs(x), binary_weights(weights), size, strides, padding, 1, groups)
        return finish(layer, x)
    biases = layer.array("biases")
    if has_batch_norm(layer):
        factor = layer.array("scales") / deviation(layer)
        weights = weights * along(factor, weights)
        biases = biases - layer.array("rolling_mean") * factor
    weights = binary_weights(weights)
    x = correlate(signs(x), weights, size, strides, padding, dilation, 1, fill=-1.0)
    return x + along(biases, x)


def deconvolutional(layer, x, outputs):
    """Transposed convolution."""
    size, stride = layer.int("size", 1), layer.int("stride", 1)
    padding = half_or_given_padding(layer, size)
    weights = layer.array("weights")
    _, h, w = x.shape
    whole = np.zeros((weights.shape[1], (h - 1) * stride + size, (w - 1) * stride + size))
    for y in range(h):
        for at in range(w):
            part = np.einsum("c,cnij->nij", x[:, y, at], weights)
            whole[:, y * stride : y * stride + size, at * stride : at * stride + size] += part
    _, h, w = whole.shape
    return activate(layer, finish(layer, whole[:, padding : h - padding, padding : w - padding]))


def local(layer, x, outputs):
    """Convolution with filters of its own at every place."""
    size, stride, pad = layer.int("size", 1), layer.int("stride", 1), layer.int("pad")
    filters = layer.int("filters", 1)
    c, h, w = x.shape
    out = tuple(idiv(n - (1 if pad else size), stride) + 1 for n in (h, w))
    read = taps(x, size, (stride, stride), -pad, 1, out, 0.0)
    weights = layer.array("weights").reshape(*out, filters, c, size, size)
    y = np.einsum("yxncij,ijcyx->nyx", weights, read)
    return activate(layer, y + layer.array("biases").reshape(filters, *out))


# --- Pooling


def maxpool(layer, x, outputs):
    """Maximum of a window, of the cells inside the map."""
    if layer.is_fork and layer.int("maxpool_depth"):
        return maxpool_depth(layer, x)
    strides = layer.strides()
    kind = layer.int("antialiasing") if layer.is_fork else 0
    read = pool_taps(layer, x, (1, 1) if kind else strides, LOWEST)
    x = read.max(axis=(0, 1))
    return blur(x, kind, strides) if kind else x


def pool_taps(layer, x, strides, fill):
    """What the windows of a pooling layer read."""
    size = layer.int("size", layer.int("stride", 1))
    padding = layer.int("padding", size - 1)
    out = out_size(x, padding, size, strides)
    return taps(x, size, strides, -idiv(padding, 2), 1, out, fill)


def maxpool_depth(layer, x):
    """Maximum of every out_channels-th channel."""
    count = layer.int("out_channels", 1)
    return np.stack([x[k::count].max(axis=0, initial=LOWEST) for k in range(count)])


def avgpool(layer, x, outputs):
    """Mean of each channel."""
    return x.mean(axis=(1, 2)).reshape(-1, 1, 1)


def local_avgpool(layer, x, outputs):
    """Mean of a window, of the cells inside the map."""
    strides = layer.strides()
    total = pool_taps(layer, x, strides, 0.0).sum(axis=(0, 1))
    return total / pool_taps(layer, np.ones_like(x), strides, 0.0).sum(axis=(0, 1))


# --- Shapes


def upsample(layer, x, outputs):
    """Nearest neighbour enlargement, or the sums of blocks."""
    stride, scale = layer.int("stride", 2), layer.float("scale", 1)
    c, h, w = x.shape
    if stride >= 0:
        return scale * x.repeat(stride, axis=1).repeat(stride, axis=2)
    s = -stride
    y = np.zeros((c, h // s, w // s))
    for row in range(h // s):
        for column in range(w // s):
            block = x[:, row * s : row * s + s, column * s : column * s + s]
            y[:, row, column] = scale * block.sum(axis=(1, 2))
    return y


def reorg_shape(x, stride, reverse):
    """The declared shape of a reorganised map."""
    c, h, w = x.shape
    if reverse:
        return c // stride**2, h * stride, w * stride
    return c * stride**2, h // stride, w // stride


def reorganised(x, base, stride, reverse, out):
    """Permute the flat map by the index rule of the base shape."""
    c, h, w = base
    q = c // stride**2
    x, y = x.ravel(), np.zeros(int(np.prod(out)))
    for k in range(c):
        for j in range(h):
            for i in range(w):
                o = k // q
                small = i + w * (j + h * k)
                row = (j * stride + o // stride) + h * stride * (k % q)
                large = (i * stride + o % stride) + w * stride * row
                if reverse:
                    y[large] = x[small]
                else:
                    y[small] = x[large]
    return y.reshape(out)


def reorg(layer, x, outputs):
    """The historical reorganisation; flatten and extra in the original program.

    In yolor the four maps of every second row and column, one behind the other.
    """
    if layer.is_yolor:
        even, odd = x[:, ::2], x[:, 1::2]
        return np.concatenate([even[..., ::2], odd[..., ::2], even[..., 1::2], odd[..., 1::2]])
    stride, reverse = layer.int("stride", 1), layer.int("reverse")
    out = reorg_shape(x, stride, reverse)
    if not layer.is_fork and layer.int("flatten"):
        c, h, w = x.shape
        return (x.reshape(h * w, c) if reverse else x.reshape(c, h * w)).T.reshape(out)
    if not layer.is_fork and layer.int("extra"):
        return np.concatenate([x.ravel(), np.zeros(layer.int("extra"))])
    return reorganised(x, x.shape, stride, reverse, out)


def reorg3d(layer, x, outputs):
    """Space to depth."""
    stride, reverse = layer.int("stride", 1), layer.int("reverse")
    out = reorg_shape(x, stride, reverse)
    return reorganised(x, out, stride, reverse, out)


def route(layer, x, outputs):
    """Concatenation of parts of sources."""
    sources = [outputs[i] for i in layer.sources("layers")]
    groups = layer.int("groups", 1) if layer.is_fork else 1
    group = layer.int("group_id") if layer.is_fork else 0
    parts = [s.ravel() for s in sources]
    parts = [p[len(p) // groups * group : len(p) // groups * (group + 1)] for p in parts]
    flat = np.concatenate(parts)
    if any(s.ndim == 1 or s.shape[1:] != sources[0].shape[1:] for s in sources):
        return flat
    return flat.reshape(sum(len(s) for s in sources) // groups, *sources[0].shape[1:])


def crop(layer, x, outputs):
    """The middle of the map, from 0..1 to -1..1."""
    height, width = layer.int("crop_height", 1), layer.int("crop_width", 1)
    _, h, w = x.shape
    top, left = idiv(h - height, 2), idiv(w - width, 2)
    x = x[:, top : top + height, left : left + width]
    return x if layer.int("noadjust") else x * 2 - 1


def history(layer, x, outputs):
    """With one time step the first copy alone is filled."""
    rest = np.zeros((len(x) * (layer.int("history_size", 4) - 1), *x.shape[1:]))
    return np.concatenate([x, rest])


def identity(layer, x, outputs):
    """What comes in."""
    return x


def zeros(layer, x, outputs):
    """A layer that computes nothing outside training."""
    return np.zeros(x.size)


# --- Sums and products of layers


def shortcut(layer, x, outputs):
    """The previous layer plus others, by the dialect's rule."""
    sources = [outputs[i] for i in layer.sources("from")]
    is_alike = all(s.shape[1:] == x.shape[1:] for s in sources)
    is_plain = layer.is_fork and is_alike
    y = added(layer, x, sources) if is_plain else resampled_sum(layer, x, sources[0])
    return activate(layer, y, "linear")


def resampled_sum(layer, x, source):
    """The shortcut of the original program, and of the fork in 2019: between maps of any size."""
    alpha, beta = layer.float("alpha", 1), layer.float("beta", 1)
    if layer.is_fork:
        alpha = beta = 1
    (c1, h1, w1), (c2, h2, w2) = source.shape, x.shape
    stride, sample = max(1, w1 // w2), max(1, w2 // w1)
    y = x.copy()
    for j in range(min(h1, h2)):
        for i in range(min(w1, w2)):
            for k in range(min(c1, c2)):
                mine, other = (k, j * sample, i * sample), (k, j * stride, i * stride)
                y[mine] = alpha * x[mine] + beta * source[other]
    return y


def added(layer, x, sources):
    """The fork's shortcut: any number of sources, perhaps weighted."""
    weights = np.ones((len(sources) + 1, len(x)))
    if layer.str("weights_type", "none") != "none":
        given = layer.array("weights").reshape(len(sources) + 1, -1)
        weights *= normalized_weights(layer, given)
    y = x * along(weights[0], x)
    for source, weight in zip(sources, weights[1:], strict=True):
        c = min(len(x), len(source))
        y[:c] += source[:c] * along(weight[:c], x)
    return y


def normalized_weights(layer, weights):
    """Weights of a shortcut's sources, per channel or for all channels together."""
    if layer.str("weights_normalization", "none") == "softmax":
        weights = np.exp(weights - weights.max(axis=0))
    else:
        weights = np.maximum(weights, 0)
    return weights / (0.0001 + weights.sum(axis=0))


def scale_channels(layer, x, outputs):
    """An earlier map times one value per channel, or per pixel."""
    (source,) = (outputs[i] for i in layer.sources("from"))
    if layer.int("scale_wh"):
        return activate(layer, source * x.reshape(1, *source.shape[1:]), "linear")
    return activate(layer, source * x.reshape(-1, 1, 1), "linear")


def sam(layer, x, outputs):
    """The product with an earlier map."""
    (source,) = (outputs[i] for i in layer.sources("from"))
    return activate(layer, x * source, "linear")


def implicit(layer, x, outputs):
    """The layer's own weights, whatever comes in."""
    return layer.array("weights").reshape(layer.int("filters", 128), layer.int("atoms", 1), 1)


def yolor_constant(layer, x, outputs):
    """The layer's own weights, one for each channel."""
    return layer.array("weights").reshape(-1, 1, 1)


def shift_channels(layer, x, outputs):
    """A value added to each channel."""
    return x + outputs[layer.sources("from")[0]]


def control_channels(layer, x, outputs):
    """Each channel times a value."""
    return x * outputs[layer.sources("from")[0]]


# --- Normalisation and elementwise layers


def batchnorm(layer, x, outputs):
    """Batch norm on its own; the original program has no bias here."""
    y = normalize(layer, x)
    return y + along(layer.array("biases"), y) if layer.has("biases") else y


def normalization(layer, x, outputs):
    """Local response normalisation, without the square that both programs lose."""
    size, kappa = layer.int("size", 5), layer.float("kappa", 1)
    alpha, beta = layer.float("alpha", 0.0001), layer.float("beta", 0.75)
    squares, y = x**2, np.empty_like(x)
    for k in range(len(x)):
        window = squares[max(0, k - (size - 1) // 2) : k + size // 2 + 1]
        y[k] = x[k] * (kappa + alpha * (window.sum(axis=0) - squares[size // 2])) ** -beta
    return y


def l2norm(layer, x, outputs):
    """Each pixel's channels scaled to length 1."""
    return x / np.sqrt((x**2).sum(axis=0))


def activation(layer, x, outputs):
    """An activation on its own."""
    return activate(layer, x, "linear")


def logistic_layer(layer, x, outputs):
    """Logistic of everything."""
    return logistic(x)


def softmax(x, temperature=1.0):
    """Over the first axis."""
    e = np.exp((x - x.max(axis=0, initial=LOWEST)) / temperature)
    return e / e.sum(axis=0)


def softmax_of_siblings(x, parents, temperature=1.0):
    """Over each run of classes with the same parent; classes are the first axis."""
    y, start = np.empty_like(x), 0
    for end in range(1, len(parents) + 1):
        if end == len(parents) or parents[end] != parents[start]:
            y[start:end] = softmax(x[start:end], temperature)
            start = end
    return y


def softmax_layer(layer, x, outputs):
    """Softmax of equal parts, or of the siblings in a tree; the output is flat."""
    x, temperature = x.ravel(), layer.float("temperature", 1)
    if layer.parents is not None:
        return softmax_of_siblings(x, layer.parents, temperature)
    parts = np.split(x, layer.int("groups", 1))
    return np.concatenate([softmax(part, temperature) for part in parts])


def iseg(layer, x, outputs):
    """Logistic of the classes alone."""
    classes = layer.int("classes", 20)
    return np.concatenate([logistic(x[:classes]), x[classes:]])


# --- Connected and recurrent layers


def connect(layer, x):
    """Matrix, batch norm or bias."""
    return finish(layer, layer.array("weights") @ x.ravel())


def connected(layer, x, outputs):
    """A matrix with an activation."""
    return activate(layer, connect(layer, x).reshape(-1, 1, 1))


def remembered(layer, name, shape):
    """The state of a recurrent layer: zero at first."""
    return layer.state.get(name, np.zeros(shape))


def rnn(layer, x, outputs):
    """A plain recurrent layer of three connected ones."""
    size = layer.int("output", 1)
    hidden = layer.int("hidden", 1) if layer.is_fork else size
    h = remembered(layer, "h", hidden)
    kind = layer.int("logistic") if layer.is_fork else 0
    name = {1: "logistic", 2: "loggy"}.get(kind, layer.str("activation", "logistic"))
    a = activate(layer, connect(layer.sub("input_layer"), x))
    b = activate(layer.sub("self_layer", activation=name), connect(layer.sub("self_layer"), h))
    h = a + b + (h if layer.int("shortcut") else 0)
    layer.state["h"] = h
    y = activate(layer, connect(layer.sub("output_layer"), h))
    return y.reshape(-1, 1, 1) if layer.is_fork else y


def gru(layer, x, outputs):
    """Gated recurrent unit."""
    names = ("input_{}_layer", "state_{}_layer") if layer.is_fork else ("u{}", "w{}")

    def gate(letter, state):
        on_input, on_state = (layer.sub(name.format(letter)) for name in names)
        return connect(on_input, x) + connect(on_state, state)

    h = remembered(layer, "h", layer.int("output", 1))
    z, r = logistic(gate("z", h)), logistic(gate("r", h))
    squash = np.tanh if not layer.is_fork and layer.int("tanh") else logistic
    h = z * h + (1 - z) * squash(gate("h", r * h))
    layer.state["h"] = h
    return h


def lstm(layer, x, outputs):
    """Long short-term memory."""
    size = layer.int("output", 1)
    h, c = remembered(layer, "h", size), remembered(layer, "c", size)

    def gate(letter):
        return connect(layer.sub(f"w{letter}"), h) + connect(layer.sub(f"u{letter}"), x)

    f, i, o = (logistic(gate(letter)) for letter in "fio")
    c = f * c + i * np.tanh(gate("g"))
    h = o * np.tanh(c)
    layer.state.update(h=h, c=c)
    return h.reshape(-1, 1, 1) if layer.is_fork else h


def crnn(layer, x, outputs):
    """A plain recurrent layer of three convolutions.

    The original program exchanges height and width of the map.
    """
    if layer.is_fork:
        hidden, text = layer.int("hidden", 1), {"size": layer.int("size", 3)}
    else:
        hidden, text = layer.int("hidden_filters", 1), {"size": 3, "stride": 1, "pad": 1}
        text["groups"] = 1
        x = x.reshape(len(x), x.shape[2], x.shape[1])
    h = remembered(layer, "h", (hidden, *x.shape[1:]))
    a = convolutional(layer.sub("input_layer", **text), x)
    b = convolutional(layer.sub("self_layer", **text), h)
    h = a + b + (h if layer.int("shortcut") else 0)
    layer.state["h"] = h
    return convolutional(layer.sub("output_layer", **text), h)


def conv_lstm(layer, x, outputs):
    """Long short-term memory of convolutions."""
    shape = (layer.int("output", 1), *x.shape[1:])
    h, c = remembered(layer, "h", shape), remembered(layer, "c", shape)
    peephole = layer.int("peephole")
    text = {"size": layer.int("size", 3), "activation": layer.str("activation", "linear")}

    def gate(letter, cell=None):
        total = convolutional(layer.sub(f"w{letter}", **text), h)
        total = total + convolutional(layer.sub(f"u{letter}", **text), x)
        if peephole and cell is not None:
            total = total + convolutional(layer.sub(f"v{letter}", **text), cell)
        return total

    f, i, g = logistic(gate("f", c)), logistic(gate("i", c)), np.tanh(gate("g"))
    c = f * c + i * g
    h = logistic(gate("o", c)) * np.tanh(c)
    limit = layer.int("state_constrain", 32)
    layer.state.update(h=h, c=np.clip(c, -limit, limit) if limit else c)
    return h


# --- Detection heads


def anchors_used(layer):
    """How many anchors a yolo head predicts with."""
    return len(layer.ints("mask")) if "mask" in layer.text else layer.int("num", 1)


def scaled(layer, position):
    """A box's place in its cell after scale_x_y."""
    s = layer.float("scale_x_y", 1) if layer.is_fork else 1.0
    return position * s - 0.5 * (s - 1)


def yolo(layer, x, outputs):
    """Per anchor x, y, w, h, objectness, classes: logistic on all but w and h."""
    y = x.reshape(anchors_used(layer), layer.int("classes", 20) + 5, *x.shape[1:]).copy()
    if layer.is_yolor:
        y = logistic(y)
        y[:, :2] = 2 * y[:, :2] - 0.5
        return y.reshape(x.shape)
    if not (layer.is_fork and layer.int("new_coords")):
        y[:, :2] = logistic(y[:, :2])
        y[:, 4:] = logistic(y[:, 4:])
    y[:, :2] = scaled(layer, y[:, :2])
    return y.reshape(x.shape)


def gaussian_yolo(layer, x, outputs):
    """As yolo, with a deviation after each of the four coordinates."""
    y = x.reshape(anchors_used(layer), layer.int("classes", 20) + 9, *x.shape[1:]).copy()
    for k in range(y.shape[1]):
        if k not in (4, 6):
            y[:, k] = logistic(y[:, k])
    for k in (0, 2):
        y[:, k] = scaled(layer, y[:, k])
    return y.reshape(x.shape)


def region(layer, x, outputs):
    """The head of the second generation."""
    coords, classes = layer.int("coords", 4), layer.int("classes", 20)
    y = x.reshape(layer.int("num", 1), coords + 1 + classes, *x.shape[1:]).copy()
    for entry in y:
        region_entry(layer, entry, coords)
    if layer.is_fork:
        return y.transpose(2, 3, 0, 1).reshape(x.shape)
    return y.reshape(x.shape)


def region_entry(layer, entry, coords):
    """One anchor of a region layer, changed in place; its channels are the first axis."""
    background = not layer.is_fork and bool(layer.int("background"))
    if not layer.is_fork:
        entry[:2] = logistic(entry[:2])
    if not background:
        entry[coords] = logistic(entry[coords])
    if layer.parents is not None:
        entry[coords + 1 :] = softmax_of_siblings(entry[coords + 1 :], layer.parents)
    elif layer.int("softmax"):
        first = coords if background else coords + 1
        entry[first:] = softmax(entry[first:])
    elif not layer.is_fork:
        entry[coords + 1 :] = logistic(entry[coords + 1 :])


def detection(layer, x, outputs):
    """The head of the first generation: a copy, perhaps with softmax of the classes."""
    y = x.flatten()
    if layer.int("softmax"):
        cells, classes = layer.int("side", 7) ** 2, layer.int("classes", 1)
        scores = y[: cells * classes].reshape(cells, classes)
        y[: cells * classes] = softmax(scores.T).T.ravel()
    return y


LAYERS = {
    "Gaussian_yolo": gaussian_yolo,
    "activation": activation,
    "avgpool": avgpool,
    "batchnorm": batchnorm,
    "connected": connected,
    "contrastive": zeros,
    "conv_lstm": conv_lstm,
    "convolutional": convolutional,
    "cost": zeros,
    "crnn": crnn,
    "crop": crop,
    "deconvolutional": deconvolutional,
    "detection": detection,
    "dropout": identity,
    "empty": identity,
    "gru": gru,
    "history": history,
    "implicit": implicit,
    "implicit_add": yolor_constant,
    "implicit_mul": yolor_constant,
    "shift_channels": shift_channels,
    "control_channels": control_channels,
    "iseg": iseg,
    "l2norm": l2norm,
    "local": local,
    "local_avgpool": local_avgpool,
    "logistic": logistic_layer,
    "lstm": lstm,
    "maxpool": maxpool,
    "normalization": normalization,
    "region": region,
    "reorg": reorg,
    "reorg3d": reorg3d,
    "rnn": rnn,
    "route": route,
    "sam": sam,
    "scale_channels": scale_channels,
    "shortcut": shortcut,
    "softmax": softmax_layer,
    "upsample": upsample,
    "yolo": yolo,
}
