"""The layouts of tests/data/cases/datasets/layouts.py, made from pictures that come with darkconv.

The script reads a VOC set at `data/indoor85` above it, as it lies in the collection that it comes
from. Here that set is made of ten pictures of digits: six of the digits bear the names of VOC
classes, the others are left out.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from darkconv.assets import digits10_folder
from darkconv.darknet.data import read_labels

SCRIPT = Path(__file__).parent / "data/cases/datasets/layouts.py"
CLASSES = ("chair", "diningtable", "pottedplant", "sofa", "tvmonitor", "bottle")
OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{:.0f}</xmin><ymin>{:.0f}</ymin><xmax>{:.0f}</xmax>"
    "<ymax>{:.0f}</ymax></bndbox></object>"
)


def build_layouts(folder: Path) -> Path:
    """Build all layouts below a folder, and return the folder that holds them."""
    _voc(folder / "data/indoor85")
    script = folder / "cases/datasets/layouts.py"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    subprocess.run([sys.executable, str(script), str(folder / "made")], check=True)
    return folder / "made"


def _voc(root: Path) -> None:
    """Write the digits as annotations of VOC, in whole pixels."""
    for name in ("annotations", "images"):
        (root / name).mkdir(parents=True)
    for path in sorted((digits10_folder() / "images").glob("*.jpg")):
        with Image.open(path) as image:
            width, height = image.size
        objects = [
            OBJECT.format(CLASSES[int(number)], *_corners(row, width, height))
            for number, *row in read_labels(path.with_suffix(".txt")).tolist()
            if number < len(CLASSES)
        ]
        text = f"<annotation>{''.join(objects)}</annotation>"
        (root / "annotations" / f"{path.stem}.xml").write_text(text)
        shutil.copy(path, root / "images" / path.name)


def _corners(row: list[float], width: int, height: int) -> tuple[float, float, float, float]:
    x, y, w, h = row
    return (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
