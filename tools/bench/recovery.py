"""How much of a dissected detector comes back by distillation on unlabelled pictures.

    python tools/bench/recovery.py --data FOLDER --keep A,B,C MODEL.cfg ...

The pictures are cut into folds. For each fold the detector is cut to the kept classes, channels
are profiled on the other folds' pictures and pruned, the weights that stay are refitted, and the
result learns from the uncut detector on those pictures, without labels; then it is tested on the
fold. Average precision at IoU 0.5 counts all pictures, each with the model that has not seen it.
Prints Markdown.
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import darkconv as dc
from darkconv.dataset import Dataset, open_dataset
from darkconv.detection.detect import Detection, detections, runner
from darkconv.evaluation.average_precision import average_precision
from darkconv.training.recipe import Recipe
from dissection import NMS, THRESHOLD, cost, fit_pictures

SURE = 0.25
BOOTSTRAPS = 1000
LIKE = 0.5
STAGES = ("pruned", "refitted", "recovered")

Found = list[list[Detection]]


@dataclass(frozen=True)
class Bench:
    """What is tested, and how."""

    dataset: Dataset
    wanted: list[str]
    counted: list[str]
    folds: int
    score: str
    ratio: float
    multiple: int
    recipe: Recipe

    def test(self, fold: int) -> list[int]:
        """Pictures of a fold."""
        return list(range(fold, len(self.dataset), self.folds))

    def training(self, fold: int) -> Dataset:
        """The other pictures, without their labels."""
        out = set(self.test(fold))
        kept = (s for i, s in enumerate(self.dataset.samples) if i not in out)
        return replace(self.dataset, samples=tuple(s.keep_classes(()) for s in kept))


def find(model: dc.Model, pictures, numbers: Sequence[int], wanted: list[str]) -> Found:
    """Detections in some pictures."""
    run = runner(model, "torch")
    found = []
    for number in numbers:
        values = [value[0] for value in run(pictures.x[number][None])]
        fit = pictures.fits[number]
        boxes = detections(model, values, fit, threshold=THRESHOLD, nms=NMS, nms_kind="sort")
        found.append([replace(d, class_id=wanted.index(d.name)) for d in boxes])
    return found


def per_class(found: Found, truths, bench: Bench) -> np.ndarray:
    """AP in percent."""
    return 100 * average_precision(found, truths, num_classes=len(bench.wanted)).per_class


def counted_mean(values: np.ndarray, bench: Bench) -> float:
    """Mean over the classes that count."""
    return float(np.mean([values[bench.wanted.index(name)] for name in bench.counted]))


def interval(before: Found, after: Found, truths, bench: Bench) -> tuple[float, float]:
    """95 % bootstrap interval, over pictures, of what the mean AP lost."""
    stream = np.random.default_rng(0)
    lost = []
    for _ in range(BOOTSTRAPS):
        rows = stream.integers(0, len(truths), len(truths))
        own = [truths[i] for i in rows]
        means = [
            counted_mean(per_class([found[i] for i in rows], own, bench), bench)
            for found in (before, after)
        ]
        lost.append(means[0] - means[1])
    low, high = np.nanpercentile(lost, [2.5, 97.5])
    return float(low), float(high)


def agreement(student: Found, teacher: Found) -> float:
    """F1 of the student's sure detections against the teacher's, same class, IoU 0.5."""
    hits = total = 0
    for a, b in zip(student, teacher, strict=True):
        own, others = ([d for d in found if d.score > SURE] for found in (a, b))
        total += len(own) + len(others)
        free = list(others)
        for one in own:
            match = max(free, key=lambda d: like(one, d), default=None)
            if match and like(one, match) >= LIKE:
                free.remove(match)
                hits += 1
    return 2 * hits / max(total, 1)


def like(a: Detection, b: Detection) -> float:
    """IoU of two boxes of one class."""
    if a.name != b.name:
        return 0.0
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = sum((d.box[2] - d.box[0]) * (d.box[3] - d.box[1]) for d in (a, b))
    return width * height / (area - width * height)


def recover(whole: dc.Model, bench: Bench, fold: int) -> dict[str, dc.Model]:
    """The dissected model of a fold, at each of `STAGES`."""
    training = bench.training(fold)
    cut = dc.dissect(
        whole, bench.wanted, images=training, score=bench.score, ratio=bench.ratio,
        multiple=bench.multiple, skip_first=0, min_keep=0,
    )  # fmt: skip
    done = dc.finetune(cut.model, training, teacher=cut.uncut, recipe=bench.recipe)
    return dict(zip(STAGES, (cut.pruned, cut.model, done.model), strict=True))


def measure(cfg: Path, bench: Bench) -> None:
    """Print the table of one model."""
    whole = dc.load(cfg, cfg.with_suffix(".weights"))
    cut = dc.reclass(whole, bench.wanted)
    pictures = fit_pictures(cut.network, bench.dataset, bench.wanted)
    every = range(len(bench.dataset))
    found: dict[str, Found] = {"cut": find(cut, pictures, every, bench.wanted)}
    for name in STAGES:
        found[name] = [[] for _ in every]
    start = time.perf_counter()
    costs = []
    for fold in range(bench.folds):
        models = recover(whole, bench, fold)
        costs.append(cost(models["recovered"]))
        numbers = bench.test(fold)
        for name, model in models.items():
            own = find(model, pictures, numbers, bench.wanted)
            for number, boxes in zip(numbers, own, strict=True):
                found[name][number] = boxes
    seconds = (time.perf_counter() - start) / bench.folds
    values = {name: per_class(f, pictures.truths, bench) for name, f in found.items()}
    worst = max(c[0] for c in costs), max(c[1] for c in costs)
    sizes = {"cut": cost(cut)[:2], **dict.fromkeys(STAGES, worst)}
    whole_cost = cost(whole)
    print(f"\n## {cfg.stem}\n")
    print(
        f"score {bench.score}, keep {bench.ratio:g}, multiples of {bench.multiple}, "
        f"{bench.recipe.steps} steps of {bench.recipe.batch} pictures, {seconds:.0f} s a fold\n"
    )
    titles = ["", "params", "MACs", *bench.wanted, f"mean of {len(bench.counted)}", "agreement"]
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for name, (params, macs) in sizes.items():
        cells = [name, f"{params / whole_cost[0]:.1%}", f"{macs / whole_cost[1]:.1%}"]
        cells += [f"{v:.1f}" for v in (*values[name], counted_mean(values[name], bench))]
        cells.append(f"{agreement(found[name], found['cut']):.2f}")
        print(f"| {' | '.join(cells)} |")
    lost = counted_mean(values["cut"], bench) - counted_mean(values["recovered"], bench)
    low, high = interval(found["cut"], found["recovered"], pictures.truths, bench)
    print(f"\nmean AP lost: {lost:.1f} points (95 % of bootstraps: {low:.1f} to {high:.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", required=True)
    parser.add_argument("--uncounted", default="person", help="not in the mean")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--score", default="mean_abs")
    parser.add_argument("--ratio", type=float, default=0.7)
    parser.add_argument("--multiple", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    wanted = options.keep.split(",")
    bench = Bench(
        open_dataset(options.data),
        wanted,
        [name for name in wanted if name not in options.uncounted.split(",")],
        options.folds,
        options.score,
        options.ratio,
        options.multiple,
        Recipe(
            steps=options.steps,
            batch=options.batch,
            rate=options.rate,
            workers=options.workers,
            multi_scale=False,
            averaging=0.99,
            draw_every=0,
        ),
    )
    for cfg in options.models:
        measure(cfg, bench)


if __name__ == "__main__":
    main()
