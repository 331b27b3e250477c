"""Random networks, drawn section by section: every layer type with every option.

ORACLE_EXAMPLES=1000 in the environment tries that many networks per test, different ones each
time.
"""

import os

import numpy as np
from hypothesis import HealthCheck, assume, note, settings
from hypothesis import strategies as st

import darkconv as dc
import oracle
from darkconv.core.dialect import DIALECTS
from darkconv.core.network import build_network
from darkconv.core.options import Notes
from darkconv.core.tree import Tree
from darkconv.darknet.cfg import parse_cfg
from effort import share
from networks import cfg_text, random_model

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", 0))
BOTH = ("pjreddie", "alexeyab")
P, A = BOTH
Y = "yolor"
EACH = (*BOTH, Y)


class Draft:
    """A network under construction: sections are drawn to fit the shapes so far."""

    def __init__(self, draw, dialect, shape):
        self.draw, self.dialect, self.input_shape = draw, dialect, shape
        self.body, self.trees, self.net = "", {}, None

    @property
    def is_fork(self):
        return self.dialect in (A, Y)

    @property
    def is_yolor(self):
        return self.dialect == Y

    @property
    def shapes(self):
        """Of the layers, a vector's as (n,)."""
        shapes = self.net.shapes if self.net else ()
        return [tuple(s) if s.is_map else (s.size,) for s in shapes]

    @property
    def shape(self):
        return self.shapes[-1] if self.net else self.input_shape

    @property
    def size(self):
        return int(np.prod(self.shape))

    def add(self, section, **options):
        """Append a section; an option that is None is left out.

        C reads a number up to the first foreign character, and the first of two equal keys.
        """
        given = {key: value for key, value in options.items() if value is not None}
        lines = [f"{key} = {value}" for key, value in given.items()]
        if self.one(False, False, False, True):
            tails = ("" if isinstance(value, str) else "#7" for value in given.values())
            lines = [line + tail for line, tail in zip(lines, tails, strict=True)]
            lines += [f"{key}=1" for key in given]
        self.body += "\n".join([f"[{section}]", *lines, ""])
        if len(self.input_shape) == 1:
            text = f"[net]\ninputs={self.input_shape[0]}\n\n" + self.body
        else:
            text = cfg_text(self.body, self.input_shape)
        config = parse_cfg(text, file="test.cfg")
        self.net = build_network(config, DIALECTS[self.dialect], trees=self.trees, notes=Notes())

    def number(self, low, high):
        return self.draw(st.integers(low, high))

    def one(self, *values):
        return self.draw(st.sampled_from(values))

    def flag(self):
        """An option that is absent, 0 or 1."""
        return self.one(None, 0, 1)

    def activation(self):
        """A name that the dialect knows, an unknown one, or none."""
        names = [*oracle.ACTIVATIONS, *oracle.FORK_ACTIVATIONS, "unheard-of", None]
        return self.one(*names)

    def divisor(self, *counts):
        """A common divisor, to be a number of groups."""
        smallest = min(counts)
        return self.one(*(g for g in range(1, smallest + 1) if not any(n % g for n in counts)))

    def channels(self, count):
        """See to it that the map has so many channels."""
        if self.shape[0] != count:
            self.add("convolutional", filters=count, activation="linear")

    def tree(self, classes):
        """A tree of so many classes, brothers and sisters side by side; or none."""
        if not self.one(False, True):
            return None
        parents = []
        while len(parents) < classes:
            parent = self.number(-1, len(parents) - 1)
            parents += [parent] * self.number(1, classes - len(parents))
        names = tuple(f"class{i}" for i in range(classes))
        name = f"{len(self.trees)}.tree"
        self.trees[name] = Tree(names, tuple(parents))
        return name


# --- Convolutions


def convolutional(d):
    size, pad, padding = d.number(1, 5), d.flag(), d.one(None, 0, 1, 2, 3)
    stride = d.one(None, 1, 2, 3)
    options = {"size": size, "stride": stride, "pad": pad, "padding": padding}
    p = size // 2 if pad else padding or 0
    is_xnor = d.one(False, False, False, True)
    groups = d.one(d.divisor(d.shape[0]), d.number(1, d.shape[0]))
    filters = groups * d.number(1, 3)
    options |= {"filters": filters, "groups": d.one(None, groups) if groups == 1 else groups}
    kind = 0
    if d.is_fork:
        if not is_xnor:
            options["stride_x"], options["stride_y"] = d.one(None, 1, 2), d.one(None, 1, 3)
            kind = d.one(None, 0, 0, 1, 2)
        if size == 1 or 2 * p == size - 1:
            options["dilation"] = d.one(None, 1, 2, 3)
        options |= {"antialiasing": kind, "cbn": d.flag(), "bin_output": d.flag()}
    inner = [n + 2 * p - size + 1 for n in d.shape[1:]]
    assume(min(inner) > (kind == 2))
    options |= {"batch_normalize": d.flag(), "activation": d.activation(), "binary": d.flag()}
    d.add("convolutional", xnor=1 if is_xnor else d.one(None, 0), **options)


def sharing(d):
    """A convolution and others that use its arrays."""
    size, count = d.one(1, 2, 3), d.number(1, 4)
    d.channels(count)
    normalised = d.flag()
    first = len(d.shapes)
    for k in range(d.number(2, 3)):
        share = None if k == 0 else d.one(-k, first, -1, first + k - 1)
        d.add(
            "convolutional",
            filters=count,
            size=size,
            pad=1,
            stride=d.one(1, 2) if min(d.shape[1:]) > 2 else 1,
            dilation=d.one(1, 2) if size % 2 else None,
            batch_normalize=normalised,
            activation=d.activation(),
            share_index=share,
        )


def xnor(d):
    """Convolutions of signs, with and without a reader of their values."""
    for _ in range(d.number(1, 3)):
        size = d.one(1, 2, 3)
        d.add(
            "convolutional",
            filters=d.number(1, 4),
            size=size,
            stride=d.one(1, 2) if min(d.shape[1:]) > 2 else 1,
            pad=1,
            xnor=1,
            bin_output=d.one(0, 1, 1),
            batch_normalize=d.flag(),
            activation=d.one("logistic", "leaky", "tanh", d.activation()),
        )
    if d.one(True, False):
        section, key = d.one(("route", "layers"), ("shortcut", "from"))
        d.add(section, **{key: index(d, d.one(*legal_sources(d)))})


def deconvolutional(d):
    size, stride = d.number(1, 4), d.one(None, 1, 2, 3)
    pad, padding = d.flag(), d.one(None, 0, 1, 2)
    p = size // 2 if pad else padding or 0
    assume(min((n - 1) * (stride or 1) + size - 2 * p for n in d.shape[1:]) > 0)
    d.add(
        "deconvolutional",
        filters=d.number(1, 4),
        size=size,
        stride=stride,
        pad=pad,
        padding=padding,
        batch_normalize=d.flag(),
        activation=d.activation(),
    )


def local(d):
    size, stride = d.number(1, 4), d.one(None, 1, 2, 3)
    pad = d.one(None, 0, (size - 1) // 2) if size % 2 else d.one(None, 0)
    assume(pad or min(d.shape[1:]) >= size)
    d.add(
        "local",
        filters=d.number(1, 3),
        size=size,
        stride=stride,
        pad=pad,
        activation=d.activation(),
    )


# --- Pooling


def pooling(d, most):
    """Size, strides and padding of a pooling layer, the padding up to a multiple of size - 1."""
    stride, size = d.one(None, 1, 2, 3), d.one(None, 1, 2, 3, 4, 7)
    options = {"stride": stride, "size": size}
    if d.is_fork:
        options["stride_x"], options["stride_y"] = d.one(None, 1, 2), d.one(None, 1, 3)
    extent = size or stride or 1
    padding = d.draw(st.none() | st.integers(0, most * extent - 1))
    options["padding"] = padding
    padding = extent - 1 if padding is None else padding
    inner = [n + padding - extent + 1 for n in d.shape[1:]]
    assume(min(inner) > 0)
    return options, inner


def maxpool(d, most=1):
    options, inner = pooling(d, most)
    kind = d.one(None, 0, 0, 1, 2) if d.is_fork and most == 1 else None
    assume(not kind or min(inner) >= kind)
    d.add("maxpool", **options, antialiasing=kind)


def maxpool_outside(d):
    """Windows may lie wholly outside the map."""
    maxpool(d, most=4)


def maxpool_depth(d):
    d.add(
        "maxpool",
        maxpool_depth=1,
        out_channels=d.one(None, *range(1, d.shape[0] + 1)),
        size=d.one(None, 1, 2),
        stride=d.one(None, 1, 2),
        antialiasing=d.flag(),
    )


def local_avgpool(d):
    options, _ = pooling(d, 1)
    d.add("local_avgpool", **options)


def avgpool(d):
    d.add("avgpool")


# --- Shapes


def upsample(d):
    smallest = min(d.shape[1:])
    strides = [None, 1, 2, 3, *(-s for s in (1, 2, 3) if s <= smallest)]
    strides = [s for s in strides if s is None or s > 0 or not any(n % s for n in d.shape[1:])]
    d.add("upsample", stride=d.one(*strides), scale=d.one(None, 1, 0.5, -1.3))


def reorg(d):
    if d.is_yolor:
        assume(not any(n % 2 for n in d.shape[1:]))
        return d.add("reorg")
    stride = d.one(1, 2, 3)
    reverse, flatten, extra = d.flag(), d.flag(), d.one(None, 0, 1, 5)
    if not reverse:
        assume(not any(n % stride for n in d.shape[1:]))
    d.channels(stride**2 * d.number(1, 2))
    if flatten:
        extra = None
    return d.add("reorg", stride=stride, reverse=reverse, flatten=flatten, extra=extra)


def reorg3d(d):
    stride, reverse = d.one(1, 2, 3), d.flag()
    if reverse:
        d.channels(stride**4 * d.number(1, 2) if stride < 3 else stride**4)
    assume(reverse or min(d.shape[1:]) >= stride)
    d.add("reorg3d", stride=stride, reverse=reverse)


def index(d, target):
    """A layer's number, absolute or relative."""
    return d.one(target, target - len(d.shapes))


def route(d):
    for _ in range(d.number(1, 2) if not d.shapes else d.number(0, 1)):
        d.one(pointwise, connected, convolutional, maxpool)(d) if len(d.shape) > 1 else connected(d)
    count = len(d.shapes)
    chosen = [d.number(0, count - 1) for _ in range(d.number(1, 3))]
    groups = d.divisor(*(d.shapes[i][0] for i in chosen))
    d.add(
        "route",
        layers=",".join(str(index(d, i)) for i in chosen),
        groups=groups,
        group_id=d.number(0, groups - 1),
    )


def crop(d):
    _, h, w = d.shape
    d.add("crop", crop_height=d.number(1, h), crop_width=d.number(1, w), noadjust=d.flag())


def history(d):
    d.add("history", history_size=d.one(None, 1, 2, 5))


def dropout(d):
    d.add("dropout", probability=d.one(None, 0.3))


def empty(d):
    d.add("empty")


def cost(d):
    d.add("cost", type=d.one(None, "sse", "smooth"), scale=d.one(None, 2))


# --- Sums and products of layers


def pointwise(d, count=None):
    """A 1x1 convolution."""
    d.add("convolutional", filters=count or d.number(1, 5), activation=d.activation())


def shortcut(d):
    if d.is_fork and d.one(True, False):
        return added(d)
    d.one(pointwise, convolutional)(d)
    for _ in range(d.number(1, 2)):
        enlarge = () if d.is_fork else (deconvolutional,)
        d.one(pointwise, convolutional, maxpool, upsample, *enlarge)(d)
    options = {"alpha": d.one(None, 1, 0.5, -2), "beta": d.one(None, 1, 0.3, -1.5)}
    options = {} if d.is_fork else options
    source = index(d, d.one(*legal_sources(d, sampled=True)))
    d.add("shortcut", **{"from": source}, **options, activation=d.activation())


def legal_sources(d, *, sampled=False):
    """The layers that a shortcut from the last one may name."""
    return [i for i, shape in enumerate(d.shapes) if is_legal(d, shape, sampled)]


def is_legal(d, source, sampled):
    """P asks for the same ratio, by integer division, of width and height; so did A in 2019.

    Since then A asks for the same map.
    """
    if len(source) == 1:
        return False
    (_, h1, w1), (_, h2, w2) = source, d.shape
    if d.is_fork and not sampled:
        return (h1, w1) == (h2, w2)
    return w1 // w2 == h1 // h2 and w2 // w1 == h2 // h1


def added(d):
    """The fork's shortcut of up to four layers with channels of their own."""
    for _ in range(d.number(2, 4)):
        pointwise(d)
    chosen = [d.one(*legal_sources(d)) for _ in range(d.number(1, 3))]
    kind = d.one(None, "none", "per_feature", "per_layer", "per_channel")
    if d.is_yolor:  # weights sources by a rule of its own
        kind = None
    weighted = ("relu", "avg_relu", "softmax")
    norm = d.one(*weighted) if kind not in (None, "none") else d.one(None, "none", "softmax")
    d.add(
        "shortcut",
        **{"from": ",".join(str(index(d, i)) for i in chosen)},
        weights_type=kind,
        weights_normalization=norm,
        activation=d.activation(),
    )


def scale_channels(d):
    pointwise(d)
    target, c = len(d.shapes) - 1, d.shape[0]
    whole = d.flag()
    if whole:
        d.add("convolutional", filters=1, activation="linear")
    else:
        avgpool(d)
        d.add(d.one("convolutional", "connected"), filters=c, output=c)
    source = index(d, target)
    d.add("scale_channels", **{"from": source}, scale_wh=whole, activation=d.activation())


def sam(d):
    pointwise(d)
    c, target = d.shape[0], len(d.shapes) - 1
    pointwise(d)
    pointwise(d, c)
    d.add("sam", **{"from": index(d, target)}, activation=d.activation())


def implicit(d):
    d.add("implicit", filters=d.one(None, 1, 5), atoms=d.one(None, 1, 3))


def per_channel(d):
    """A constant of yolor, and what it does to a map."""
    pointwise(d)
    c, target = d.shape[0], len(d.shapes) - 1
    kind, reader = d.one(("implicit_add", "shift_channels"), ("implicit_mul", "control_channels"))
    d.add(kind, filters=c)
    d.add("route", layers=index(d, target))
    d.add(reader, **{"from": index(d, d.one(target, target + 1))})


# --- Normalisation and elementwise layers


def batchnorm(d):
    d.add("batchnorm")


def normalization(d):
    size = d.one(None, *range(1, 8))
    d.channels((5 if size is None else size) // 2 + d.number(1, 4))
    d.add(
        "normalization",
        size=size,
        alpha=d.one(None, 0.001, 0.003),
        beta=d.one(None, 0.5, 1.3),
        kappa=d.one(None, 1, 2.5),
    )


def l2norm(d):
    d.add("l2norm")


def activation(d):
    d.add("activation", activation=d.activation())


def softmax(d):
    tree = d.tree(d.size)
    groups = None if tree else d.divisor(d.size)
    d.add("softmax", groups=groups, temperature=d.one(None, 0.4, 1, 3), tree=tree, spatial=d.flag())


def logistic(d):
    d.add("logistic")


def iseg(d):
    classes, ids = d.number(0, 3), d.number(1, 3)
    d.channels(classes + ids)
    d.add("iseg", classes=classes, ids=ids)


# --- Connected and recurrent layers


def connected(d):
    d.add("connected", output=d.one(None, 1, 2, 6), **learned(d))


def learned(d):
    """Options of every layer with arrays."""
    return {"batch_normalize": d.flag(), "activation": d.activation()}


def rnn(d):
    options = {"output": d.one(None, 1, 3), "shortcut": d.flag(), "hidden": d.one(None, 1, 4)}
    d.add("rnn", **options, **learned(d), logistic=d.one(None, 0, 1, 2))


def gru(d):
    d.add("gru", output=d.one(None, 1, 4), batch_normalize=d.flag(), tanh=d.flag())


def lstm(d):
    d.add("lstm", output=d.one(None, 1, 4), batch_normalize=d.flag())


def crnn(d):
    options = learned(d) | {"shortcut": d.flag()}
    if not d.is_fork:
        counts = {"output_filters": d.one(None, 1, 3), "hidden_filters": d.one(None, 1, 4)}
        d.add("crnn", **options, **counts)
        return
    groups = d.divisor(d.shape[0])
    hidden, output = groups * d.number(1, 2), groups * d.number(1, 2)
    d.add("crnn", output=output, hidden=hidden, groups=groups, **options, **same_size(d))


def same_size(d):
    """Size and padding that keep a map's size, in every way of writing it."""
    size = d.one(None, 1, 3, 5)
    half = 1 if size is None else size // 2
    padding = d.one({"pad": 1}, {"pad": 1, "padding": 7}, {"padding": half})
    return {"size": size, "dilation": d.one(None, 1, 2), **padding}


def conv_lstm(d):
    groups = d.divisor(d.shape[0])
    d.add(
        "conv_lstm",
        output=groups * d.number(1, 2),
        groups=groups,
        peephole=d.flag(),
        state_constrain=d.one(None, 0, 1),
        shortcut=d.flag(),
        **learned(d),
        **same_size(d),
    )


# --- Detection heads


def anchored(d):
    """Options of anchors, and how many of them are used."""
    total = d.number(1, 3)
    if not d.one(False, True):
        return {"num": total}, total
    listed = total + d.one(0, 0, 2)
    mask = [d.number(0, listed - 1) for _ in range(d.number(1, total))]
    anchors = ",".join(str(3 + number) for number in range(2 * listed))
    given = anchors if listed > total else None
    return {"num": total, "mask": ",".join(map(str, mask)), "anchors": given}, len(mask)


def yolo(d):
    options, count = anchored(d)
    classes = d.number(0, 3)
    d.channels(count * (classes + 5))
    scale = d.one(None, 1, 1.05, 2)
    if d.is_yolor:  # reads no other
        scale = 2
    d.add("yolo", **options, classes=classes, scale_x_y=scale, new_coords=d.flag())


def gaussian_yolo(d):
    options, count = anchored(d)
    classes = d.number(0, 3)
    d.channels(count * (classes + 9))
    d.add("Gaussian_yolo", **options, classes=classes, scale_x_y=d.one(None, 1, 1.05, 2))


def region(d):
    count, classes = d.number(1, 3), d.number(0, 4)
    coords = 4 if d.is_fork else d.one(4, 5, 6)
    tree = d.tree(classes) if classes else None
    d.channels(count * (classes + coords + 1))
    d.add(
        "region",
        num=count,
        classes=classes,
        coords=coords,
        softmax=d.flag(),
        background=None if tree else d.flag(),
        tree=tree,
    )


def detection(d):
    side, count, classes = d.number(1, 3), d.number(1, 2), d.number(0, 4)
    coords = d.one(None, 1, 4)
    size = side * side * ((1 + (coords or 1)) * count + classes)
    d.add("connected", output=size, activation="linear")
    options = {"side": side, "num": count, "classes": classes, "coords": coords}
    d.add("detection", **options, softmax=d.flag(), sqrt=d.flag())


def contrastive(d):
    pointwise(d)
    d.channels(6)
    d.add("yolo", classes=1, embedding_layer=0)
    d.add("route", layers=0)
    d.add("contrastive", classes=2, yolo_layer=len(d.shapes) - 2)


ON_MAPS = {
    convolutional: EACH,
    sharing: (A,),
    xnor: BOTH,
    deconvolutional: (P,),
    local: BOTH,
    maxpool: EACH,
    maxpool_depth: (A,),
    local_avgpool: (A,),
    avgpool: BOTH,
    upsample: EACH,
    reorg: EACH,
    reorg3d: (A,),
    crop: BOTH,
    history: (A,),
    shortcut: EACH,
    scale_channels: (A,),
    sam: (A,),
    implicit: (A,),
    per_channel: (Y,),
    batchnorm: EACH,
    normalization: BOTH,
    l2norm: (P,),
    activation: BOTH,
    iseg: (P,),
    crnn: BOTH,
    conv_lstm: (A,),
    yolo: EACH,
    gaussian_yolo: (A,),
    region: BOTH,
}
ON_ANYTHING = {
    route: EACH,
    dropout: EACH,
    empty: (A,),
    logistic: (P,),
    softmax: BOTH,
    connected: BOTH,
    rnn: BOTH,
    gru: BOTH,
    lstm: BOTH,
    detection: BOTH,
}
AT_THE_END = {maxpool_outside: BOTH, cost: BOTH, contrastive: (A,)}
EVERY = {**ON_MAPS, **ON_ANYTHING, **AT_THE_END}
KINDS = [(kind, dialect) for kind, dialects in EVERY.items() for dialect in dialects]


def maps():
    """Shapes of small maps, odd and oblong ones among them."""
    return st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))


def vectors():
    return st.tuples(st.integers(1, 9))


def drawn_model(draw, draft):
    """A model with random arrays; small variances and negative scales now and then."""
    note(draft.body)
    model = random_model(draft.net, seed=draw(st.integers(0, 2**16)))
    tiny, negative = draw(st.booleans()), draw(st.booleans())
    changed = {}
    for key, values in model.arrays.items():
        if key.endswith("rolling_variance"):
            changed[key] = values * np.float32(1e-5 if tiny else 1)
        if key.endswith("scales"):
            changed[key] = (values - negative) * np.float32(0.003 if tiny else 1)
    return dc.replace_arrays(model, changed)


def drawn_network(draw, kind=None, dialect=None):
    """A draft of up to five layers, with convolutions between that make channels to prune."""
    draft = Draft(draw, dialect or draw(st.sampled_from(EACH)), draw(maps()))
    filters = draw(st.integers(2, 6))
    draft.add("convolutional", filters=filters, size=1, activation="leaky", batch_normalize=1)
    count = 1 if kind else draw(st.integers(1, 4))
    for _ in range(count):
        assume(draft.size < 3000)
        kinds = ON_ANYTHING if len(draft.shape) == 1 else {**ON_MAPS, **ON_ANYTHING}
        legal = [kind for kind, dialects in kinds.items() if draft.dialect in dialects]
        (kind or draw(st.sampled_from(legal)))(draft)
    if len(draft.shape) == 3:
        draft.add("convolutional", filters=3, size=1, activation="mish")
        draft.add("convolutional", filters=2, size=1, activation="linear")
    else:
        draft.add("connected", output=3, activation="leaky")
        draft.add("connected", output=2, activation="linear")
    return draft


def drawn_inputs(draw, shape, count):
    """Inputs for successive calls."""
    stream = np.random.default_rng(draw(st.integers(0, 2**16)))
    spread = draw(st.sampled_from((0.5, 1.5, 6.0)))
    return [stream.uniform(-spread, spread, shape).astype(np.float32) for _ in range(count)]


def checked(examples):
    """Settings of a test of random networks."""
    return settings(
        derandomize=not EXAMPLES,
        max_examples=EXAMPLES or share(examples),
        suppress_health_check=list(HealthCheck),
    )


def has_square_crnn(draft, kind):
    """The declared shape of the original's crnn is compared on square maps alone."""
    return draft.is_fork or kind is not crnn or draft.shape[1] == draft.shape[2]
