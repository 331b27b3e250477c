"""Cases for test_layers.py and test_backends.py: layers that pass, join or mix channels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """The cfg body of a tiny network; its last layer is the one in question."""

    name: str
    body: str
    shape: tuple[int, int, int] = (4, 6, 8)
    dialect: str = "alexeyab"
    blocks: bool = False
    """Channels are bound in whole blocks, beyond what single values depend on."""
    gates: int = 0
    """Leading input channels that scale every output without being bound to one."""


CONV = "[convolutional]\nfilters={n}\nactivation=linear\n"
TWO = CONV.format(n=4) + CONV.format(n=4)

CASES = [
    Case("activation", "[activation]\nactivation=leaky\n"),
    Case("batchnorm", "[batchnorm]\n"),
    Case("dropout", "[dropout]\n"),
    Case("empty", "[empty]\n"),
    Case("logistic", "[logistic]\n", dialect="pjreddie"),
    Case("maxpool", "[maxpool]\nstride=2\n"),
    Case("maxpool-depth", "[maxpool]\nmaxpool_depth=1\nout_channels=3\n"),
    Case("avgpool", "[avgpool]\n"),
    Case("local-avgpool", "[local_avgpool]\nsize=2\nstride=2\n"),
    Case("upsample", "[upsample]\n"),
    Case("crop", "[crop]\ncrop_width=3\ncrop_height=2\n"),
    Case("history", "[history]\nhistory_size=2\n", blocks=True),
    Case("route-two", TWO + "[route]\nlayers=-1,0\n"),
    Case("route-groups", TWO + "[route]\nlayers=0\ngroups=2\ngroup_id=1\n"),
    Case("shortcut", TWO + "[shortcut]\nfrom=0\n"),
    Case("shortcut-wider", CONV.format(n=6) + CONV.format(n=4) + "[shortcut]\nfrom=0\n"),
    Case("shortcut-narrower", CONV.format(n=2) + CONV.format(n=4) + "[shortcut]\nfrom=0\n"),
    Case(
        "shortcut-weighted",
        TWO + "[shortcut]\nfrom=0\nweights_type=per_channel\nweights_normalization=softmax\n",
    ),
    Case(
        "shortcut-sampled",
        CONV.format(n=6) + "[maxpool]\nstride=2\n" + CONV.format(n=4) + "[shortcut]\nfrom=0\n",
        dialect="pjreddie",
    ),
    Case(
        "shortcut-sampled-by-the-fork",
        CONV.format(n=3) + "[upsample]\n" + CONV.format(n=4) + "[shortcut]\nfrom=0\n",
    ),
    Case("sam", TWO + "[sam]\nfrom=0\n"),
    Case("scale-channels", CONV.format(n=4) + "[avgpool]\n[scale_channels]\nfrom=0\n"),
    Case(
        "scale-channels-wh",
        CONV.format(n=4) + CONV.format(n=1) + "[scale_channels]\nfrom=0\nscale_wh=1\n",
        gates=1,
    ),
    Case("reorg", "[reorg]\nstride=2\n", shape=(8, 4, 6), blocks=True),
    Case("reorg-wide", "[reorg]\nstride=2\n", shape=(4, 6, 8), blocks=True),
    Case("reorg-reverse", "[reorg]\nstride=2\nreverse=1\n", shape=(8, 4, 6), blocks=True),
    Case("reorg-flatten", "[reorg]\nflatten=1\n", shape=(3, 2, 4), dialect="pjreddie"),
    Case("reorg-extra", "[reorg]\nextra=2\n", shape=(3, 2, 4), dialect="pjreddie"),
    Case("reorg3d", "[reorg3d]\nstride=2\n"),
    Case("reorg3d-odd-width", "[reorg3d]\nstride=2\n", shape=(4, 6, 7), blocks=True),
    Case("reorg3d-reverse", "[reorg3d]\nstride=2\nreverse=1\n", shape=(16, 4, 6), blocks=True),
    Case("depthwise", "[convolutional]\nfilters=4\ngroups=4\nsize=3\npad=1\n"),
    Case("grouped", "[convolutional]\nfilters=6\ngroups=2\nsize=3\npad=1\n"),
    Case("grouped-unread", "[convolutional]\nfilters=6\ngroups=3\nsize=3\npad=1\n", (5, 6, 8)),
    Case(
        "grouped-unread-spread",
        "[convolutional]\nfilters=4\ngroups=4\nsize=3\npad=1\n",
        (7, 6, 8),
        dialect="pjreddie",
    ),
    Case(
        "shift-channels",
        "[implicit_add]\nfilters=4\n" + CONV.format(n=4) + "[shift_channels]\nfrom=0\n",
        dialect="yolor",
    ),
    Case(
        "control-channels",
        CONV.format(n=4) + "[implicit_mul]\nfilters=4\n[route]\nlayers=0\n"
        "[control_channels]\nfrom=-2\n",
        dialect="yolor",
    ),
    Case("shift-channels-by-a-map", TWO + "[shift_channels]\nfrom=0\n", dialect="yolor"),
    Case("control-channels-by-a-map", TWO + "[control_channels]\nfrom=0\n", dialect="yolor"),
    Case("reorg-of-yolor", "[reorg]\n", dialect="yolor"),
    Case("yolo-of-yolor", "[yolo]\nclasses=3\nanchors=2,3\n", (8, 4, 4), dialect="yolor"),
    Case("yolo", "[yolo]\nclasses=3\nanchors=2,3\n", shape=(8, 4, 4)),
]
