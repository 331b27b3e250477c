"""The kit for NVIDIA DeepStream with DeepStream-Yolo: the ONNX file and nvinfer's configuration."""

import logging

from darkconv.encodings import encoded
from darkconv.exporting.kits.kit import OF_ONNX, Filling, Kit
from darkconv.exporting.writing import OF_INT8

logger = logging.getLogger("darkconv")

FORMATS = {1: 2, 3: 0}
"""nvinfer's `model-color-format` by the number of channels: 2 is grey, 0 is RGB."""
SEPARATOR = ";"
"""Character that separates the labels of a line in nvinfer's label files."""


def fill(kit: Filling) -> None:
    """Write the ONNX file, its labels and the configuration of nvinfer.

    Args:
        kit: folder to fill.
    """
    facts = kit.facts
    kit.write_model("model.onnx")
    kit.write("labels.txt", encoded("".join(f"{name}\n" for name in _labels(kit))))
    hidden = SEPARATOR.join(map(str, sorted(facts.hidden)))
    classes = "\n".join(
        f"\n# {name}\n[class-attrs-{i}]\npre-cluster-threshold={facts.threshold:g}\n"
        f"nms-iou-threshold={facts.nms:g}"
        for i, name in enumerate(facts.readable_names)
    )
    kit.fill_in(
        "config_infer.txt",
        format=FORMATS[facts.channels],
        mode=2 if kit.options.get("fp16") else 0,
        keeps=int(facts.is_letterbox),
        filter=f"filter-out-class-ids={hidden}\n" if hidden else "",
        attributes=classes,
    )
    kit.fill_in(
        "README.md",
        fit="with its proportions kept, in the middle (the borders are black, where Darknet's are "
        "grey)" if facts.is_letterbox else "stretched",
    )  # fmt: skip


def _labels(kit: Filling) -> list[str]:
    """Return the class names; semicolons are replaced, since they end a label in nvinfer."""
    names = list(kit.facts.names)
    if any(SEPARATOR in name for name in names):
        logger.warning("%s: labels.txt has , for ; in names, which parts labels there", kit.place)
    return [name.replace(SEPARATOR, ",") for name in names]


KIT = Kit(
    name="deepstream",
    what="DeepStream-Yolo",
    fill=fill,
    fixed={
        "head": "boxes",
        "layout": "deepstream",
        "pixels": False,
        "input": "float32-nchw",
        "dynamic": "batch",
    },
    # nvinfer takes an 8-bit file only with its own calibration table
    options=tuple(name for name in OF_ONNX if name not in ("int8", *OF_INT8)),
    channels=(1, 3),
)
