"""Every kind of checkpoint that is imported, attacked: nothing runs, and nothing is big."""

import contextlib
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from import_files import (
    keras_layers,
    ultralytics,
    write_cfg,
    write_checkpoint,
    write_new_h5,
    write_old_h5,
)
from networks import network, random_model

torch = pytest.importorskip("torch")
h5py = pytest.importorskip("h5py")
onnx = pytest.importorskip("onnx")
save_file = pytest.importorskip("safetensors.numpy").save_file

HUGE = 1 << 30
"""Numbers of an array that takes 4 GB."""
MOST = 64 << 20
"""Bytes that reading a small file may take at once."""
BODY = "[convolutional]\nfilters=8\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n\n" * 2


@pytest.fixture
def model():
    return random_model(network(BODY))


def torch_state(model):
    return {name: torch.from_numpy(np.array(a)) for name, a in ultralytics(model).items()}


def write_pt(model, folder):
    torch.save(torch_state(model), folder / "net.pt")
    return folder / "net.pt"


def write_pth(model, folder):
    """As PyTorch before 1.6 did."""
    torch.save(torch_state(model), folder / "net.pth", _use_new_zipfile_serialization=False)
    return folder / "net.pth"


def write_numpy(model, folder):
    torch.save({k: np.array(a) for k, a in ultralytics(model).items()}, folder / "net.pth")
    return folder / "net.pth"


def write_safetensors(model, folder):
    save_file({k: np.array(a) for k, a in ultralytics(model).items()}, folder / "net.safetensors")
    return folder / "net.safetensors"


def write_h5(model, folder):
    write_old_h5(keras_layers(model), folder / "net.h5")
    return folder / "net.h5"


def write_keras(model, folder, edit=None):
    write_new_h5(keras_layers(model), folder / "in.h5")
    if edit:
        edit(folder / "in.h5")
    with zipfile.ZipFile(folder / "net.keras", "w") as archive:
        archive.writestr("config.json", '{"config": {"layers": []}}')
        archive.write(folder / "in.h5", "model.weights.h5")
    return folder / "net.keras"


def write_onnx(model, folder):
    proto = dc.to_onnx(model, fold=False)
    del proto.metadata_props[:]
    onnx.save(proto, folder / "net.onnx")
    return folder / "net.onnx"


def write_tensorflow(model, folder):
    pytest.importorskip("tensorflow")
    return write_checkpoint(keras_layers(model, first=0), folder)


KINDS = {
    ".pt": write_pt,
    ".pth before 1.6": write_pth,
    ".pth of numpy": write_numpy,
    ".safetensors": write_safetensors,
    ".h5": write_h5,
    ".keras": write_keras,
    ".onnx": write_onnx,
    "TensorFlow": write_tensorflow,
}


def files_of(path):
    """The files of a checkpoint; TensorFlow's has several."""
    return [path] if path.is_file() else sorted(path.parent.glob(f"{path.name}.*"))


def assert_refused(model, path, text="net"):
    """It is told with its name, and nothing large is made."""
    cfg = write_cfg(model, path.parent / "net.cfg")
    tracemalloc.start()
    try:
        with pytest.raises(dc.DarkconvError, match=text):
            dc.import_weights(cfg, path)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("write", KINDS.values(), ids=KINDS)
def test_whole_files_are_read(model, write, tmp_path):
    """What is attacked below is a file that is taken."""
    cfg = write_cfg(model, tmp_path / "net.cfg")
    found = dc.import_weights(cfg, write(model, tmp_path), dialect="alexeyab")
    np.testing.assert_array_equal(found.arrays["1.weights"], model.arrays["1.weights"])


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("write", KINDS.values(), ids=KINDS)
def test_a_file_that_is_cut_short_is_refused(model, write, share, tmp_path):
    path = write(model, tmp_path)
    for file in files_of(path):
        data = file.read_bytes()
        file.write_bytes(data[: int(share * len(data))])
        assert_refused(model, path)
        file.write_bytes(data)


@pytest.mark.parametrize("write", KINDS.values(), ids=KINDS)
def test_damaged_bytes_never_end_in_another_error(model, write, tmp_path):
    path = write(model, tmp_path)
    cfg = write_cfg(model, tmp_path / "net.cfg")
    for seed in range(12):
        stream = np.random.default_rng(seed)
        for file in files_of(path):
            whole = file.read_bytes()
            data = bytearray(whole)
            for place in stream.integers(0, len(data), 1 + seed):
                data[place] = stream.integers(256)
            file.write_bytes(data)
            with contextlib.suppress(dc.DarkconvError):
                dc.import_weights(cfg, path)
            file.write_bytes(whole)


# --- 4 GB claims


def with_members(path, edit):
    """Write an archive anew with its members edited."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, edit(name, data))


def claim_shape(data):
    """Of the first convolution, as pickles have it."""
    assert b"K\x08K\x03K\x03K\x03t" in data
    return data.replace(b"K\x08K\x03K\x03K\x03t", b"J\x00\x00\x00\x40K\x03K\x03K\x03t")


def claim_pt(model, folder):
    path = write_pt(model, folder)
    with_members(path, lambda name, data: claim_shape(data) if "data.pkl" in name else data)
    return path


def claim_pth(model, folder):
    path = write_pth(model, folder)
    path.write_bytes(claim_shape(path.read_bytes()))
    return path


def claim_numpy(model, folder):
    path = write_numpy(model, folder)
    with_members(path, lambda name, data: claim_shape(data) if "data.pkl" in name else data)
    return path


def claim_storage(model, folder):
    """In the list of sizes in front of the numbers."""
    path = write_pth(model, folder)
    data = path.read_bytes()
    count = (8 * 27).to_bytes(8, "little")
    assert count in data
    path.write_bytes(data.replace(count, HUGE.to_bytes(8, "little")))
    return path


def claim_safetensors(model, folder):
    header = b'{"a":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'
    path = folder / "net.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    return path


def claim_header(model, folder):
    path = folder / "net.safetensors"
    path.write_bytes((HUGE * 4).to_bytes(8, "little") + b"{}")
    return path


def add_huge(path):
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (HUGE,), "f4")


def claim_h5(model, folder):
    path = write_h5(model, folder)
    add_huge(path)
    return path


def claim_keras(model, folder):
    return write_keras(model, folder, add_huge)


def bomb_keras(model, folder):
    path = write_keras(model, folder)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more", bytes(1 << 28))
    return path


def claim_onnx(model, folder):
    path = write_onnx(model, folder)
    proto = onnx.load(path)
    first = next(one for one in proto.graph.initializer if len(one.dims) == 4)
    first.dims[0] = HUGE
    path.write_bytes(proto.SerializeToString())
    return path


def claim_tensorflow(model, folder):
    """The numbers of a large network are not there: its file is the small one's."""
    path = write_tensorflow(model, folder)
    (data,) = folder.glob("*.data-*")
    small = data.read_bytes()
    large = {"conv2d": {"kernel": np.zeros((1, 1, 1 << 10, 1 << 10), np.float32)}}
    write_checkpoint(large, folder)
    data.write_bytes(small)
    return path


CLAIMS = {
    ".pt": claim_pt,
    ".pth before 1.6": claim_pth,
    ".pth before 1.6, storage": claim_storage,
    ".pth of numpy": claim_numpy,
    ".safetensors": claim_safetensors,
    ".safetensors, header": claim_header,
    ".h5": claim_h5,
    ".keras": claim_keras,
    ".keras, packed": bomb_keras,
    ".onnx": claim_onnx,
    "TensorFlow": claim_tensorflow,
}


@pytest.mark.parametrize("write", CLAIMS.values(), ids=CLAIMS)
def test_claims_are_refused_before_memory_is_asked_for(model, write, tmp_path):
    assert_refused(model, write(model, tmp_path))


def test_every_kind_is_among_the_claims():
    assert {name.partition(",")[0] for name in CLAIMS} == set(KINDS)


# --- Other files, and code


def link_away(path):
    with h5py.File(path.with_name("secret.h5"), "w") as file:
        file["kernel"] = np.ones(3, np.float32)
    with h5py.File(path, "a") as file:
        name = next(iter(file))
        del file[name]
        file[name] = h5py.ExternalLink(str(path.with_name("secret.h5")), "/")


def linked_h5(model, folder):
    path = write_h5(model, folder)
    link_away(path)
    return path


def linked_keras(model, folder):
    return write_keras(model, folder, link_away)


def linked_onnx(model, folder):
    path = write_onnx(model, folder)
    proto = onnx.load(path)
    (folder.parent / "secret").write_bytes(bytes(1 << 16))
    first = next(one for one in proto.graph.initializer if len(one.dims) == 4)
    first.ClearField("raw_data")
    first.data_location = onnx.TensorProto.EXTERNAL
    entry = first.external_data.add()
    entry.key, entry.value = "location", "../secret"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("write", [linked_h5, linked_keras, linked_onnx])
def test_arrays_in_files_elsewhere_are_refused(model, write, tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    assert_refused(model, write(model, inner), "link to another place|secret")


def test_a_program_of_tensorflow_is_not_run(model, tmp_path):
    """A SavedModel whose function writes a file: its variables are read, and no more."""
    tf = pytest.importorskip("tensorflow")
    owned = tmp_path / "owned"

    class Program(tf.Module):
        def __init__(self):
            super().__init__()
            self.parts = [
                tf.Variable(array, name=f"{name}/{word}")
                for name, arrays in keras_layers(model, first=0).items()
                for word, array in arrays.items()
            ]

        @tf.function(input_signature=[])
        def __call__(self):
            tf.io.write_file(str(owned), "run")
            return tf.constant(0)

    tf.saved_model.save(Program(), str(tmp_path / "saved"))
    owned.unlink(missing_ok=True)
    cfg = write_cfg(model, tmp_path / "net.cfg")
    found = dc.import_weights(cfg, tmp_path / "saved", dialect="alexeyab")
    np.testing.assert_array_equal(found.arrays["0.weights"], model.arrays["0.weights"])
    assert not owned.exists()
    assert not Path("run").exists()
