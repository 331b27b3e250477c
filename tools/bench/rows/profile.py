"""Profile of every channel of every layer, beside a bare forward pass on the same batch."""

from pathlib import Path

import numpy as np

from networks import MODELS, REAL, available, write_network
from row import OURS, Candidate, Goal, Row
from workers import Task

BARE = "bare forward"
FAST = "bare forward, folded, channels last"
NAIVE = "forward with mean() and var() of each layer"
BATCH = 8
PICTURES = MODELS.parent / "data"


def make(case: str, folder: Path) -> dict[str, float]:
    """net.cfg, net.weights, x.npy; the errors against two passes in double precision."""
    import darkconv as dc
    from darkconv.profiling.loader import load_batches

    write_network(case, folder)
    model = dc.load(folder / "net.cfg", folder / "net.weights")
    images = sorted(PICTURES.rglob("*.jpg"))[:BATCH]
    if images:
        x = next(load_batches(model.network, images, size=BATCH)).x
    else:
        shape = (BATCH, *model.network.input_shape)
        x = np.random.default_rng(0).random(shape, np.float32)
    np.save(folder / "x.npy", x)
    mean, deviation = errors(model, x)
    return {"error of the mean": mean, "error of the deviation": deviation}


def errors(model: object, x: np.ndarray) -> tuple[float, float]:
    """Largest ones against two passes in double precision.

    Of the mean relative to the layer's largest root mean square, of the deviation to itself.
    """
    import torch

    import darkconv as dc
    from darkconv.backends.torch import inference_module
    from darkconv.profiling.collect import Collector

    collector = Collector(inference_module(model))
    collector.add(torch.from_numpy(x), np.arange(len(x)))
    statistics, worst = collector.statistics(), np.zeros(2)
    with torch.inference_mode():
        for index, value in enumerate(dc.to_torch(model).trace(torch.from_numpy(x))):
            flat = value.reshape(*value.shape[:2], -1).double()
            variance, mean = (part.numpy() for part in torch.var_mean(flat, (0, 2), correction=0))
            found = statistics[index]
            varied = ~found.constant & (variance > 0)
            deviation = np.sqrt(variance[varied])
            off = np.abs(np.sqrt(found.variance[varied]) - deviation) / deviation
            scale = np.sqrt((mean**2 + variance).max()) or 1.0
            worst = np.maximum(worst, (np.abs(found.mean - mean).max() / scale, off.max(initial=0)))
    return float(worst[0]), float(worst[1])


def collecting() -> Task:
    import torch

    import darkconv as dc
    from darkconv.backends.torch import inference_module
    from darkconv.profiling.collect import Collector

    collector = Collector(inference_module(dc.load("net.cfg", "net.weights")))
    x = torch.from_numpy(np.load("x.npy"))
    numbers = np.arange(len(x))
    return lambda: collector.add(x, numbers)


def bare() -> Task:
    import torch

    import darkconv as dc

    module = dc.to_torch(dc.load("net.cfg", "net.weights"))
    x = torch.from_numpy(np.load("x.npy"))

    def run() -> None:
        with torch.inference_mode():
            module(x)

    return run


def bare_and_fast() -> Task:
    import torch

    import darkconv as dc
    from darkconv.backends.torch import as_stored, inference_module

    module = inference_module(dc.load("net.cfg", "net.weights"))
    x = as_stored(torch.from_numpy(np.load("x.npy")))

    def run() -> None:
        with torch.inference_mode():
            module(x)

    return run


def naive() -> Task:
    import torch

    import darkconv as dc

    module = dc.to_torch(dc.load("net.cfg", "net.weights"))
    x = torch.from_numpy(np.load("x.npy"))

    def run() -> None:
        with torch.inference_mode():
            for _, value in module.walk(x):
                flat = value.reshape(*value.shape[:2], -1)
                flat.mean((0, 2))
                flat.var((0, 2))

    return run


ROW = Row(
    title="Profile of all channels",
    cases=("yolov3-tiny", "yolov4-tiny", *available(*REAL)),
    candidates={
        OURS: Candidate(collecting),
        BARE: Candidate(bare),
        FAST: Candidate(bare_and_fast),
        NAIVE: Candidate(naive),
    },
    make=make,
    goals=(Goal(OURS, BARE, at_most=1 / 0.95),),
    processes=3,
    rounds=12,
    seconds=25,
    notes="""
Exact mean and variance of each channel, and a sample for its histogram, in batches of 8. `bare
forward` is the module of `to_torch` as its user has it. The profile folds its batch norms and puts
channels last, which gives back more than the sums take; `folded, channels last` is that pass alone.
""",
)
