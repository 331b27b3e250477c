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
from darkconv.evaluation.average_precision import average_precision
from darkconv.evaluation.comparison import RULES, Comparison
from darkconv.surgery.changes import total_costs
from darkconv.verification.likeness import f1_of
from dissection import HOW

SURE = 0.25
BOOTSTRAPS = 1000
STAGES = ("pruned", "refitted", "recovered")

Found = list[list[dc.Detection]]


@dataclass(frozen=True)
class Bench:
    """What is tested, and how."""

    dataset: dc.Dataset
    wanted: list[str]
    counted: list[str]
    folds: int
    score: str
    ratio: float
    multiple: int
    recipe: dc.Recipe

    def test(self, fold: int) -> list[int]:
        """Pictures of a fold."""
        return list(range(fold, len(self.dataset), self.folds))

    def some(self, numbers: Sequence[int]) -> dc.Dataset:
        """Return some of the pictures."""
        return replace(self.dataset, samples=tuple(self.dataset.samples[i] for i in numbers))

    def training(self, fold: int) -> dc.Dataset:
        """Return the pictures of the other folds, without their labels."""
        out = set(self.test(fold))
        return self.some([i for i in range(len(self.dataset)) if i not in out]).keep_classes(())


def find(model: dc.Model, dataset: dc.Dataset) -> Found:
    """Return detections in pictures, as AP counts them."""
    return list(map(list, dc.evaluate(model, dataset, **HOW).found))


def compare(found: Found, bench: Bench) -> Comparison:
    """Return detections beside labels."""
    return Comparison.of(found, bench.dataset, bench.wanted, RULES[HOW["rule"]])


def per_class(own: Comparison, numbers: Sequence[int] | None = None) -> np.ndarray:
    """AP in percent, over all pictures or some of them."""
    numbers = range(len(own.found)) if numbers is None else numbers
    found, truths = ([values[i] for i in numbers] for values in (own.found, own.truths))
    classes = len(own.classes)
    return 100 * average_precision(found, truths, num_classes=classes, rule=own.rule).per_class


def counted_mean(values: np.ndarray, bench: Bench) -> float:
    """Mean over the classes that count."""
    return float(np.mean([values[bench.wanted.index(name)] for name in bench.counted]))


def interval(before: Comparison, after: Comparison, bench: Bench) -> tuple[float, float]:
    """95 % bootstrap interval, over pictures, of what the mean AP lost."""
    stream = np.random.default_rng(0)
    lost = []
    for _ in range(BOOTSTRAPS):
        rows = stream.integers(0, len(bench.dataset), len(bench.dataset))
        means = [counted_mean(per_class(own, rows), bench) for own in (before, after)]
        lost.append(means[0] - means[1])
    low, high = np.nanpercentile(lost, [2.5, 97.5])
    return float(low), float(high)


def agreement(student: Found, teacher: Found) -> float:
    """F1 of the student's sure detections against the teacher's, same class, IoU 0.5."""
    sure = [[[d for d in one if d.score > SURE] for one in found] for found in (teacher, student)]
    return f1_of(zip(*sure, strict=True)) or 0.0


def recover(whole: dc.Model, bench: Bench, fold: int) -> dict[str, dc.Model]:
    """Return the dissected model of a fold, at each of `STAGES`."""
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
    found: dict[str, Found] = {"cut": find(cut, bench.dataset)}
    for name in STAGES:
        found[name] = [[] for _ in range(len(bench.dataset))]
    start = time.perf_counter()
    costs = []
    for fold in range(bench.folds):
        models = recover(whole, bench, fold)
        costs.append(total_costs(models["recovered"]))
        numbers = bench.test(fold)
        for name, model in models.items():
            for number, boxes in zip(numbers, find(model, bench.some(numbers)), strict=True):
                found[name][number] = boxes
    seconds = (time.perf_counter() - start) / bench.folds
    compared = {name: compare(own, bench) for name, own in found.items()}
    values = {name: per_class(own) for name, own in compared.items()}
    worst = {name: max(c[name] for c in costs) for name in costs[0]}
    sizes = {"cut": total_costs(cut), **dict.fromkeys(STAGES, worst)}
    uncut = total_costs(whole)
    print(f"\n## {cfg.stem}\n")
    print(
        f"score {bench.score}, keep {bench.ratio:g}, multiples of {bench.multiple}, "
        f"{bench.recipe.steps} steps of {bench.recipe.batch} pictures, {seconds:.0f} s a fold\n"
    )
    titles = ["", "params", "MACs", *bench.wanted, f"mean of {len(bench.counted)}", "agreement"]
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for name, size in sizes.items():
        cells = [name, *(f"{size[key] / uncut[key]:.1%}" for key in ("parameters", "macs"))]
        cells += [f"{v:.1f}" for v in (*values[name], counted_mean(values[name], bench))]
        cells.append(f"{agreement(found[name], found['cut']):.2f}")
        print(f"| {' | '.join(cells)} |")
    lost = counted_mean(values["cut"], bench) - counted_mean(values["recovered"], bench)
    low, high = interval(compared["cut"], compared["recovered"], bench)
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
        dc.open_dataset(options.data).keep_classes(wanted),
        wanted,
        [name for name in wanted if name not in options.uncounted.split(",")],
        options.folds,
        options.score,
        options.ratio,
        options.multiple,
        dc.Recipe(
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
