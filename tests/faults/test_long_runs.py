"""Long runs take no more memory than short ones."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder
from faults.processes import start
from networks import cfg_text, network, random_model

pytest.importorskip("torch")
pytest.importorskip("PIL")

MIB = 2**20
BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n\n"
    "[convolutional]\nfilters=16\nsize=1\nactivation=linear\n\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)
SHAPE = (3, 16, 16)
PICTURES = 12
SHORT, LONG = 200, 2000
COMMANDS = {
    "profile": ("profile net.cfg net.weights {}.txt -o o.npz", 5_000),
    "eval": ("eval net.cfg net.weights --data {}.txt --threshold 0.9 --at 0.9", 15_000),
    "detect": ("detect net.cfg net.weights {} -o drawn --threshold 0.9", 5_000),
}
"""With bytes that each picture may take until the end: its path and labels, and what was found."""


def report_memory(events):
    """Preparation: send the most memory that the process had, in bytes, when it ends."""
    exit_now = os._exit

    def tell(status):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
        events.send(1024 * int(peak))
        exit_now(status)

    os._exit = tell


def peak(command, folder):
    """The most memory that a command has."""
    started = start(command, folder, report_memory)
    status, text = started.wait()
    assert status == 0, text
    return started.events.recv()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model, and lists and folders `short` and `long` of pictures again and again."""
    image_module = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("long")
    model = random_model(network(BODY, SHAPE), names=("cat", "dog", "fox"))
    (folder / "net.cfg").write_text(cfg_text(BODY, SHAPE))
    dc.save(model, folder / "net.cfg", folder / "net.weights", names=folder / "net.names")
    stream = np.random.default_rng(0)
    for number in range(PICTURES):
        levels = stream.integers(0, 256, (20, 30, 3), np.uint8)
        image_module.fromarray(levels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"{number % 3} 0.5 0.5 0.4 0.4\n")
    for name, count in (("short", SHORT), ("long", LONG)):
        (folder / f"{name}.txt").write_text(repeated(folder, "png", count))
        (folder / name).mkdir()
        for number in range(count):
            os.link(folder / f"{number % PICTURES}.png", folder / name / f"{number}.png")
    return folder


def repeated(folder, suffix, count):
    """A list of the pictures of a folder, again and again."""
    pictures = sorted(folder.glob(f"*.{suffix}"))
    return "".join(f"{pictures[n % len(pictures)]}\n" for n in range(count))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_ten_times_the_pictures_take_the_same_memory(name, folder):
    if name == "eval":
        pytest.importorskip("faster_coco_eval")
    command, kept = COMMANDS[name]
    short, long = (peak(command.format(which), folder) for which in ("short", "long"))
    assert long - short < kept * (LONG - SHORT)


@pytest.mark.full
def test_twenty_thousand_pictures_take_the_memory_of_four_thousand(tmp_path):
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    counts = 4_000, 20_000
    for count in counts:
        (tmp_path / f"{count}.txt").write_text(repeated(tmp_path / "images", "jpg", count))
    command = "profile digits10.cfg digits10.weights {}.txt -o o.npz --input-size 32x32"
    short, long = (peak(command.format(count), tmp_path) for count in counts)
    assert long - short < 32 * MIB  # 2 kB a picture; what waits to be counted is full in both
    assert dc.Profile.load(tmp_path / "o.npz").pictures == counts[1]
