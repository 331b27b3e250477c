"""A folder of good files, of which each case spoils some."""

import shutil

import numpy as np
import pytest

import darkconv as dc
from networks import cfg_text, network, random_model

pytest.register_assert_rewrite("bad.catalogue")

BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n\n"
    "[convolutional]\nfilters=16\nsize=1\nactivation=linear\n\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)
SHAPE = (3, 16, 16)
LABELS = (
    "0 0.5 0.5 0.2 0.4\n1 0.3 0.3 0.2 0.2\n",
    "2 0.5 0.5 0.5 0.5\n",
    "",
    "1 0.6 0.5 0.3 0.3\n",
)


@pytest.fixture(scope="session")
def good_files(tmp_path_factory):
    """net.cfg, net.weights, net.names; pics/ with four labelled pictures; net.data, valid.txt."""
    image_module = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("good")
    model = random_model(network(BODY, SHAPE), names=("cat", "dog", "fox"))
    (folder / "net.cfg").write_text(cfg_text(BODY, SHAPE))
    dc.save(model, folder / "net.cfg", folder / "net.weights", names=folder / "net.names")
    stream = np.random.default_rng(0)
    (folder / "pics").mkdir()
    for number, labels in enumerate(LABELS):
        levels = stream.integers(0, 256, (20, 30, 3), np.uint8)
        image_module.fromarray(levels).save(folder / f"pics/{number}.png")
        (folder / f"pics/{number}.txt").write_text(labels)
    (folder / "valid.txt").write_text("".join(f"pics/{n}.png\n" for n in range(len(LABELS))))
    (folder / "net.data").write_text(
        "classes=3\ntrain=valid.txt\nvalid=valid.txt\nnames=net.names\n"
    )
    return folder


@pytest.fixture
def folder(good_files, tmp_path):
    """A copy of the good files, for one case."""
    shutil.copytree(good_files, tmp_path, dirs_exist_ok=True)
    return tmp_path
