"""ImageNet classifiers."""

from architectures.blocks import (
    COLOUR_JITTER,
    classifier_net,
    darknet19_trunk,
    residual_stage,
)
from architectures.papers import ALEXNET, DENSENET, PJREDDIE, RESNET, VGG, YOLO, YOLO9000, YOLOV3
from architectures.writer import Cfg, Options, Title

CLASSES = 1000
SUMMARY = "classifier for the 1000 ImageNet classes"


def alexnet() -> Cfg:
    """Five convolutions, three dense layers."""
    title = Title("AlexNet", SUMMARY, ALEXNET, PJREDDIE)
    net = classifier_net(
        227, subdivisions=1, learning_rate=0.01, max_batches=800000, max_crop=256, **COLOUR_JITTER
    )
    cfg = Cfg(title, net, activation="relu")
    cfg.comment("convolutions")
    cfg.conv(96, size=11, stride=4, pad=0, normalize=False)
    _overlapping_pool(cfg)
    cfg.conv(256, size=5, normalize=False)
    _overlapping_pool(cfg)
    for filters in (384, 384, 256):
        cfg.conv(filters, normalize=False)
    _overlapping_pool(cfg)
    _dense_classifier(cfg)
    return cfg


def vgg_16() -> Cfg:
    """Thirteen 3x3 convolutions, three dense layers."""
    title = Title("VGG-16", SUMMARY, VGG, PJREDDIE)
    net: Options = {
        "width": 256,
        "height": 256,
        "channels": 3,
        "batch": 128,
        "subdivisions": 4,
        "momentum": 0.9,
        "decay": 0.0005,
        "learning_rate": 0.00001,
    }
    cfg = Cfg(title, net, activation="relu")
    cfg.comment("the middle of the picture, values from -1 to 1")
    cfg.add("crop", crop_width=224, crop_height=224, flip=1)
    stages = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for number, (width, convolutions) in enumerate(stages, start=1):
        cfg.comment(f"stage {number}: {convolutions} convolutions, {width} channels")
        for _ in range(convolutions):
            cfg.conv(width, normalize=False)
        cfg.maxpool()
    _dense_classifier(cfg)
    cfg.add("cost", type="sse")
    return cfg


def extraction() -> Cfg:
    """Make the classifier that YOLOv1 grew from."""
    title = Title("Extraction", f"{SUMMARY}, the base of YOLOv1", YOLO, PJREDDIE)
    net = classifier_net(224, subdivisions=1, learning_rate=0.1, max_batches=1600000, max_crop=320)
    cfg = Cfg(title, net)
    extraction_trunk(cfg)
    cfg.comment("classifier")
    cfg.predict(CLASSES, activation="leaky")
    cfg.add("avgpool")
    cfg.add("softmax")
    cfg.add("cost", type="sse")
    return cfg


def extraction_trunk(cfg: Cfg) -> None:
    """Add Extraction without its classifier; it reduces the picture 32 times."""
    cfg.comment("stage 1: 64 channels")
    cfg.conv(64, size=7, stride=2)
    cfg.maxpool()
    cfg.comment("stage 2: 192 channels")
    cfg.conv(192)
    cfg.maxpool()
    stages = (
        ((128, 256), (256, 512)),
        ((256, 512),) * 4 + ((512, 1024),),
        ((512, 1024),) * 2,
    )
    for number, pairs in enumerate(stages, start=3):
        cfg.comment(f"stage {number}: {len(pairs)} pairs, {pairs[-1][-1]} channels at the end")
        for inner, width in pairs:
            cfg.pointwise(inner)
            cfg.conv(width)
        if number < 5:
            cfg.maxpool()


def darknet19() -> Cfg:
    """Darknet-19 as trained at 224x224."""
    net = classifier_net(
        256,
        subdivisions=2,
        learning_rate=0.1,
        burn_in=1000,
        max_batches=800000,
        min_crop=128,
        max_crop=448,
        **COLOUR_JITTER,
    )
    return _darknet19("Darknet-19", SUMMARY, net)


def darknet19_448() -> Cfg:
    """Darknet-19 as trained further at 448x448."""
    net = classifier_net(
        448,
        subdivisions=4,
        learning_rate=0.001,
        max_batches=100000,
        max_crop=512,
        **COLOUR_JITTER,
    )
    return _darknet19(
        "Darknet-19 448x448",
        "Darknet-19 trained further on larger pictures, the base of YOLOv2",
        net,
    )


def _darknet19(name: str, summary: str, net: Options) -> Cfg:
    cfg = Cfg(Title(name, summary, YOLO9000, PJREDDIE), net)
    darknet19_trunk(cfg)
    cfg.comment("classifier")
    cfg.predict(CLASSES)
    cfg.add("avgpool")
    cfg.add("softmax")
    return cfg


def darknet53() -> Cfg:
    """Darknet-53, the base of YOLOv3."""
    title = Title("Darknet-53", f"{SUMMARY}, the base of YOLOv3", YOLOV3, PJREDDIE)
    cfg = Cfg(title, _deep_net())
    darknet53_trunk(cfg)
    _pooled_classifier(cfg)
    return cfg


def darknet53_trunk(cfg: Cfg) -> tuple[int, int]:
    """Darknet-53 without its classifier; gives the last layers at strides 8 and 16."""
    cfg.comment("stem")
    cfg.conv(32)
    residual_stage(cfg, 1, 64, 1)
    residual_stage(cfg, 2, 128, 2)
    stride8 = residual_stage(cfg, 3, 256, 8)
    stride16 = residual_stage(cfg, 4, 512, 8)
    residual_stage(cfg, 5, 1024, 4)
    return stride8, stride16


def resnet50() -> Cfg:
    """ResNet-50 in Darknet's form: leaky, and no projection in the shortcuts."""
    title = Title("ResNet-50", SUMMARY, RESNET, PJREDDIE)
    cfg = Cfg(title, _deep_net())
    cfg.comment("stem")
    cfg.conv(64, size=7, stride=2)
    cfg.maxpool()
    for number, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        cfg.comment(f"stage {number}: {blocks} bottleneck blocks, {4 * width} channels")
        for block in range(blocks):
            halves = number > 1 and block == 0
            _bottleneck(cfg, width, stride=2 if halves else 1)
    _pooled_classifier(cfg)
    return cfg


def _bottleneck(cfg: Cfg, width: int, *, stride: int) -> None:
    start = cfg.last
    cfg.pointwise(width)
    cfg.conv(width, stride=stride)
    cfg.pointwise(4 * width, activation="linear")
    cfg.shortcut(start, activation="leaky")


def densenet201() -> Cfg:
    """DenseNet-201 in Darknet's form: normalization behind each convolution."""
    title = Title("DenseNet-201", SUMMARY, DENSENET, PJREDDIE)
    net = classifier_net(
        256,
        subdivisions=4,
        learning_rate=0.1,
        burn_in=1000,
        max_batches=1600000,
        max_crop=448,
        **COLOUR_JITTER,
    )
    cfg = Cfg(title, net)
    _densenet_trunk(cfg)
    cfg.comment("classifier")
    cfg.predict(CLASSES)
    cfg.add("avgpool")
    cfg.add("softmax")
    cfg.add("cost", type="sse")
    return cfg


def _densenet_trunk(cfg: Cfg) -> None:
    cfg.comment("stem")
    cfg.conv(64, size=7, stride=2)
    cfg.maxpool()
    for number, blocks in enumerate((6, 12, 48, 32), start=1):
        cfg.comment(f"stage {number}: {blocks} times 32 more channels")
        _dense_stage(cfg, blocks)
        if number < 4:
            width = 64 << number
            cfg.comment(f"transition: {width} channels")
            cfg.pointwise(width)
            cfg.maxpool()


def _dense_stage(cfg: Cfg, blocks: int) -> None:
    for _ in range(blocks):
        start = cfg.last
        cfg.pointwise(128)
        new = cfg.conv(32)
        cfg.route(new, start)


def _deep_net() -> Options:
    return classifier_net(
        256,
        subdivisions=4,
        learning_rate=0.1,
        burn_in=1000,
        max_batches=800000,
        min_crop=128,
        max_crop=448,
        **COLOUR_JITTER,
    )


def _overlapping_pool(cfg: Cfg) -> None:
    cfg.add("maxpool", size=3, stride=2, padding=0)


def _dense_classifier(cfg: Cfg) -> None:
    cfg.comment("classifier")
    for _ in range(2):
        cfg.add("connected", output=4096, activation="relu")
        cfg.add("dropout", probability=0.5)
    cfg.add("connected", output=CLASSES, activation="linear")
    cfg.add("softmax")


def _pooled_classifier(cfg: Cfg) -> None:
    cfg.comment("classifier")
    cfg.add("avgpool")
    cfg.predict(CLASSES)
    cfg.add("softmax")


NETWORKS = {
    "alexnet": alexnet,
    "darknet19": darknet19,
    "darknet19_448": darknet19_448,
    "darknet53": darknet53,
    "densenet201": densenet201,
    "extraction": extraction,
    "resnet50": resnet50,
    "vgg-16": vgg_16,
}
