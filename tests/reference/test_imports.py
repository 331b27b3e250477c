"""The arrays of real models and networks in the naming of every tool, read back bit for bit."""

import zlib

import numpy as np
import pytest

import darkconv as dc
from darkconv.imports.importing import read_checkpoint
from import_files import (
    KERAS,
    TORCH,
    assert_same,
    keras_layers,
    write_cfg,
    write_checkpoint,
    write_old_h5,
)

torch = pytest.importorskip("torch")
pytest.importorskip("h5py")

TYPES = {"convolutional", "connected", "local", "batchnorm"}
"""Layers with arrays that the tools have too."""
QUICK = ("yolo-fastest-1.1-coco", "yoloface-50k", "alexeyab-yolov4-tiny", "pjreddie-yolov1-tiny")
LONG = ("mobilenetv2-yolov3-nano-voc", "yolov3-tiny", "pjreddie-yolov2-voc", "pjreddie-yolov3")
LONG += (
    "pjreddie-alexnet",
    "alexeyab-yolov4",
    "pjreddie-resnet50",
    "alexeyab-densenet201",
    "alexeyab-yolov7-tiny",
)
CASES = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)]


@pytest.fixture(scope="module", params=CASES)
def model(request, models_dir, golden_dir):
    name = request.param
    folder = models_dir / name
    if folder.is_dir():
        return dc.load(folder / f"{name}.cfg", folder / f"{name}.weights")
    cfg = golden_dir / "nets" / name / "net.cfg"
    if not cfg.is_file():
        pytest.skip(f"no {cfg}")
    plain = dc.load(cfg, dialect=name.partition("-")[0])
    stream = np.random.default_rng(0)
    drawn = {
        key: stream.uniform(0.5, 1.5, array.shape)
        for key, array in plain.arrays.items()
        if not key.endswith("weights")
    }
    return dc.replace_arrays(plain, drawn)


def types(model):
    return {layer.type for layer in model.network.layers if layer.slots}


@pytest.mark.parametrize("naming", TORCH.values(), ids=TORCH)
def test_torch(model, naming, tmp_path):
    if not types(model) <= TYPES:
        pytest.skip("has layers that no tool has")
    state = {name: torch.from_numpy(np.array(array)) for name, array in naming(model).items()}
    torch.save(state, tmp_path / "net.pth")
    cfg = write_cfg(model, tmp_path / "net.cfg")
    done = read_checkpoint(cfg, tmp_path / "net.pth", dialect=model.dialect.name)
    assert_same(done.model, model)
    assert not done.doubts


@pytest.mark.parametrize("naming", KERAS.values(), ids=KERAS)
def test_keras(model, naming, tmp_path):
    if not types(model) <= {"convolutional", "connected", "batchnorm"}:
        pytest.skip("has layers that no tool has")
    layers = naming(model)
    order = sorted(layers, key=lambda name: zlib.crc32(name.encode()))
    write_old_h5(layers, tmp_path / "w.h5", order=order)
    cfg = write_cfg(model, tmp_path / "net.cfg")
    done = read_checkpoint(cfg, tmp_path / "w.h5", dialect=model.dialect.name, reorg="keep")
    assert_same(done.model, model)
    assert not done.doubts


def test_tensorflow(model, tmp_path):
    pytest.importorskip("tensorflow")
    if not types(model) <= {"convolutional", "connected", "batchnorm"}:
        pytest.skip("has layers that no tool has")
    path = write_checkpoint(keras_layers(model, first=0), tmp_path)
    cfg = write_cfg(model, tmp_path / "net.cfg")
    done = read_checkpoint(cfg, path, dialect=model.dialect.name, reorg="keep")
    assert_same(done.model, model)


@pytest.mark.parametrize("naming", [n for n in TORCH if n != "by hand"])
def test_safetensors(model, naming, tmp_path):
    from safetensors.numpy import save_file

    if not types(model) <= TYPES:
        pytest.skip("has layers that no tool has")
    state = {k: np.array(a, order="C") for k, a in TORCH[naming](model).items()}
    save_file(state, tmp_path / "net.safetensors")
    cfg = write_cfg(model, tmp_path / "net.cfg")
    done = read_checkpoint(cfg, tmp_path / "net.safetensors", dialect=model.dialect.name)
    assert_same(done.model, model)


def test_a_bundled_network_needs_no_cfg(tmp_path):
    model = dc.load("yolov4-tiny")
    write_old_h5(keras_layers(model), tmp_path / "w.h5")
    done = read_checkpoint(None, tmp_path / "w.h5")
    assert_same(done.model, model)
    assert "yolov4-tiny" in done.notes[0]


def test_a_file_that_fits_several_bundled_networks_needs_a_cfg(tmp_path):
    write_old_h5(keras_layers(dc.load("darknet19")), tmp_path / "w.h5")
    with pytest.raises(dc.DarkconvError, match="fits several of the bundled networks"):
        dc.import_weights(None, tmp_path / "w.h5")
