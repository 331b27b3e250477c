"""Seconds and memory of something that is done once, in a process of its own.

A benchmark's file is started again for each sample, as `FILE --serve NAME`. There it imports what
it needs, says so, waits, does the thing and says how long that took. Memory is anonymous memory
over that after the imports, at its peak: pages of mapped files do not count, for the system can
drop them.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MEGABYTE = 1e6
SAMPLE_SECONDS = 0.002

Task = Callable[[], object]


@dataclass
class Samples:
    """What was measured of one candidate."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


def serve(prepare: Callable[[], Task]) -> None:
    """In the process of a sample: import, wait for a line, do the task, print the times."""
    task = prepare()
    print("ready", flush=True)
    sys.stdin.readline()
    start, cpu = time.perf_counter(), time.process_time()
    result = task()
    print("took", time.perf_counter() - start, time.process_time() - cpu, flush=True)
    sys.stdin.readline()
    del result


def measure(
    script: str, name: str, folder: Path, samples: Samples, environment: Mapping[str, str]
) -> None:
    """Take one sample of a candidate of a benchmark.

    Raises:
        RuntimeError: the process failed.
    """
    process = subprocess.Popen(
        [sys.executable, str(Path(script).resolve()), "--serve", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
    )
    with process:
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        if not wait_for(process, "ready"):
            reader.join()
            raise RuntimeError(f"{name}: {last_line(errors)}")
        base, peak, done = anonymous(process.pid), [0.0], threading.Event()
        sampler = threading.Thread(target=watch, args=(process.pid, peak, done))
        sampler.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        times = wait_for(process, "took")
        done.set()
        sampler.join()
        process.stdin.close()
        reader.join()
    if not times:
        raise RuntimeError(f"{name}: {last_line(errors)}")
    samples.seconds.append(float(times[0]))
    samples.cpu.append(float(times[1]))
    samples.megabytes.append(peak[0] - base)


def wait_for(process: subprocess.Popen[str], word: str) -> list[str]:
    """The rest of the line that begins with a word, and the word itself if there is no more."""
    for line in process.stdout:
        first, *rest = line.split() or [""]
        if first == word:
            return rest or [word]
    return []


def last_line(errors: list[str]) -> str:
    return ("".join(errors).strip().splitlines() or ["ended without a word"])[-1]


def watch(pid: int, peak: list[float], done: threading.Event) -> None:
    """Keep the highest anonymous memory of a process."""
    while not done.wait(SAMPLE_SECONDS):
        peak[0] = max(peak[0], anonymous(pid))


def anonymous(pid: int) -> float:
    """Anonymous memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / MEGABYTE
    return 0.0


def write_network(name: str, folder: Path) -> float:
    """net.cfg and net.weights of a bundled network, random; returns the weights' MB."""
    import darkconv as dc
    from darkconv.cli.params import bundled_cfg

    cfg = bundled_cfg(name)
    if cfg is None:
        raise SystemExit(f"no bundled network {name}")
    model, stream = dc.load(cfg), np.random.default_rng(0)
    arrays = {}
    for key, _, slot in model.network.keyed_slots():
        is_positive = key.endswith(("scales", "rolling_variance"))
        low, high = (0.5, 1.5) if is_positive else (-0.1, 0.1)
        arrays[key] = stream.random(slot.shape, np.float32) * (high - low) + low
    dc.save(dc.replace_arrays(model, arrays), folder / "net.cfg", folder / "net.weights")
    return (folder / "net.weights").stat().st_size / MEGABYTE
