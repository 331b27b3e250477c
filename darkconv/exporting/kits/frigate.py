"""The kit for Frigate: the ONNX file, its label map, and a part of Frigate's configuration."""

import json

from darkconv.exporting.kits.kit import Filling, Kit

PLACE = "/config/model_cache"
"""Folder of the models in Frigate's container."""


def fill(kit: Filling) -> None:
    """Write the ONNX file, the label map and the part of the configuration.

    Args:
        kit: folder to fill.
    """
    kit.write_model("model.onnx")
    names = kit.facts.readable_names
    # lines are numbered, since Frigate would take a first name that is a number for an index
    kit.write("labelmap.txt", "".join(f"{i} {name}\n" for i, name in enumerate(names)))
    shown = [name for i, name in enumerate(names) if i not in kit.facts.hidden]
    tracked = "\n".join(f"    - {json.dumps(name, ensure_ascii=False)}" for name in shown)
    kit.fill_in("frigate.yml", place=PLACE, tracked=tracked)
    kit.fill_in("README.md", place=PLACE)


KIT = Kit(
    name="frigate",
    what="Frigate",
    fill=fill,
    fixed={
        "head": "boxes",
        "layout": "ultralytics",
        "pixels": False,
        "input": "float32-nchw",
        "dynamic": "none",
    },
)
