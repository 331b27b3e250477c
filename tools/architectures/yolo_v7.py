"""YOLOv7: trunks and necks of efficient layer aggregation (ELAN) blocks."""

from collections.abc import Sequence

from architectures.blocks import Heads, spatial_pyramid
from architectures.papers import ALEXEYAB, YOLOV7
from architectures.writer import Cfg, Title
from architectures.yolo_v4 import csp_spatial_pyramid, enlarge, new_heads, tiny_net

ANCHORS = (12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401)
TINY_ANCHORS = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)


def yolov7() -> Cfg:
    """YOLOv7 for COCO."""
    title = Title("YOLOv7", "object detector for the 80 COCO classes", YOLOV7, ALEXEYAB)
    net = {**tiny_net(), "width": 640, "height": 640, "batch": 8}
    cfg = Cfg(title, net, activation="swish")
    stride8, stride16 = _trunk(cfg)
    coarse = csp_spatial_pyramid(cfg, 512, widest_first=False)
    cfg.comment("neck: from stride 32 to 16")
    enlarge(cfg, 256, stride16)
    middle = _elan_neck(cfg, 256)
    cfg.comment("neck: from stride 16 to 8")
    enlarge(cfg, 128, stride8)
    fine = _elan_neck(cfg, 128)
    cfg.comment("neck: from stride 8 to 16")
    _halve(cfg, 128, middle)
    middle = _elan_neck(cfg, 256)
    cfg.comment("neck: from stride 16 to 32")
    _halve(cfg, 256, coarse)
    coarse = _elan_neck(cfg, 512)
    _add_heads(cfg, new_heads(ANCHORS), 256, (fine, middle, coarse))
    return cfg


def _trunk(cfg: Cfg) -> tuple[int, int]:
    """Four ELAN stages; gives the last layers at strides 8 and 16."""
    cfg.comment("stem")
    cfg.conv(32)
    cfg.conv(64, stride=2)
    cfg.conv(64)
    cfg.comment("stage 1: ELAN, 256 channels")
    cfg.conv(128, stride=2)
    _elan(cfg, 64, 256)
    ends = []
    for number, halved, width, out in (
        (2, 128, 128, 512),
        (3, 256, 256, 1024),
        (4, 512, 256, 1024),
    ):
        cfg.comment(f"stage {number}: half the size, ELAN, {out} channels")
        _halve(cfg, halved)
        ends.append(_elan(cfg, width, out))
    return ends[0], ends[1]


def _elan(cfg: Cfg, width: int, out: int) -> int:
    """Two 1x1 branches; one goes on through four 3x3 convolutions; four of the six are kept."""
    start = cfg.last
    bypass = cfg.pointwise(width)
    cfg.route(start)
    entry = cfg.pointwise(width)
    _, second, _, fourth = (cfg.conv(width) for _ in range(4))
    cfg.route(fourth, second, entry, bypass)
    return cfg.pointwise(out)


def _elan_neck(cfg: Cfg, width: int) -> int:
    """As `_elan`, but the 3x3 convolutions have half the width and all six are kept."""
    start = cfg.last
    bypass = cfg.pointwise(width)
    cfg.route(start)
    entry = cfg.pointwise(width)
    deeper = [cfg.conv(width // 2) for _ in range(4)]
    cfg.route(*reversed(deeper), entry, bypass)
    return cfg.pointwise(width)


def _halve(cfg: Cfg, width: int, *coarser: int) -> int:
    """Half the size by a pool and by a stride, side by side, and coarser layers."""
    start = cfg.last
    cfg.maxpool()
    pooled = cfg.pointwise(width)
    cfg.route(start)
    cfg.pointwise(width)
    strided = cfg.conv(width, stride=2)
    return cfg.route(strided, pooled, *coarser)


def _add_heads(cfg: Cfg, heads: Heads, width: int, scales: Sequence[int]) -> None:
    """Add a head to each of three layers, at strides 8, 16 and 32; `width` is the first one's."""
    sizes = ("small", "middle", "large")
    for number, (layer, size) in enumerate(zip(scales, sizes, strict=True)):
        cfg.comment(f"head {number + 1}: {size} objects, stride {8 << number}")
        cfg.route(layer)
        cfg.conv(width << number)
        heads.add(cfg, 3 * number, 3 * number + 1, 3 * number + 2, max_delta=2)


def yolov7_tiny() -> Cfg:
    """Tiny YOLOv7 for COCO."""
    title = Title("Tiny YOLOv7", "small object detector for the 80 COCO classes", YOLOV7, ALEXEYAB)
    cfg = Cfg(title, tiny_net())
    stride8, stride16 = _tiny_trunk(cfg)
    coarse = _tiny_pyramid(cfg)
    cfg.comment("neck: from stride 32 to 16")
    enlarge(cfg, 128, stride16)
    middle = _tiny_elan(cfg, 64)
    cfg.comment("neck: from stride 16 to 8")
    enlarge(cfg, 64, stride8)
    fine = _tiny_elan(cfg, 32)
    cfg.comment("neck: from stride 8 to 16")
    cfg.route(cfg.conv(128, stride=2), middle)
    middle = _tiny_elan(cfg, 64)
    cfg.comment("neck: from stride 16 to 32")
    cfg.route(cfg.conv(256, stride=2), coarse)
    coarse = _tiny_elan(cfg, 128)
    _add_heads(cfg, new_heads(TINY_ANCHORS), 128, (fine, middle, coarse))
    return cfg


def _tiny_trunk(cfg: Cfg) -> tuple[int, int]:
    """Four small ELAN stages; gives the last layers at strides 8 and 16."""
    cfg.comment("stem")
    cfg.conv(32, stride=2)
    cfg.conv(64, stride=2)
    ends = []
    for number, width in enumerate((32, 64, 128, 256), start=1):
        cfg.comment(f"stage {number}: small ELAN, {2 * width} channels")
        if number > 1:
            cfg.maxpool()
        ends.append(_tiny_elan(cfg, width))
    return ends[1], ends[2]


def _tiny_elan(cfg: Cfg, width: int) -> int:
    """Two 1x1 branches; one goes on through two 3x3 convolutions; all four are kept."""
    start = cfg.last
    bypass = cfg.pointwise(width)
    cfg.route(start)
    entry = cfg.pointwise(width)
    first = cfg.conv(width)
    second = cfg.conv(width)
    cfg.route(bypass, entry, first, second)
    return cfg.pointwise(2 * width)


def _tiny_pyramid(cfg: Cfg) -> int:
    """One part of the last layer passes by, the other through a spatial pyramid."""
    cfg.comment("neck: stride 32, cross-stage partial")
    start = cfg.last
    bypass = cfg.pointwise(256)
    cfg.route(start)
    cfg.pointwise(256)
    spatial_pyramid(cfg)
    main = cfg.pointwise(256)
    cfg.route(bypass, main)
    return cfg.pointwise(256)


NETWORKS = {"yolov7": yolov7, "yolov7-tiny": yolov7_tiny}
