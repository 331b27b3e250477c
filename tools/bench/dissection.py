"""What is left of a detector that is cut to some classes and pruned, before any recovery.

    python tools/bench/dissection.py --data FOLDER --keep A,B,C MODEL.cfg ...

For each model: the classes are cut, channels are profiled on the pictures that hold nothing but
the kept classes, and every score is tried at every keep ratio, with and without compensation.
Average precision is taken at IoU 0.5 over all pictures of the folder. Prints Markdown.
"""

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import darkconv as dc
from darkconv.dataset import Dataset, open_dataset
from darkconv.detection.detect import detections, runner
from darkconv.dissection import examine
from darkconv.evaluation.average_precision import average_precision
from darkconv.evaluation.latency import measure_latency
from darkconv.pictures.picture import Fit, read_picture
from darkconv.surgery.importance import SCORES
from darkconv.surgery.planning import Planning

THRESHOLD = 0.005
NMS = 0.45
BATCH = 17
RATIOS = (0.9, 0.75, 0.5)
MULTIPLE = 8


@dataclass(frozen=True)
class Pictures:
    """Pictures as input of one network, and what is on them."""

    x: np.ndarray
    fits: list[Fit]
    truths: list[np.ndarray]


def fit_pictures(network, dataset: Dataset, names: Sequence[str]) -> Pictures:
    """All pictures, stretched to the network's input."""
    shape = network.input_shape
    x, fits, truths = [], [], []
    for sample in dataset.samples:
        picture = read_picture(sample.image, channels=shape.c)
        fits.append(Fit((picture.shape[1], picture.shape[0]), (shape.w, shape.h), False))
        x.append(fits[-1].apply(picture))
        rows = [
            (names.index(name), *box)
            for name, box in zip(sample.names, sample.boxes, strict=True)
            if name in names
        ]
        truths.append(np.array(rows, np.float64).reshape(-1, 5))
    return Pictures(np.stack(x), fits, truths)


def precision(model: dc.Model, pictures: Pictures, wanted: Sequence[str]) -> np.ndarray:
    """AP at IoU 0.5 of the wanted classes, in percent."""
    found = []
    run = runner(model, "onnx")
    for start in range(0, len(pictures.x), BATCH):
        outputs = run(pictures.x[start : start + BATCH])
        for place, fit in enumerate(pictures.fits[start : start + BATCH]):
            values = [value[place] for value in outputs]
            boxes = detections(model, values, fit, threshold=THRESHOLD, nms=NMS, nms_kind="sort")
            found.append(
                [replace(d, class_id=wanted.index(d.name)) for d in boxes if d.name in wanted]
            )
    return 100 * average_precision(found, pictures.truths, num_classes=len(wanted)).per_class


def size_of(model: dc.Model) -> int:
    """Bytes of the weights file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.weights"
        dc.save(model, path.with_suffix(".cfg"), path)
        return path.stat().st_size


def cost(model: dc.Model) -> tuple[int, int, int]:
    """Parameters, MACs, bytes."""
    layers = model.network.layers
    return sum(la.parameters for la in layers), sum(la.macs for la in layers), size_of(model)


def row(name: str, costs: tuple[int, int, int], latency: str, values: np.ndarray, wanted) -> str:
    """A line of the table."""
    params, macs, size = costs
    without = np.delete(values, wanted.index("person")) if "person" in wanted else values
    cells = [name, f"{params / 1e3:,.0f}", f"{macs / 1e6:,.1f}", f"{size / 1e6:.2f}", latency]
    cells += [f"{v:.1f}" for v in (*values, values.mean(), without.mean())]
    return f"| {' | '.join(cells)} |"


def measure(cfg: Path, dataset: Dataset, wanted: list[str], scores: list[str]) -> None:
    """Print the table of one model."""
    whole = dc.load(cfg, cfg.with_suffix(".weights"))
    specimen = examine(whole, wanted, images=dataset, taylor=True, contrast=True)
    cut, profile = specimen.uncut, specimen.profile
    pictures = fit_pictures(cut.network, dataset, wanted)
    print(f"\n## {cfg.stem}\n\nProfiled on {profile.pictures} of {len(dataset)} pictures.\n")
    titles = ["", "kparams", "MMACs", "MB", "ms", *wanted, "mean", "without person"]
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    base = precision(cut, pictures, wanted)
    latency = measure_latency({"whole": whole, "cut": cut}, backend="onnx").milliseconds
    all_classes = precision(whole, pictures, wanted)
    print(row("all classes", cost(whole), f"{latency['whole']:.2f}", all_classes, wanted))
    print(row("cut to 4", cost(cut), f"{latency['cut']:.2f}", base, wanted))
    for multiple, ratio, score in trials(scores):
        plan = Planning(ratio=ratio, score=score, multiple=multiple, skip_first=0, min_keep=0)
        pruned = {
            compensate: specimen.dissected(
                replace(plan, compensate=compensate), reconstruct=False
            ).model
            for compensate in (True, False)
        }
        speed = measure_latency({"cut": cut, "pruned": pruned[True]}, backend="onnx").milliseconds
        for compensate, model in pruned.items():
            name = f"{score} {ratio:g}" + (f", multiples of {multiple}" if multiple > 1 else "")
            name += "" if compensate else ", no compensation"
            values = precision(model, pictures, wanted)
            print(
                row(name, cost(model), f"{speed['pruned'] / speed['cut']:.2f}x", values, wanted),
                flush=True,
            )


def trials(scores: list[str]) -> list[tuple[int, float, str]]:
    """Multiple, ratio and score of each trial; every score without guards, the first with one."""
    free = [(1, ratio, score) for ratio, score in itertools.product(RATIOS, scores)]
    return [*free, *((MULTIPLE, ratio, scores[0]) for ratio in RATIOS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", required=True)
    parser.add_argument("--scores", default=",".join(SCORES))
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    for cfg in options.models:
        measure(cfg, dataset, options.keep.split(","), options.scores.split(","))


if __name__ == "__main__":
    main()
