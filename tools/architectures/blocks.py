"""What several families share: [net] presets, stages of layers, heads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from architectures.writer import Cfg, Options, Value


def detector_net(size: int, *, subdivisions: int, **changes: Value) -> Options:
    """[net] of the detectors that were trained on COCO as YOLOv3 was."""
    return {
        "width": size,
        "height": size,
        "channels": 3,
        "batch": 64,
        "subdivisions": subdivisions,
        "momentum": 0.9,
        "decay": 0.0005,
        "learning_rate": 0.001,
        "burn_in": 1000,
        "max_batches": 500200,
        **steps({400000: 0.1, 450000: 0.1}),
        "saturation": 1.5,
        "exposure": 1.5,
        "hue": 0.1,
        **changes,
    }


def classifier_net(size: int, *, subdivisions: int, **changes: Value) -> Options:
    """[net] of the classifiers that were trained on ImageNet."""
    return {
        "width": size,
        "height": size,
        "channels": 3,
        "batch": 128,
        "subdivisions": subdivisions,
        "momentum": 0.9,
        "decay": 0.0005,
        "policy": "poly",
        "power": 4,
        **changes,
    }


COLOUR_JITTER: Options = {
    "angle": 7,
    "aspect": 0.75,
    "saturation": 0.75,
    "exposure": 0.75,
    "hue": 0.1,
}
"""How the later classifiers varied their training pictures."""


def steps(factors: Mapping[int, float]) -> Options:
    """Return a learning rate that is multiplied by a factor at each of the given batches."""
    return {"policy": "steps", "steps": tuple(factors), "scales": tuple(factors.values())}


def squeeze_stage(cfg: Cfg, width: int, convolutions: int) -> int:
    """3x3 convolutions with 1x1 ones of half the width between them."""
    for number in range(convolutions):
        if number % 2:
            cfg.pointwise(width // 2)
        else:
            cfg.conv(width)
    return cfg.last


def darknet19_trunk(cfg: Cfg) -> int:
    """Darknet-19 without its classifier; gives the last layer at stride 16."""
    cfg.comment("stage 1: 32 channels")
    cfg.conv(32)
    stride16 = 0
    for number, (width, convolutions) in enumerate(
        ((64, 1), (128, 3), (256, 3), (512, 5), (1024, 5)), start=2
    ):
        stride16 = cfg.last
        cfg.maxpool()
        cfg.comment(f"stage {number}: {width} channels")
        squeeze_stage(cfg, width, convolutions)
    return stride16


def tiny_trunk(cfg: Cfg) -> int:
    """Seven 3x3 convolutions with pools between them; gives the last one at stride 16."""
    for number, width in enumerate((16, 32, 64, 128, 256), start=1):
        cfg.comment(f"stage {number}: {width} channels")
        stride16 = cfg.conv(width)
        cfg.maxpool()
    cfg.comment("stage 6: 512 and 1024 channels; this pool keeps the size")
    cfg.conv(512)
    cfg.maxpool(stride=1)
    cfg.conv(1024)
    return stride16


def residual_stage(cfg: Cfg, number: int, width: int, blocks: int) -> int:
    """Darknet-53: half the size, then 1x1 and 3x3 convolutions with a shortcut around."""
    cfg.comment(f"stage {number}: {count(blocks, 'residual block')}, {width} channels")
    cfg.conv(width, stride=2)
    residual_blocks(cfg, width // 2, width, blocks)
    return cfg.last


def residual_blocks(cfg: Cfg, inner: int, width: int, blocks: int) -> None:
    """1x1 and 3x3 convolutions with a shortcut around each pair."""
    for _ in range(blocks):
        start = cfg.last
        cfg.pointwise(inner)
        cfg.conv(width)
        cfg.shortcut(start)


def spatial_pyramid(cfg: Cfg, *, widest_first: bool = True) -> int:
    """Add the maxima of the last layer over 5x5, 9x9 and 13x13 windows, beside the layer itself."""
    start = cfg.last
    cfg.comment("spatial pyramid: windows of 5, 9 and 13")
    parts = [start]
    for size in (5, 9, 13):
        if size > 5:
            cfg.route(start)
        parts.append(cfg.maxpool(size, stride=1))
    return cfg.route(*(reversed(parts) if widest_first else parts))


def count(number: int, what: str) -> str:
    """`1 block`, `2 blocks`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


@dataclass(frozen=True)
class Heads:
    """The heads of one network: all know all anchors, each uses those of its mask.

    Attributes:
        anchors: widths and heights in pixels.
        options: what all heads say besides.
        classes: number of classes.
        section: type of the head layer.
        box_entries: channels of an anchor before its classes.
        activation: of the convolution in front.
    """

    anchors: tuple[int, ...]
    options: Options = field(default_factory=dict)
    classes: int = 80
    section: str = "yolo"
    box_entries: int = 5
    activation: str = "linear"

    def add(self, cfg: Cfg, *mask: int, **options: Value) -> int:
        """Add the convolution and the head for the anchors of a mask."""
        filters = len(mask) * (self.box_entries + self.classes)
        cfg.predict(filters, activation=self.activation)
        shared: Options = {
            "mask": mask,
            "anchors": self.anchors,
            "classes": self.classes,
            "num": len(self.anchors) // 2,
        }
        return cfg.add(self.section, **{**shared, **self.options, **options})
