"""The table of all kits, by name."""

from darkconv.exporting.kits import (
    browser,
    coreml,
    deepstream,
    frigate,
    ncnn,
    opencv,
    openvino,
    triton,
)
from darkconv.exporting.kits.kit import Kit

KITS: dict[str, Kit] = {
    kit.name: kit
    for kit in (
        opencv.KIT,
        triton.KIT,
        deepstream.KIT,
        frigate.KIT,
        browser.KIT,
        openvino.KIT,
        ncnn.KIT,
        coreml.KIT,
    )
}
