"""Make the bundled model digits10 and its pictures: darkconv/assets/digits10.

`python tools/make_digits10.py` trains the network of digits10.cfg from scratch on pictures that it
makes (about 25 minutes on two cores), writes weights, names, pictures and labels, and prints how
good the model is on pictures that it has not been trained on. `--pictures` writes the pictures
alone. `--anchors` prints anchors that suit the training pictures; those in the cfg are from there.
`--training FOLDER` writes pictures to train on, with labels, and nothing else; `--count` so many.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import darkconv as dc
from darkconv.boxes import as_corners
from darkconv.darknet.data import read_labels
from darkconv.dataset import open_dataset
from darkconv.dataset.anchors import find_anchors
from darkconv.evaluation.average_precision import (
    AveragePrecision,
    average_precision,
)
from digits10.scene import NAMES, Samples, Scene, make_scene, read_samples

FOLDER = Path(__file__).resolve().parent.parent / "darkconv" / "assets" / "digits10"
CFG = FOLDER / "digits10.cfg"
LIST = "valid.txt"
BUNDLED, TESTED = 30, 400
"""How many held-out pictures are written, and how many more the model is tested on."""
UNLABELLED = 16
"""How many pictures are written for a dissected model to recover on."""
TRAINING = 10_000
BUNDLED_SEED, TEST_SEED, ANCHOR_SEED, UNLABELLED_SEED, TRAINING_SEED = 1, 2, 3, 4, 20
JPEG_QUALITY, UNLABELLED_QUALITY, TRAINING_QUALITY = 88, 80, 95
RATE, DECAY = 4e-3, 0.02
WANTED = 0.9
"""Least mean average precision of a model that may be bundled."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and write, or print anchors; gives the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--anchors", action="store_true", help="print anchors, train nothing")
    parser.add_argument("--pictures", action="store_true", help="write pictures, train nothing")
    parser.add_argument(
        "--training", type=Path, metavar="FOLDER", help="write these pictures alone"
    )
    parser.add_argument("--count", type=int, default=TRAINING, help="how many pictures to train on")
    options = parser.parse_args(arguments)
    training, held_out = read_samples()
    if options.training:
        scenes = _scenes(training, TRAINING_SEED, options.count)
        _write_scenes(scenes, options.training, TRAINING_QUALITY)
        return 0
    if options.anchors:
        _print_anchors(dc.load(CFG), training)
        return 0
    _write_pictures(_scenes(held_out, BUNDLED_SEED, BUNDLED))
    unlabelled = _scenes(training, UNLABELLED_SEED, UNLABELLED)
    _write_scenes(unlabelled, FOLDER / "unlabelled", UNLABELLED_QUALITY, labels=False)
    if options.pictures:
        return 0
    start = time.monotonic()
    model = _train(dc.load(CFG), training)
    print(f"trained in {(time.monotonic() - start) / 60:.1f} minutes")
    _write_model(model)
    return _report(_scenes(held_out, TEST_SEED, TESTED))


def _train(model: dc.Model, samples: Samples) -> dc.Model:
    """Train from Darknet's initial values with the batch size and steps that the cfg names."""
    options = model.network.options
    model = replace(model, names=NAMES)
    recipe = dc.Recipe(
        steps=options.max_batches,
        batch=options.batch,
        rate=RATE,
        decay=DECAY,
    )
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "images"
        _write_scenes(_scenes(samples, TRAINING_SEED, TRAINING), pictures, TRAINING_QUALITY)
        data = open_dataset(pictures, names=NAMES)
        return dc.finetune(model, data, recipe=recipe, report=_print_row).model


def _print_row(row: dict[str, float]) -> None:
    text = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _scenes(samples: Samples, seed: int, count: int) -> list[Scene]:
    """Pictures that depend on the seed alone."""
    return [make_scene(np.random.default_rng([seed, i]), samples) for i in range(count)]


def _print_anchors(model: dc.Model, samples: Samples) -> None:
    shape = model.network.input_shape
    labels = np.concatenate([s.labels for s in _scenes(samples, ANCHOR_SEED, 1000)])
    means = find_anchors(labels[:, 3:] * np.array([shape.w, shape.h]), 3).anchors
    print("anchors=" + ", ".join(f"{w:.0f},{h:.0f}" for w, h in means))


def _write_model(model: dc.Model) -> None:
    names = CFG.with_suffix(".names")
    dc.save(model, CFG, CFG.with_suffix(".weights"), names=names)
    lines = (f"classes={len(NAMES)}", f"valid={LIST}", f"names={names.name}")
    CFG.with_suffix(".data").write_text("".join(f"{line}\n" for line in lines))


def _write_pictures(scenes: Sequence[Scene]) -> None:
    """Write the pictures that come with labels, and their list."""
    folder = FOLDER / "images"
    _write_scenes(scenes, folder, JPEG_QUALITY)
    lines = (f"{folder.name}/{number:03d}.jpg\n" for number in range(len(scenes)))
    (FOLDER / LIST).write_text("".join(lines))


def _write_scenes(
    scenes: Iterable[Scene], folder: Path, quality: int, *, labels: bool = True
) -> None:
    """Each as a JPEG file, with Darknet's label file beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(scenes):
        path = folder / f"{number:03d}.jpg"
        Image.fromarray(scene.picture).save(path, quality=quality, optimize=True)
        if labels:
            rows = (
                f"{int(row[0])} " + " ".join(f"{v:.6f}" for v in row[1:]) for row in scene.labels
            )
            path.with_suffix(".txt").write_text("".join(f"{row}\n" for row in rows))


def _report(tested: Sequence[Scene]) -> int:
    """Print the table of average precision; 1 if the model is not good enough."""
    model = dc.load(CFG, CFG.with_suffix(".weights"))
    files = sorted((FOLDER / "images").glob("*.jpg"))
    bundled = [_read_truths(file) for file in files]
    results = (
        _precision(model, [scene.picture for scene in tested], [s.boxes for s in tested]),
        _precision(model, files, bundled),
    )
    print(f"\nAP at IoU 0.5    {len(tested)} pictures      {len(files)} bundled pictures")
    for index, name in enumerate(model.names):
        columns = (f"{r.per_class[index]:8.3f} ({r.truths[index]:3d} boxes)" for r in results)
        print(f"{name:10s}", *columns)
    print(f"{'mean':10s}", *(f"{r.mean:8.3f}            " for r in results))
    return int(min(result.mean for result in results) < WANTED)


def _precision(
    model: dc.Model, pictures: Sequence[Path | np.ndarray], truths: Sequence[np.ndarray]
) -> AveragePrecision:
    """Average precision of a model on files or RGB levels."""
    found = [dc.detect(model, picture, threshold=0.005, nms=0.45) for picture in pictures]
    return average_precision(found, truths, num_classes=len(model.names))


def _read_truths(file: Path) -> np.ndarray:
    """Return the boxes of a label file in pixels: class, x0, y0, x1, y1."""
    with Image.open(file) as picture:
        rows = read_labels(file.with_suffix(".txt"))
        corners = as_corners(rows[:, 1:]) * np.array(picture.size * 2)
        return np.hstack([rows[:, :1], corners])


if __name__ == "__main__":
    sys.exit(main())
