"""EfficientNet-B0 as the trunk of a small detector."""

from architectures.blocks import Heads, detector_net
from architectures.papers import ALEXEYAB, EFFICIENTNET
from architectures.writer import Cfg, Options, Title

ANCHORS = (10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319)

STAGES = (
    # blocks of (channels inside, kernel, stride, channels out)
    ((32, 3, 1, 16),),
    ((96, 3, 2, 24), (144, 3, 1, 24)),
    ((144, 5, 2, 40), (192, 5, 1, 40)),
    ((192, 3, 1, 80), (384, 3, 1, 80), (384, 3, 1, 80)),
    ((384, 5, 2, 112), (576, 5, 1, 112), (576, 5, 1, 112)),
    ((576, 5, 2, 192), (960, 5, 1, 192), (960, 5, 1, 192), (960, 5, 1, 192)),
    ((960, 3, 1, 320),),
)
SQUEEZED = {32: 8, 96: 16, 144: 8, 192: 16, 384: 24, 576: 32, 960: 64}
"""Channels of the squeeze, by channels inside."""
LAST_STRIDE16_STAGE = 5


def enet_coco() -> Cfg:
    """EfficientNet-B0 with two YOLOv3 heads."""
    title = Title(
        "ENet-COCO",
        "EfficientNet-B0 as object detector for the 80 COCO classes",
        EFFICIENTNET,
        ALEXEYAB,
    )
    cfg = Cfg(title, detector_net(416, subdivisions=8), activation="swish")
    stride16 = _trunk(cfg)
    cfg.activation = "leaky"
    training: Options = {"jitter": 0.3, "random": 0, "ignore_thresh": 0.7, "truth_thresh": 1}
    _add_heads(cfg, Heads(ANCHORS, training), stride16)
    return cfg


def _trunk(cfg: Cfg) -> int:
    """Add the trunk; return the last layer with stride 16, in the block that halves the size."""
    cfg.comment("stem")
    cfg.conv(32, stride=2)
    stride16 = width = 0
    for number, blocks in enumerate(STAGES, start=1):
        channels = blocks[-1][-1]
        cfg.comment(f"stage {number}: inverted residual blocks, {channels} channels")
        for block in blocks:
            inner, kernel, stride, out = block
            expanded = _inverted_block(cfg, inner, kernel, stride, out, residual=out == width)
            width = out
            if number == LAST_STRIDE16_STAGE + 1 and stride == 2:
                stride16 = expanded
    cfg.comment("top")
    cfg.conv(1280, size=1, pad=0)
    return stride16


def _inverted_block(
    cfg: Cfg, inner: int, kernel: int, stride: int, out: int, *, residual: bool
) -> int:
    """Widen, filter each channel, weigh the channels, narrow; gives the widening layer."""
    start = cfg.last
    expanded = cfg.conv(inner, size=1, pad=0)
    filtered = cfg.conv(inner, size=kernel, stride=stride, groups=inner)
    cfg.add("avgpool")
    cfg.conv(SQUEEZED[inner], size=1, pad=0, normalize=False)
    cfg.conv(inner, size=1, pad=0, normalize=False, activation="logistic")
    cfg.scale_channels(filtered)
    cfg.conv(out, size=1, pad=0, activation="linear")
    if residual:
        cfg.add("dropout", probability=0)
        cfg.shortcut(start)
    return expanded


def _add_heads(cfg: Cfg, heads: Heads, stride16: int) -> None:
    cfg.comment("head 1: large objects, stride 32")
    start = cfg.pointwise(256)
    branch = cfg.conv(256)
    cfg.shortcut(start, activation="leaky")
    heads.add(cfg, 3, 4, 5)
    cfg.comment("head 2: small objects, stride 16")
    cfg.route(branch)
    cfg.pointwise(128)
    enlarged = cfg.upsample()
    cfg.shortcut(stride16, activation="leaky")
    cfg.conv(128)
    cfg.shortcut(enlarged, activation="leaky")
    cfg.shortcut(stride16, activation="leaky")
    heads.add(cfg, 1, 2, 3)


NETWORKS = {"enet-coco": enet_coco}
