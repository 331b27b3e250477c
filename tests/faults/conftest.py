"""A folder with a model whose arrays take a while to write, and pictures."""

import shutil

import numpy as np
import pytest

import darkconv as dc
from networks import cfg_text, network, random_model

pytest.register_assert_rewrite("faults.processes")

BODY = (
    "[convolutional]\nfilters=64\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n\n"
    "[convolutional]\nfilters=512\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n\n"
    "[convolutional]\nfilters=1024\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n\n"
    "[convolutional]\nfilters=16\nsize=1\nactivation=linear\n\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)
"""20 MB of arrays, and little to compute."""
SHAPE = (3, 16, 16)
NAMES = ("cat", "dog", "fox")


@pytest.fixture(scope="session")
def big_files(tmp_path_factory):
    """big.cfg, big.weights, big.names, and of the same shape other.*; pics/, big.data, big.txt."""
    image_module = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("big")
    for seed, (name, names) in enumerate({"big": NAMES, "other": NAMES[::-1]}.items()):
        body = BODY.replace("3,4,6,7", f"3,4,6,{7 + seed}")
        model = random_model(network(body, SHAPE), seed, names)
        (folder / f"{name}.cfg").write_text(cfg_text(body, SHAPE))
        paths = (folder / f"{name}.{suffix}" for suffix in ("cfg", "weights", "names"))
        cfg, weights, listed = paths
        dc.save(model, cfg, weights, names=listed)
    stream = np.random.default_rng(0)
    (folder / "pics").mkdir()
    for number in range(6):
        levels = stream.integers(0, 256, (20, 30, 3), np.uint8)
        image_module.fromarray(levels).save(folder / f"pics/{number}.png")
        (folder / f"pics/{number}.txt").write_text(f"{number % 3} 0.5 0.5 0.4 0.4\n")
    (folder / "big.txt").write_text("".join(f"pics/{n}.png\n" for n in range(6)))
    (folder / "big.data").write_text("classes=3\ntrain=big.txt\nvalid=big.txt\nnames=big.names\n")
    return folder


@pytest.fixture
def folder(big_files, tmp_path):
    """A folder that leads to these files."""
    for path in big_files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture
def own_folder(big_files, tmp_path):
    """A folder with copies of these files."""
    shutil.copytree(big_files, tmp_path, dirs_exist_ok=True)
    return tmp_path
