"""YOLOv1, YOLOv2 and YOLO9000: a trunk and one head."""

from architectures.blocks import darknet19_trunk, detector_net, steps, tiny_trunk
from architectures.classifiers import extraction_trunk
from architectures.papers import PJREDDIE, YOLO, YOLO9000
from architectures.writer import Cfg, Options, Title, Value

VOC = (1.3221, 1.73145, 3.19275, 4.00944, 5.05587, 8.09892, 9.47112, 4.84053, 11.2364, 10.0071)
COCO = (0.57273, 0.677385, 1.87446, 2.06253, 3.33843, 5.47434, 7.88282, 3.52778, 9.77052, 9.16828)
TINY_VOC = (1.08, 1.19, 3.42, 4.41, 6.63, 11.38, 9.42, 5.11, 16.62, 10.52)
HIERARCHY = (0.77871, 1.14074, 3.00525, 4.31277, 9.22725, 9.61974)
"""Anchors of each data set: widths and heights in cells of 32 pixels."""


def yolov1() -> Cfg:
    """YOLOv1: Extraction, four more convolutions, a local and a dense layer."""
    title = Title("YOLOv1", "object detector for the 20 VOC classes", YOLO, PJREDDIE)
    rates = {200: 2.5, 400: 2, 600: 2, 20000: 0.1, 30000: 0.1}
    net = detector_net(448, subdivisions=8, **_first_training(rates))
    cfg = Cfg(title, net)
    extraction_trunk(cfg)
    cfg.comment("detector")
    cfg.conv(1024)
    cfg.conv(1024, stride=2)
    cfg.conv(1024)
    cfg.conv(1024)
    cfg.add("local", filters=256, size=3, stride=1, pad=1, activation="leaky")
    cfg.add("dropout", probability=0.5)
    _grid_head(cfg, boxes=3)
    return cfg


def yolov1_tiny() -> Cfg:
    """Tiny YOLOv1: eight convolutions and a dense layer."""
    title = Title("Tiny YOLOv1", "small object detector for the 20 VOC classes", YOLO, PJREDDIE)
    rates = {200: 2.5, 400: 2, 600: 2, 800: 2, 20000: 0.1, 30000: 0.1}
    jitter: Options = {"saturation": 0.75, "exposure": 0.75}
    net = detector_net(448, subdivisions=8, **_first_training(rates), **jitter)
    cfg = Cfg(title, net)
    for number, width in enumerate((16, 32, 64, 128, 256, 512), start=1):
        cfg.comment(f"stage {number}: {width} channels")
        cfg.conv(width)
        cfg.maxpool()
    cfg.comment("detector")
    cfg.conv(1024)
    cfg.conv(256)
    _grid_head(cfg, boxes=2)
    return cfg


def _first_training(rates: dict[int, float]) -> Options:
    return {"learning_rate": 0.0005, "burn_in": 0, "max_batches": 40000, **steps(rates)}


def _grid_head(cfg: Cfg, *, boxes: int) -> None:
    side, classes, coords = 7, 20, 4
    cfg.comment(f"head: {side}x{side} cells of {classes} classes and {boxes} boxes")
    outputs = side**2 * (classes + boxes * (1 + coords))
    cfg.add("connected", output=outputs, activation="linear")
    cfg.add(
        "detection",
        classes=classes,
        coords=coords,
        num=boxes,
        side=side,
        softmax=0,
        sqrt=1,
        jitter=0.2,
        rescore=1,
        object_scale=1,
        noobject_scale=0.5,
        class_scale=1,
        coord_scale=5,
    )


def yolov2() -> Cfg:
    """YOLOv2 for COCO."""
    title = Title("YOLOv2", "object detector for the 80 COCO classes", YOLO9000, PJREDDIE)
    cfg = Cfg(title, detector_net(608, subdivisions=8))
    _passthrough_detector(cfg)
    _region_head(cfg, COCO, classes=80)
    return cfg


def yolov2_voc() -> Cfg:
    """YOLOv2 for VOC."""
    title = Title("YOLOv2 VOC", "object detector for the 20 VOC classes", YOLO9000, PJREDDIE)
    rates = steps({40000: 0.1, 60000: 0.1})
    cfg = Cfg(title, detector_net(416, subdivisions=8, max_batches=80200, **rates))
    _passthrough_detector(cfg)
    _region_head(cfg, VOC, classes=20)
    return cfg


def _passthrough_detector(cfg: Cfg) -> None:
    stride16 = darknet19_trunk(cfg)
    cfg.comment("detector")
    cfg.conv(1024)
    stride32 = cfg.conv(1024)
    cfg.comment("finer features pass through, four cells as channels of one")
    cfg.route(stride16)
    cfg.pointwise(64)
    fine = cfg.add("reorg", stride=2)
    cfg.route(fine, stride32)
    cfg.conv(1024)


def yolov2_tiny() -> Cfg:
    """Tiny YOLOv2 for COCO."""
    title = Title(
        "Tiny YOLOv2", "small object detector for the 80 COCO classes", YOLO9000, PJREDDIE
    )
    cfg = Cfg(title, detector_net(416, subdivisions=2))
    tiny_trunk(cfg)
    cfg.comment("detector")
    cfg.conv(512)
    _region_head(cfg, COCO, classes=80, jitter=0.2, rescore=0)
    return cfg


def yolov2_tiny_voc() -> Cfg:
    """Tiny YOLOv2 for VOC."""
    title = Title(
        "Tiny YOLOv2 VOC", "small object detector for the 20 VOC classes", YOLO9000, PJREDDIE
    )
    rates = steps({-1: 0.1, 100: 10, 20000: 0.1, 30000: 0.1})
    net = detector_net(416, subdivisions=2, burn_in=0, max_batches=40200, **rates)
    cfg = Cfg(title, net)
    tiny_trunk(cfg)
    cfg.comment("detector")
    cfg.conv(1024)
    _region_head(cfg, TINY_VOC, classes=20, jitter=0.2)
    return cfg


def yolo9000() -> Cfg:
    """YOLO9000: Darknet-19 and a head with a tree of classes."""
    title = Title(
        "YOLO9000",
        "object detector for 9418 classes of ImageNet and COCO in a tree",
        YOLO9000,
        PJREDDIE,
    )
    cfg = Cfg(title, detector_net(544, subdivisions=8, saturation=0.75, exposure=0.75))
    darknet19_trunk(cfg)
    tree: Options = {"tree": "data/9k.tree", "map": "data/coco9k.map"}
    _region_head(cfg, HIERARCHY, classes=9418, jitter=0.2, **tree)
    return cfg


def _region_head(cfg: Cfg, anchors: tuple[float, ...], *, classes: int, **changes: Value) -> None:
    coords, boxes = 4, len(anchors) // 2
    cfg.comment(f"head: {boxes} boxes per cell, {classes} classes")
    cfg.predict(boxes * (coords + 1 + classes))
    options: Options = {
        "anchors": anchors,
        "classes": classes,
        "coords": coords,
        "num": boxes,
        "softmax": 1,
        "jitter": 0.3,
        "random": 1,
        "rescore": 1,
        "bias_match": 1,
        "absolute": 1,
        "thresh": 0.6,
        "object_scale": 5,
        "noobject_scale": 1,
        "class_scale": 1,
        "coord_scale": 1,
        **changes,
    }
    cfg.add("region", **options)


NETWORKS = {
    "yolo9000": yolo9000,
    "yolov1": yolov1,
    "yolov1-tiny": yolov1_tiny,
    "yolov2": yolov2,
    "yolov2-tiny": yolov2_tiny,
    "yolov2-tiny-voc": yolov2_tiny_voc,
    "yolov2-voc": yolov2_voc,
}
