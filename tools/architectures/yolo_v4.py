"""YOLOv4 and its relatives: cross-stage partial trunks, paths down and up the scales."""

from architectures.blocks import (
    Heads,
    count,
    detector_net,
    residual_blocks,
    residual_stage,
    spatial_pyramid,
    steps,
)
from architectures.papers import ALEXEYAB, CSPNET, SCALED_YOLOV4, YOLOV4
from architectures.writer import Cfg, Options, Title

ANCHORS = (12, 16, 19, 36, 40, 28, 36, 75, 76, 55, 72, 146, 142, 110, 192, 243, 459, 401)
TINY_ANCHORS = (10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319)

CIOU: Options = {
    "nms_kind": "greedynms",
    "beta_nms": 0.6,
    "jitter": 0.3,
    "ignore_thresh": 0.7,
    "truth_thresh": 1,
    "iou_loss": "ciou",
    "iou_normalizer": 0.07,
    "cls_normalizer": 1,
}
"""What the heads of the first models in this family have in common."""


def yolov4() -> Cfg:
    """YOLOv4 for COCO."""
    title = Title("YOLOv4", "object detector for the 80 COCO classes", YOLOV4, ALEXEYAB)
    net = detector_net(
        608,
        subdivisions=8,
        momentum=0.949,
        learning_rate=0.0013,
        max_batches=500500,
        mosaic=1,
    )
    cfg = Cfg(title, net, activation="mish")
    cfg.comment("stem")
    cfg.conv(32)
    _csp_stage(cfg, 1, 64, 1, part=64, inner=32)
    finer = csp_darknet_stages(cfg)
    cfg.activation = "leaky"
    _path_aggregation(cfg, finer, Heads(ANCHORS, {**CIOU, "iou_thresh": 0.213, "max_delta": 5}))
    return cfg


def csp_darknet_stages(cfg: Cfg) -> tuple[int, int]:
    """CSPDarknet-53 from its second stage on; gives the last layers at strides 8 and 16."""
    _csp_stage(cfg, 2, 128, 2, part=64, inner=64)
    stride8 = _csp_stage(cfg, 3, 256, 8, part=128, inner=128)
    stride16 = _csp_stage(cfg, 4, 512, 8, part=256, inner=256)
    _csp_stage(cfg, 5, 1024, 4, part=512, inner=512)
    return stride8, stride16


def _csp_stage(cfg: Cfg, number: int, width: int, blocks: int, *, part: int, inner: int) -> int:
    """Half the size; one part passes by, the other through residual blocks; both are joined."""
    cfg.comment(f"stage {number}: cross-stage partial, {_blocks(blocks)}, {width} channels")
    start = cfg.conv(width, stride=2)
    bypass = cfg.pointwise(part)
    cfg.route(start)
    cfg.pointwise(part)
    residual_blocks(cfg, inner, part, blocks)
    main = cfg.pointwise(part)
    cfg.route(main, bypass)
    return cfg.pointwise(width)


def _blocks(number: int) -> str:
    return count(number, "residual block")


def _path_aggregation(cfg: Cfg, finer: tuple[int, int], heads: Heads) -> None:
    """Spatial pyramid, a path to the fine scales and one back, a head at each scale."""
    stride8, stride16 = finer
    cfg.comment("neck: stride 32")
    _bottlenecks(cfg, 512, 3)
    spatial_pyramid(cfg)
    coarse = _bottlenecks(cfg, 512, 3)
    cfg.comment("neck: from stride 32 to 16")
    enlarge(cfg, 256, stride16)
    middle = _bottlenecks(cfg, 256, 5)
    cfg.comment("neck: from stride 16 to 8")
    enlarge(cfg, 128, stride8)
    fine = _bottlenecks(cfg, 128, 5)
    cfg.comment("head 1: small objects, stride 8")
    cfg.conv(256)
    heads.add(cfg, 0, 1, 2, scale_x_y=1.2)
    cfg.comment("head 2: middle objects, stride 16")
    reduce(cfg, 256, fine, middle)
    middle = _bottlenecks(cfg, 256, 5)
    cfg.conv(512)
    heads.add(cfg, 3, 4, 5, scale_x_y=1.1)
    cfg.comment("head 3: large objects, stride 32")
    reduce(cfg, 512, middle, coarse)
    _bottlenecks(cfg, 512, 5)
    cfg.conv(1024)
    heads.add(cfg, 6, 7, 8, scale_x_y=1.05, random=1)


def _bottlenecks(cfg: Cfg, width: int, convolutions: int) -> int:
    """1x1 convolutions with 3x3 ones of twice the width between them."""
    for number in range(convolutions):
        if number % 2:
            cfg.conv(2 * width)
        else:
            cfg.pointwise(width)
    return cfg.last


def enlarge(cfg: Cfg, width: int, finer: int) -> int:
    """Join the last layer at twice its size and finer features, both of the same width."""
    cfg.pointwise(width)
    enlarged = cfg.upsample()
    cfg.route(finer)
    narrowed = cfg.pointwise(width)
    return cfg.route(narrowed, enlarged)


def reduce(cfg: Cfg, width: int, finer: int, coarser: int) -> int:
    """Join a finer layer at half its size and a coarser one."""
    cfg.route(finer)
    halved = cfg.conv(width, stride=2)
    return cfg.route(halved, coarser)


def yolov4_tiny() -> Cfg:
    """Tiny YOLOv4 for COCO."""
    title = Title(
        "Tiny YOLOv4", "small object detector for the 80 COCO classes", SCALED_YOLOV4, ALEXEYAB
    )
    cfg = Cfg(title, tiny_net())
    cfg.comment("stem")
    cfg.conv(32, stride=2)
    cfg.conv(64, stride=2)
    for number, width in enumerate((64, 128, 256), start=1):
        cfg.comment(f"stage {number}: half of {width} channels goes through two convolutions")
        stride16 = _half_stage(cfg, width)
    cfg.comment("head 1: large objects, stride 32")
    cfg.conv(512)
    branch = cfg.pointwise(256)
    cfg.conv(512)
    heads = Heads(TINY_ANCHORS, {**CIOU, "scale_x_y": 1.05, "random": 0, "resize": 1.5})
    heads.add(cfg, 3, 4, 5)
    cfg.comment("head 2: small objects, stride 16")
    cfg.route(branch)
    cfg.pointwise(128)
    enlarged = cfg.upsample()
    cfg.route(enlarged, stride16)
    cfg.conv(256)
    heads.add(cfg, 1, 2, 3)
    return cfg


def tiny_net() -> Options:
    """[net] of the small models of 2020 and later."""
    return detector_net(
        416,
        subdivisions=1,
        learning_rate=0.00261,
        max_batches=2000200,
        **steps({1600000: 0.1, 1800000: 0.1}),
    )


def _half_stage(cfg: Cfg, width: int) -> int:
    """Return the layer that joins both convolutions, before the size is halved."""
    start = cfg.conv(width)
    cfg.route(start, groups=2, group_id=1)
    first = cfg.conv(width // 2)
    second = cfg.conv(width // 2)
    cfg.route(second, first)
    joined = cfg.pointwise(width)
    cfg.route(start, joined)
    cfg.maxpool()
    return joined


def yolov4_csp() -> Cfg:
    """YOLOv4-CSP: cross-stage partial in the neck as well, new box coordinates."""
    title = Title("YOLOv4-CSP", "object detector for the 80 COCO classes", SCALED_YOLOV4, ALEXEYAB)
    net = detector_net(
        512,
        subdivisions=8,
        momentum=0.949,
        max_batches=500500,
        mosaic=1,
        letter_box=1,
        ema_alpha=0.9998,
    )
    cfg = Cfg(title, net, activation="mish")
    cfg.comment("stem")
    cfg.conv(32)
    residual_stage(cfg, 1, 64, 1)
    finer = csp_darknet_stages(cfg)
    _csp_path_aggregation(cfg, finer, new_heads(ANCHORS))
    return cfg


def new_heads(anchors: tuple[int, ...]) -> Heads:
    """Heads with `new_coords`: the convolution in front squashes all values."""
    options: Options = {
        **CIOU,
        "scale_x_y": 2,
        "new_coords": 1,
        "nms_kind": "diounms",
        "jitter": 0.1,
        "resize": 1.5,
        "iou_thresh": 0.2,
        "iou_normalizer": 0.05,
        "obj_normalizer": 1,
        "cls_normalizer": 0.5,
        "objectness_smooth": 1,
    }
    return Heads(anchors, options, activation="logistic")


def _csp_path_aggregation(cfg: Cfg, finer: tuple[int, int], heads: Heads) -> None:
    stride8, stride16 = finer
    coarse = csp_spatial_pyramid(cfg, 512)
    cfg.comment("neck: from stride 32 to 16")
    enlarge(cfg, 256, stride16)
    middle = _csp_convolutions(cfg, 256)
    cfg.comment("neck: from stride 16 to 8")
    enlarge(cfg, 128, stride8)
    fine = _csp_convolutions(cfg, 128)
    cfg.comment("head 1: small objects, stride 8")
    cfg.conv(256)
    heads.add(cfg, 0, 1, 2, obj_normalizer=4, objectness_smooth=0, max_delta=5)
    cfg.comment("head 2: middle objects, stride 16")
    reduce(cfg, 256, fine, middle)
    middle = _csp_convolutions(cfg, 256)
    cfg.conv(512)
    heads.add(cfg, 3, 4, 5, max_delta=5)
    cfg.comment("head 3: large objects, stride 32")
    reduce(cfg, 512, middle, coarse)
    _csp_convolutions(cfg, 512)
    cfg.conv(1024)
    heads.add(cfg, 6, 7, 8, obj_normalizer=0.4, max_delta=2)


def csp_spatial_pyramid(cfg: Cfg, width: int, *, widest_first: bool = True) -> int:
    """One part of the last layer passes by, the other through a spatial pyramid."""
    cfg.comment("neck: stride 32, cross-stage partial")
    start = cfg.last
    bypass = cfg.pointwise(width)
    cfg.route(start)
    cfg.pointwise(width)
    cfg.conv(width)
    cfg.pointwise(width)
    spatial_pyramid(cfg, widest_first=widest_first)
    cfg.pointwise(width)
    main = cfg.conv(width)
    cfg.route(main, bypass)
    return cfg.pointwise(width)


def _csp_convolutions(cfg: Cfg, width: int) -> int:
    """One part passes by, the other through two pairs of 1x1 and 3x3 convolutions."""
    start = cfg.pointwise(width)
    bypass = cfg.pointwise(width)
    cfg.route(start)
    for _ in range(2):
        cfg.pointwise(width)
        cfg.conv(width)
    cfg.route(cfg.last, bypass)
    return cfg.pointwise(width)


def csresnext50() -> Cfg:
    """CSPResNeXt-50 with YOLOv4's neck."""
    title = Title(
        "CSPResNeXt-50-PANet-SPP",
        "object detector for the 80 COCO classes, a step on the way to YOLOv4",
        CSPNET,
        ALEXEYAB,
    )
    net = detector_net(
        608,
        subdivisions=8,
        momentum=0.949,
        learning_rate=0.00261,
        max_batches=500500,
        mosaic=1,
    )
    cfg = Cfg(title, net)
    cfg.comment("stem")
    cfg.conv(64, size=7, stride=2)
    cfg.maxpool()
    finer = _csp_resnext_stages(cfg)
    _path_aggregation(cfg, finer, Heads(ANCHORS, {**CIOU, "iou_thresh": 0.213}))
    return cfg


def _csp_resnext_stages(cfg: Cfg) -> tuple[int, int]:
    """Four stages; gives the last layers at strides 8 and 16."""
    cfg.comment("stage 1: cross-stage partial, 3 grouped residual blocks, 256 channels")
    start = cfg.last
    bypass = cfg.pointwise(128)
    cfg.route(start)
    cfg.pointwise(64)
    _grouped_blocks(cfg, 128, 3, bypass)
    ends = [
        _csp_resnext_stage(cfg, number, width, blocks, activation=activation)
        for number, width, blocks, activation in (
            (2, 256, 3, "linear"),
            (3, 512, 5, "linear"),
            (4, 1024, 2, "leaky"),
        )
    ]
    return ends[0], ends[1]


def _csp_resnext_stage(cfg: Cfg, number: int, width: int, blocks: int, *, activation: str) -> int:
    """Half the size, then both parts; `activation` is that of the splitting convolutions."""
    cfg.comment(
        f"stage {number}: cross-stage partial, {blocks} grouped residual blocks, "
        f"{2 * width} channels"
    )
    start = cfg.conv(width, stride=2, groups=32)
    bypass = cfg.pointwise(width, activation=activation)
    cfg.route(start)
    cfg.pointwise(width, activation=activation)
    return _grouped_blocks(cfg, width, blocks, bypass)


def _grouped_blocks(cfg: Cfg, width: int, blocks: int, bypass: int) -> int:
    """Residual blocks in 32 groups, then the join with the part that passed by."""
    for _ in range(blocks):
        start = cfg.last
        cfg.pointwise(width)
        cfg.conv(width, groups=32)
        cfg.pointwise(width, activation="linear")
        cfg.shortcut(start, activation="leaky")
    main = cfg.pointwise(width)
    cfg.route(main, bypass)
    return cfg.pointwise(2 * width)


NETWORKS = {
    "csresnext50-panet-spp": csresnext50,
    "yolov4": yolov4,
    "yolov4-csp": yolov4_csp,
    "yolov4-tiny": yolov4_tiny,
}
