"""Throughput of `finetune` beside a bare torch loop of the same model, and of detect and eval.

    python tools/bench/gpu.py [--device cuda] [--models MODEL.cfg | bundled name ...]

Both train on the same device, batch, precision and optimiser, as PyTorch runs the network and
compiled; the bare loop has one batch that lies on the device, and no data, logs, averages or
checkpoints. `of the peak` is what finetune makes
of the arithmetic that a large product of matrices gets there: three passes of two operations for
each multiply-accumulate of a picture. detect and eval read JPEG files of 640 x 480; `the network
alone` has its input on the device. Prints Markdown.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import darkconv as dc
from darkconv.backends.torch import as_stored, inference_module
from darkconv.darknet.bundled import bundled_cfg
from darkconv.dataset import Dataset, open_dataset
from darkconv.training.objective import LabelObjective

MODELS = ["yolov4-tiny", "yolov3"]
ROW, OBJECTS, PICTURE_SIZE = 4, 6, (640, 480)
"""Steps of a row of figures; objects and size of pictures."""
WARM_UP = 0.3
"""Share of the steps that does not count."""
TYPES = {"32": torch.float32, "bf16": torch.bfloat16}
PRODUCT = {"cuda": 8192, "cpu": 2048}
"""Rows of the matrices that show a device's peak."""
STEP = 3 * 2
"""Operations of a training step for each multiply-accumulate: forward, and twice backward."""


@dataclass(frozen=True)
class Setting:
    """How to train; `compiled` is for the network alone, the loss is not."""

    batch: int
    steps: int
    device: str
    precision: str = "32"
    compiled: bool = False


def write_pictures(folder: Path, count: int, classes: int) -> None:
    """Noise with boxes: what is on pictures has no influence on speed."""
    stream = np.random.default_rng(0)
    for number in range(count):
        levels = stream.integers(0, 256, (*PICTURE_SIZE[::-1], 3), np.uint8)
        Image.fromarray(levels).resize(PICTURE_SIZE).save(folder / f"{number:03d}.jpg")
        rows = np.column_stack(
            [stream.integers(0, classes, OBJECTS), stream.uniform(0.3, 0.6, (OBJECTS, 4))]
        )
        text = "".join(" ".join(f"{v:g}" for v in row) + "\n" for row in rows)
        (folder / f"{number:03d}.txt").write_text(text)


def bare_loop(model: dc.Model, setting: Setting) -> float:
    """Pictures a second of forward, loss, backward and update."""
    batch, steps, device = setting.batch, setting.steps, setting.device
    module = dc.to_torch(model).train().to(device, memory_format=torch.channels_last)
    objective = LabelObjective(model.network)
    run = module.part(objective.layers).run
    run = torch.compile(run, dynamic=False) if setting.compiled else run
    optimizer = torch.optim.AdamW(module.parameters(), 1e-5, fused=device == "cuda")
    shape = model.network.input_shape
    x = torch.rand(batch, *shape, device=device).to(memory_format=torch.channels_last)
    truths = torch.rand(batch, OBJECTS, 5, device=device) * 0.3 + 0.3
    truths[..., 0] = 0
    start, first = 0.0, int(WARM_UP * steps)
    for step in range(steps):
        if step == first:
            _wait(device)
            start = time.perf_counter()
        with torch.autocast(device, TYPES[setting.precision], enabled=setting.precision != "32"):
            loss = objective.costs(run(x), x, truths, 64_000)["loss"] / batch
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10)
        optimizer.step()
    _wait(device)
    return batch * (steps - first) / (time.perf_counter() - start)


def measured_peak(precision: str, device: str) -> float:
    """Operations a second of a product of matrices, the best of some."""
    size = PRODUCT[device]
    a, b = (torch.rand(size, size, device=device, dtype=TYPES[precision]) for _ in range(2))
    seconds = []
    for _ in range(10):
        _wait(device)
        start = time.perf_counter()
        a @ b
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def whole_run(model: dc.Model, data: Dataset, setting: Setting) -> float:
    """Pictures a second of `finetune`, by the median of its rows after the warm-up."""
    rows: list[dict[str, float]] = []
    recipe = dc.Recipe(
        steps=setting.steps, batch=setting.batch, precision=setting.precision,
        rate=1e-5, multi_scale=False, draw_every=0,
    )  # fmt: skip
    dc.finetune(
        model, data, recipe=recipe, device=setting.device, compile=setting.compiled,
        report=rows.append,
    )  # fmt: skip
    counted = [r["pictures_per_second"] for r in rows if r["step"] > WARM_UP * setting.steps]
    return float(np.median(counted))


def looking(model: dc.Model, data: Dataset, device: str, batch: int) -> dict[str, float]:
    """Pictures a second of detect, of eval, and of the network alone."""
    files = [sample.image for sample in data.samples]
    detector = dc.Detector(model, device=device, batch=batch)
    shape = model.network.input_shape
    module = inference_module(model).to(device)
    x = as_stored(torch.rand(batch, *shape, device=device))

    def alone() -> None:
        with torch.inference_mode():
            for _ in range(len(files) // batch):
                module(x)
        _wait(device)

    jobs = {
        "detect": lambda: list(detector.stream(files)),
        "eval": lambda: dc.evaluate(model, data, device=device, batch=batch, coco=False),
        "the network alone": alone,
    }
    return {name: len(files) / _best(job) for name, job in jobs.items()}


def _best(job: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of the quickest round; the first one does not count."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def print_looking(models: list[str], options: argparse.Namespace) -> None:
    """Print the table of detect and eval."""
    print("\n| model | batch | detect, pictures/s | eval | the network alone |")
    print("|---|---:|---:|---:|---:|")
    for one in models:
        cfg = bundled_cfg(one) or Path(one)
        model = dc.load(cfg, input_size=(options.size, options.size))
        with tempfile.TemporaryDirectory() as folder:
            write_pictures(Path(folder), ROW * options.batch, 10)
            data = open_dataset(folder)
            model = _named(model, data.names)
            for batch in sorted({1, options.batch}):
                rates = looking(model, data, options.device, batch)
                figures = " | ".join(f"{rate:.1f}" for rate in rates.values())
                print(f"| {cfg.stem} | {batch} | {figures} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", type=int, default=416)
    parser.add_argument("--only-looking", action="store_true", help="detect and eval alone")
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{name}, batch {options.batch}, {options.size} x {options.size}\n")
    if not options.only_looking:
        print_training(options)
    print_looking(options.models, options)


def print_training(options: argparse.Namespace) -> None:
    """Print the table of finetune."""
    print(
        "| model | precision | network | finetune, pictures/s | bare loop | share | of the peak |"
    )
    print("|---|---|---|---:|---:|---:|---:|")
    peaks = {precision: measured_peak(precision, options.device) for precision in TYPES}
    for one in options.models:
        cfg = bundled_cfg(one) or Path(one)
        model = dc.load(cfg, input_size=(options.size, options.size))
        with tempfile.TemporaryDirectory() as folder:
            write_pictures(Path(folder), ROW * options.batch, 10)
            data = open_dataset(folder)
            model = _named(model, data.names)
            for precision, compiled in itertools.product(TYPES, (False, True)):
                setting = Setting(options.batch, options.steps, options.device, precision, compiled)
                ours, bare = whole_run(model, data, setting), bare_loop(model, setting)
                of_peak = ours * STEP * model.network.macs / peaks[precision]
                print(
                    f"| {cfg.stem} | {precision} | {'compiled' if compiled else 'as it is'} "
                    f"| {ours:.1f} | {bare:.1f} | {ours / bare:.2f} | {of_peak:.2f} |",
                    flush=True,
                )


def _named(model: dc.Model, names: tuple[str, ...]) -> dc.Model:
    """With names for its classes, the data's first."""
    head = model.network.heads[0]
    total = head.spec.num_classes(head.in_shapes)
    return replace(model, names=(*names, *(f"class{i}" for i in range(len(names), total))))


if __name__ == "__main__":
    main()
