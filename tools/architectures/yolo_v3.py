"""YOLOv3 and its relatives: a trunk, and heads at two or three scales."""

from architectures.blocks import (
    Heads,
    detector_net,
    spatial_pyramid,
    tiny_trunk,
)
from architectures.classifiers import darknet53_trunk
from architectures.papers import ALEXEYAB, GAUSSIAN_YOLOV3, PJREDDIE, YOLOV3
from architectures.writer import Cfg, Options, Title

ANCHORS = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
TINY_ANCHORS = (10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319)
BDD_ANCHORS = (7, 10, 14, 24, 27, 43, 32, 97, 57, 64, 92, 109, 73, 175, 141, 178, 144, 291)

TRAINING: Options = {"jitter": 0.3, "random": 1, "ignore_thresh": 0.7, "truth_thresh": 1}
GAUSSIAN_TRAINING: Options = {
    **TRAINING,
    "ignore_thresh": 0.5,
    "scale_x_y": 1,
    "iou_loss": "giou",
    "iou_thresh": 0.213,
    "iou_normalizer": 0.5,
    "uc_normalizer": 1,
    "cls_normalizer": 1,
}


def yolov3() -> Cfg:
    """YOLOv3 for COCO."""
    title = Title("YOLOv3", "object detector for the 80 COCO classes", YOLOV3, PJREDDIE)
    cfg = Cfg(title, detector_net(608, subdivisions=16))
    _three_scales(cfg, Heads(ANCHORS, TRAINING))
    return cfg


def yolov3_spp() -> Cfg:
    """YOLOv3 with a spatial pyramid in front of the first head."""
    title = Title(
        "YOLOv3-SPP",
        "YOLOv3 with spatial pyramid pooling, for the 80 COCO classes",
        YOLOV3,
        PJREDDIE,
    )
    cfg = Cfg(title, detector_net(608, subdivisions=16))
    _three_scales(cfg, Heads(ANCHORS, TRAINING), pyramid=True)
    return cfg


def gaussian_yolov3() -> Cfg:
    """YOLOv3 whose heads also predict how sure each coordinate is."""
    title = Title(
        "Gaussian YOLOv3",
        "object detector with box uncertainty for the 10 BDD100K classes",
        GAUSSIAN_YOLOV3,
        f"jwchoi384/Gaussian_YOLOv3 and {ALEXEYAB}",
    )
    cfg = Cfg(title, detector_net(512, subdivisions=16, learning_rate=0.0001))
    heads = Heads(
        BDD_ANCHORS, GAUSSIAN_TRAINING, classes=10, section="Gaussian_yolo", box_entries=9
    )
    _three_scales(cfg, heads)
    return cfg


def _three_scales(cfg: Cfg, heads: Heads, *, pyramid: bool = False) -> None:
    """Darknet-53, and heads for large, middle and small objects."""
    stride8, stride16 = darknet53_trunk(cfg)
    cfg.comment("head 1: large objects, stride 32")
    branch = _branch(cfg, 512, pyramid=pyramid)
    heads.add(cfg, 6, 7, 8)
    cfg.comment("head 2: middle objects, stride 16")
    _join(cfg, branch, 256, stride16)
    branch = _branch(cfg, 256)
    heads.add(cfg, 3, 4, 5)
    cfg.comment("head 3: small objects, stride 8")
    _join(cfg, branch, 128, stride8)
    _branch(cfg, 128)
    heads.add(cfg, 0, 1, 2)


def _branch(cfg: Cfg, width: int, *, pyramid: bool = False) -> int:
    """Three pairs of 1x1 and 3x3 convolutions; gives the layer where the next head leaves."""
    cfg.pointwise(width)
    cfg.conv(2 * width)
    cfg.pointwise(width)
    if pyramid:
        spatial_pyramid(cfg)
        cfg.pointwise(width)
    cfg.conv(2 * width)
    branch = cfg.pointwise(width)
    cfg.conv(2 * width)
    return branch


def _join(cfg: Cfg, branch: int, width: int, finer: int) -> None:
    """Enlarge the branch to twice its size, and join finer features of the trunk."""
    cfg.route(branch)
    cfg.pointwise(width)
    enlarged = cfg.upsample()
    cfg.route(enlarged, finer)


def yolov3_tiny() -> Cfg:
    """Tiny YOLOv3 for COCO."""
    title = Title("Tiny YOLOv3", "small object detector for the 80 COCO classes", YOLOV3, PJREDDIE)
    cfg = Cfg(title, detector_net(416, subdivisions=2))
    heads = Heads(TINY_ANCHORS, TRAINING)
    stride16 = tiny_trunk(cfg)
    cfg.comment("head 1: large objects, stride 32")
    branch = cfg.pointwise(256)
    cfg.conv(512)
    heads.add(cfg, 3, 4, 5)
    cfg.comment("head 2: small objects, stride 16")
    _join(cfg, branch, 128, stride16)
    cfg.conv(256)
    heads.add(cfg, 0, 1, 2)
    return cfg


NETWORKS = {
    "Gaussian_yolov3": gaussian_yolov3,
    "yolov3": yolov3,
    "yolov3-spp": yolov3_spp,
    "yolov3-tiny": yolov3_tiny,
}
