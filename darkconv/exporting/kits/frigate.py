"""The kit for Frigate: the file, its label map, and what to write into Frigate's configuration."""

import json

from darkconv.exporting.kits.kit import Filling, Kit

PLACE = "/config/model_cache"
"""Where Frigate's container has models."""


def fill(kit: Filling) -> None:
    """Write the file, the label map and the part of the configuration."""
    kit.write_model("model.onnx")
    names = kit.facts.readable_names
    # numbered, since a first name that is a number would be taken for one
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
