"""A training step: forward, loss, backward, update, with labels."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from networks import REAL, available, write_network
from row import OURS, Candidate, Goal, Row
from workers import Task

BARE = "bare loop, one batch in memory"
COMPILED, BARE_COMPILED = f"{OURS}, compiled", "bare loop, compiled"
BATCH, STEPS, WARM_UP = 8, 20, 6
OBJECTS, SIZE, PICTURES = 4, (320, 240), 240


def make(case: str, folder: Path) -> dict[str, float]:
    """Make a network for 10 classes, and labelled pictures of noise."""
    from PIL import Image

    facts = write_network(case, folder)
    stream = np.random.default_rng(0)
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(PICTURES):
        levels = stream.integers(0, 256, (*SIZE[::-1], 3), np.uint8)
        Image.fromarray(levels).save(pictures / f"{number:03d}.jpg")
        boxes = stream.uniform(0.3, 0.6, (OBJECTS, 4))
        kinds = stream.integers(0, 10, OBJECTS)
        rows = (" ".join(map(str, [k, *b])) for k, b in zip(kinds, boxes.round(4), strict=True))
        (pictures / f"{number:03d}.txt").write_text("\n".join(rows) + "\n")
    return facts


def ours(*, compiled: bool = False) -> Task:
    """Seconds from step to step of `finetune`, median of those behind the warm-up."""
    from dataclasses import replace

    import darkconv as dc
    from darkconv.dataset import open_dataset

    data = open_dataset("pictures")
    model = dc.load("net.cfg", "net.weights")
    head = model.network.heads[0]
    rest = range(len(data.names), head.spec.num_classes(head.in_shapes))
    model = replace(model, names=(*data.names, *(f"class{i}" for i in rest)))
    recipe = dc.Recipe(steps=STEPS, batch=BATCH, rate=1e-6, multi_scale=False, draw_every=0)

    def run() -> float:
        times: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            dc.finetune(
                model,
                data,
                folder=folder,
                recipe=recipe,
                device="cpu",
                compile=compiled,
                progress=lambda _: times.append(time.perf_counter()),
            )
        return statistics.median(np.diff(times)[WARM_UP:])

    return run


def bare(*, compiled: bool = False) -> Task:
    import torch

    import darkconv as dc
    from darkconv.training.objective import LabelObjective

    model = dc.load("net.cfg", "net.weights")
    module = dc.to_torch(model).train().to(memory_format=torch.channels_last)
    objective = LabelObjective(model.network)
    network = module.part(objective.layers).run
    network = torch.compile(network, dynamic=False) if compiled else network
    optimizer = torch.optim.AdamW(module.parameters(), 1e-6)
    x = torch.rand(BATCH, *model.network.input_shape).to(memory_format=torch.channels_last)
    truths = torch.rand(BATCH, OBJECTS, 5) * 0.3 + 0.3
    truths[..., 0] = 0

    def step() -> None:
        loss = objective.costs(network(x), x, truths, 64_000)["loss"] / BATCH
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10)
        optimizer.step()

    def run() -> float:
        seconds = []
        for _ in range(STEPS):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds[WARM_UP:])

    return run


ROW = Row(
    title="Training step",
    cases=("yolov3-tiny", "yolov4-tiny", *available(REAL[0])),
    candidates={
        OURS: Candidate(ours),
        BARE: Candidate(bare),
        COMPILED: Candidate(lambda: ours(compiled=True)),
        BARE_COMPILED: Candidate(lambda: bare(compiled=True)),
    },
    make=make,
    goals=(
        Goal(OURS, BARE, at_most=1 / 0.95),
        Goal(COMPILED, BARE_COMPILED, at_most=1 / 0.95),
    ),
    fresh=True,
    rounds=5,
    seconds=300,
    notes="""
Each turn is a process of its own, of which the median of 14 steps counts. `darkconv` reads and
augments pictures in two other processes, which share the two processors, keeps averages, logs and
checks numbers; the bare loop trains one batch in memory again and again. Given one batch in the
same way darkconv's loop takes 476 to 498 ms for yolov4-tiny, where the bare one takes 472 to 478:
what is left is reading, of which a batch takes 31 ms of one processor. Until 2026-11-28 it was done
in the gaps that PyTorch's threads leave (SCHED_IDLE), and the ratio of yolo-fastest-1.1-coco was
1.11; ordinary processes read now, which costs it 10 to 20 ms a step: 1.17. Compiled is the network
alone, in `finetune` by `--compile`: on this processor it is no gain, as of yolov4-tiny's step
PyTorch's own kernels of batch norm, activations, pooling and joins take 110 ms and the compiled
ones 150. A block of 84 MB, the first map of yolov3-tiny, finds room in the heap in some processes
of the bare loop and is mapped anew at each step in others, for 10 to 20 ms; `finetune` held what a
step had freed when this was measured, and no longer does.

On a GPU `tools/bench/gpu.py` measures the same, as PyTorch runs the network and compiled, in
float32 and bfloat16, and the share of the peak that a product of matrices reaches; none has been at
hand, so that there are no figures of it.
""",
)
