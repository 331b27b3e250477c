"""Time and memory against the size of the model, the number of pictures and of processes.

    python tools/bench/scaling.py [--only models pictures processes] [--quick]

Every point is the least of three turns of a process of its own, behind one that warms up; many
pictures are profiled once. Writes docs/scaling-models.png,
docs/scaling-pictures.png and docs/scaling-processes.png, and the numbers beside in
docs/scaling.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from workers import Sample, Task, Worker, serve

DOCS = Path(__file__).resolve().parents[2] / "docs"
DIGITS = Path(__file__).resolve().parents[2] / "darkconv" / "assets" / "digits10"
MILLIONS = (1, 4, 16, 64, 250)
PICTURES = (100, 500, 2_000, 10_000, 20_000)
PROCESSES = (1, 2)
TURNS = 3
DEPTH = 10
"""Convolutions of the networks that models are measured with; they all have as many filters."""
SHARED_PICTURES = 8_000
FEW_PICTURES = 8


def write_model(millions: float, folder: Path) -> None:
    """net.cfg and net.weights of a network with so many million parameters."""
    import darkconv as dc

    filters = round((millions * 1e6 / (9 * (DEPTH - 1))) ** 0.5)
    layer = (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize=3\npad=1\nstride={{}}\n"
        "activation=leaky\n\n"
    )
    head = (
        "[convolutional]\nfilters=75\nsize=1\nactivation=linear\n\n"
        "[yolo]\nclasses=20\nnum=3\nanchors=10,14,23,27,37,58\n"
    )
    body = layer.format(2) * 3 + layer.format(1) * (DEPTH - 3) + head
    (folder / "net.cfg").write_text("[net]\nwidth=64\nheight=64\nchannels=3\n\n" + body)
    model, stream = dc.load(folder / "net.cfg"), np.random.default_rng(0)
    arrays = {key: stream.random(a.shape, np.float32) + 0.5 for key, a in model.arrays.items()}
    dc.save(dc.replace_arrays(model, arrays), folder / "net.cfg", folder / "net.weights")


def loading() -> Task:
    import darkconv as dc

    return lambda: dc.load("net.cfg", "net.weights")


def to_module() -> Task:
    import darkconv as dc
    from darkconv.backends.torch import to_torch

    return lambda: to_torch(dc.load("net.cfg", "net.weights"))


def anew(task: Task, *names: str) -> Task:
    """Return a task that times itself without the files; others are first sent to the disk."""

    def timed() -> float:
        for name in names:
            Path(name).unlink(missing_ok=True)
        start = time.perf_counter()
        task()
        return time.perf_counter() - start

    return timed


def to_onnx() -> Task:
    import darkconv as dc
    from darkconv.backends.onnx import write_onnx

    return anew(
        lambda: write_onnx(dc.load("net.cfg", "net.weights"), "net.onnx", check=False), "net.onnx"
    )


def saving() -> Task:
    import darkconv as dc

    names = "out.cfg", "out.weights"
    return anew(lambda: dc.save(dc.load("net.cfg", "net.weights"), *names), *names)


def pruning() -> Task:
    import darkconv as dc

    def prune() -> object:
        model = dc.load("net.cfg", "net.weights")
        return dc.prune(
            model, dc.plan(model, score="l1", keep=0.7, skip_first=0, min_keep=0, multiple=1)
        )

    return prune


def profiling() -> Task:
    """As many pictures as count.txt says."""
    import darkconv as dc
    from darkconv.profiling.collect import profile

    model = dc.load(DIGITS / "digits10.cfg", DIGITS / "digits10.weights")
    count = int(Path("count.txt").read_text())
    profile(model, bundled_pictures())
    return lambda: profile(model, repeated(count))


def bundled_pictures() -> list[Path]:
    return sorted(p for p in (DIGITS / "images").iterdir() if p.suffix in (".jpg", ".png"))


def repeated(count: int) -> list[Path]:
    """So many pictures, the bundled ones again and again."""
    return list(islice(cycle(bundled_pictures()), count))


TASKS: dict[str, Callable[[], Task]] = {
    "dc.load": loading,
    "to PyTorch": to_module,
    "to ONNX, one file": to_onnx,
    "dc.save": saving,
    "plan and prune 30 %": pruning,
    "profile": profiling,
}


def best(task: str, folder: Path, turns: int) -> Sample:
    """Return the quickest of some turns after the first, with the most memory of all."""
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", task, str(folder)]
    with Worker(command, {}) as worker:
        samples = [worker.turn() for _ in range(turns + 1)]
    least = min(sample.seconds for sample in samples[1:] or samples)
    return Sample(least, 0.0, max(sample.memory for sample in samples))


def measure_models(turns: int) -> dict[str, list]:
    found: dict[str, list] = {"millions": list(MILLIONS)}
    tasks = [task for task in TASKS if task != "profile"]
    for millions in MILLIONS:
        with tempfile.TemporaryDirectory() as name:
            write_model(millions, Path(name))
            for task in tasks:
                point = best(task, Path(name), turns)
                found.setdefault(task, []).append((point.seconds, point.memory))
                print(f"{millions} M, {task}: {point.seconds:.4f} s, {point.memory / 1e6:.1f} MB")
    return found


def measure_pictures(turns: int) -> dict[str, list]:
    found: dict[str, list] = {"pictures": list(PICTURES)}
    for count in PICTURES:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "count.txt").write_text(str(count))
            point = best("profile", Path(name), turns if count == PICTURES[0] else 0)
        found.setdefault("profile", []).append((point.seconds, point.memory))
        print(f"{count} pictures: {point.seconds:.2f} s, {point.memory / 1e6:.1f} MB")
    return found


def measure_processes(turns: int) -> dict[str, list]:
    """Measure `profile` under torchrun, with a processor for each process; also on few pictures."""
    found: dict[str, list] = {"processes": list(PROCESSES), "start": [], "profile": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, pictures in (("start", FEW_PICTURES), ("profile", SHARED_PICTURES)):
            (folder / "list.txt").write_text("".join(f"{path}\n" for path in repeated(pictures)))
            for count in PROCESSES:
                seconds = min(timed(folder, count) for _ in range(turns))
                found[part].append(seconds)
                print(f"{count} processes, {pictures} pictures: {seconds:.2f} s")
    return found


def timed(folder: Path, processes: int) -> float:
    """Seconds of a whole command."""
    model = [str(DIGITS / "digits10.cfg"), str(DIGITS / "digits10.weights")]
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "-m", "darkconv"]
    words = ["profile", *model, "list.txt", "--outside", "-o", "p.npz"]
    processors = sorted(os.sched_getaffinity(0))[:processes]
    start = time.perf_counter()
    subprocess.run(
        ["taskset", "-c", ",".join(map(str, processors)), sys.executable, *launch, *words],
        check=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    return time.perf_counter() - start


def draw_models(found: dict[str, list]) -> None:
    from matplotlib.figure import Figure

    figure = Figure((10, 4), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    millions = np.array(found["millions"])
    for task, points in found.items():
        if task != "millions":
            seconds, memory = np.array(points).T
            time_axes.plot(millions, 1000 * seconds, "o-", label=task)
            memory_axes.plot(millions, memory / 1e6, "o-", label=task)
    memory_axes.plot(millions, 4 * millions, "k:", label="the weights")
    for axes, what in ((time_axes, "ms"), (memory_axes, "MB over the imports")):
        axes.set(xscale="log", yscale="log", xlabel="million parameters", ylabel=what)
        axes.grid(alpha=0.3)
    memory_axes.legend(fontsize=8)
    figure.savefig(DOCS / "scaling-models.png", dpi=90)


def draw_pictures(found: dict[str, list]) -> None:
    from matplotlib.figure import Figure

    figure = Figure((10, 3.5), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    counts = np.array(found["pictures"])
    seconds, memory = np.array(found["profile"]).T
    time_axes.plot(counts, seconds, "o-")
    time_axes.set(xscale="log", yscale="log", xlabel="pictures", ylabel="s")
    memory_axes.plot(counts, memory / 1e6, "o-")
    memory_axes.set(xscale="log", xlabel="pictures", ylabel="MB over the imports")
    memory_axes.set_ylim(0, 2 * memory.max() / 1e6)
    for axes in (time_axes, memory_axes):
        axes.grid(alpha=0.3)
    figure.savefig(DOCS / "scaling-pictures.png", dpi=90)


def draw_processes(found: dict[str, list]) -> None:
    from matplotlib.figure import Figure

    figure = Figure((4, 3.2), layout="constrained")
    axes = figure.subplots()
    names = [str(count) for count in found["processes"]]
    starts, seconds = np.array(found["start"]), np.array(found["profile"])
    axes.bar(names, starts, width=0.5, color="0.7", label=f"{FEW_PICTURES} pictures: the start")
    axes.bar(names, seconds - starts, width=0.5, bottom=starts, label=f"{SHARED_PICTURES:,}")
    axes.set(xlabel="processes, a processor each", ylabel="s")
    axes.legend(fontsize=8)
    figure.savefig(DOCS / "scaling-processes.png", dpi=90)


PARTS = {
    "models": (measure_models, draw_models),
    "pictures": (measure_pictures, draw_pictures),
    "processes": (measure_processes, draw_processes),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="one turn; nothing is written")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        task, folder = options.serve
        os.chdir(folder)
        serve(TASKS[task])
        return
    kept = DOCS / "scaling.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for part in options.only:
        measure, draw = PARTS[part]
        results[part] = measure(1 if options.quick else TURNS)
        if not options.quick:
            draw(results[part])
            kept.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
