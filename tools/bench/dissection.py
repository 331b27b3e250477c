"""What is left of a detector that is cut to some classes and pruned, before any recovery.

    python tools/bench/dissection.py --data FOLDER --keep A,B,C MODEL.cfg ...

For each model: the classes are cut, channels are profiled on the pictures that hold nothing but
the kept classes, and every score is tried at every keep ratio, with and without compensation.
Average precision is taken at IoU 0.5 over all pictures of the folder. Prints Markdown.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import darkconv as dc
from darkconv.dissection import examine
from darkconv.evaluation.latency import measure_latency
from darkconv.surgery.changes import total_costs
from darkconv.surgery.importance import SCORES
from darkconv.surgery.planning import Planning

BATCH = 17
RATIOS = (0.9, 0.75, 0.5)
MULTIPLE = 8
HOW = {"rule": "continuous", "nms_kind": "sort", "resize": "stretch", "coco": False}
"""How all models are measured, whatever their cfgs say."""


def precision(model: dc.Model, dataset: dc.Dataset, wanted: Sequence[str]) -> np.ndarray:
    """AP at IoU 0.5 of the wanted classes, in percent."""
    result = dc.evaluate(model, dataset.keep_classes(wanted), backend="onnx", batch=BATCH, **HOW)
    found = {one.name: one.ap for one in result.classes}
    return np.array([100 * found[name] for name in wanted])


def row(name: str, model: dc.Model, latency: str, values: np.ndarray, wanted) -> str:
    """Return a line of the table."""
    params, macs, size = total_costs(model).values()
    without = np.delete(values, wanted.index("person")) if "person" in wanted else values
    cells = [name, f"{params / 1e3:,.0f}", f"{macs / 1e6:,.1f}", f"{size / 1e6:.2f}", latency]
    cells += [f"{v:.1f}" for v in (*values, values.mean(), without.mean())]
    return f"| {' | '.join(cells)} |"


def measure(cfg: Path, dataset: dc.Dataset, wanted: list[str], scores: list[str]) -> None:
    """Print the table of one model."""
    whole = dc.load(cfg, cfg.with_suffix(".weights"))
    specimen = examine(whole, wanted, images=dataset, taylor=True, contrast=True)
    cut, profile = specimen.uncut, specimen.profile
    print(f"\n## {cfg.stem}\n\nProfiled on {profile.pictures} of {len(dataset)} pictures.\n")
    titles = ["", "kparams", "MMACs", "MB", "ms", *wanted, "mean", "without person"]
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    base = precision(cut, dataset, wanted)
    latency = measure_latency({"whole": whole, "cut": cut}, backend="onnx").milliseconds
    all_classes = precision(whole, dataset, wanted)
    print(row("all classes", whole, f"{latency['whole']:.2f}", all_classes, wanted))
    print(row("cut to 4", cut, f"{latency['cut']:.2f}", base, wanted))
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
            values = precision(model, dataset, wanted)
            print(
                row(name, model, f"{speed['pruned'] / speed['cut']:.2f}x", values, wanted),
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
    dataset = dc.open_dataset(options.data)
    for cfg in options.models:
        measure(cfg, dataset, options.keep.split(","), options.scores.split(","))


if __name__ == "__main__":
    main()
