"""Checkpoints of PyTorch programs become Darknet models, and hostile ones run nothing."""

import argparse
import collections
import contextlib
import datetime
import io
import json
import logging
import pathlib
import pickle
import struct
import types
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from bad.payload import Payload
from darkconv.cli import main
from darkconv.imports.importing import read_checkpoint
from import_files import (
    TORCH,
    YOLO,
    assert_same,
    libreyolo,
    lightnet,
    marvis,
    pytorchyolo,
    ultralytics,
    write_cfg,
    written,
)
from networks import network, random_model

torch = pytest.importorskip("torch")

BODY = (
    """
[convolutional]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky

[convolutional]
filters=4
size=1
batch_normalize=1
activation=mish

[route]
layers=-2

[convolutional]
filters=8
size=3
pad=1
groups=8
batch_normalize=1
activation=leaky

[route]
layers=-1,-3

[dropout]
"""
    + YOLO
)
DENSE = """
[batchnorm]

[local]
filters=2
size=3
pad=1
activation=leaky

[connected]
output=6
activation=leaky

[connected]
output=4
batch_normalize=1
activation=linear
"""


@pytest.fixture
def model():
    return random_model(network(BODY))


def save(state, path, **options):
    torch.save({name: torch.from_numpy(np.array(a)) for name, a in state.items()}, path, **options)
    return path


def tensors(state):
    return {name: torch.from_numpy(np.array(array)) for name, array in state.items()}


@pytest.mark.parametrize("naming", TORCH.values(), ids=TORCH)
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before 1.6"])
def test_arrays_in_each_naming_come_back_bit_for_bit(model, naming, is_zip, tmp_path):
    path = tmp_path / "net.pth"
    save(naming(model), path, _use_new_zipfile_serialization=is_zip)
    assert_same(dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path), model)


@pytest.mark.parametrize("name", [name for name in TORCH if name != "pytorch-YOLOv4"])
def test_other_layers_come_back_too(name, tmp_path):
    model = random_model(network(DENSE, shape=(3, 6, 6)))
    path = save(TORCH[name](model), tmp_path / "net.pt")
    cfg = write_cfg(model, tmp_path / "net.cfg")
    assert_same(dc.import_weights(cfg, path, dialect="alexeyab"), model)


@pytest.mark.parametrize("naming", [pytorchyolo, ultralytics])
def test_safetensors_come_back_though_they_are_sorted(model, naming, tmp_path):
    pytest.importorskip("safetensors")
    from safetensors.numpy import save_file

    path = tmp_path / "net.safetensors"
    save_file({name: np.array(array) for name, array in naming(model).items()}, path)
    assert_same(dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path), model)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {
            "model": state,
            "epoch": 3,
            "best": np.float64(0.5),
            "optimizer": {"state": {}},
        },
        lambda state: {"state_dict": {f"module.{name}": array for name, array in state.items()}},
        lambda state: {
            "epoch": 1,
            "ema": {"model": state},
            "model": {k: v * 0 for k, v in state.items()},
        },
    ],
    ids=["model", "state_dict and module.", "ema before model"],
)
def test_the_state_dict_is_found_in_a_checkpoint(model, wrap, tmp_path):
    path = tmp_path / "net.pt"
    torch.save(wrap(tensors(ultralytics(model))), path)
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path)
    assert_same(done.model, model)
    assert any("state dict under" in note for note in done.notes)


def test_half_precision_is_taken_exactly_and_said(model, tmp_path):
    path = tmp_path / "net.pt"
    torch.save({k: v.half() for k, v in tensors(ultralytics(model)).items()}, path)
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path)
    for key, array in model.arrays.items():
        assert np.array_equal(done.model.arrays[key], array.astype(np.float16)), key
    assert "its float16 numbers became float32, which holds them exactly" in done.notes


def test_bfloat16_in_both_containers(model, tmp_path):
    from safetensors.torch import save_file

    state = {k: v.bfloat16() for k, v in tensors(ultralytics(model)).items()}
    torch.save(state, tmp_path / "net.pt")
    save_file(state, tmp_path / "net.safetensors")
    cfg = write_cfg(model, tmp_path / "net.cfg")
    first, second = (dc.import_weights(cfg, tmp_path / f"net.{s}") for s in ("pt", "safetensors"))
    assert_same(first, second)
    expected = state["module_list.0.Conv2d.weight"].float().numpy()
    assert np.array_equal(first.arrays["0.weights"], expected)


def test_layers_that_only_their_order_tells_apart_are_named(tmp_path):
    conv = "[convolutional]\nfilters=3\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    model = random_model(network(conv * 3))
    done = read_checkpoint(
        write_cfg(model, tmp_path / "net.cfg"), save(written(model), tmp_path / "net.pt")
    )
    assert done.rule == "order"
    assert "3 layers have the shapes of others" in done.notes[0]
    assert "0, 1, 2" in done.notes[0]


def test_another_order_is_taken_where_the_shapes_leave_one_assignment(model, tmp_path):
    state = written(model)
    names = sorted(state, key=lambda name: -int(name.split("block")[1].split(".")[0]))
    path = save({name: state[name] for name in names}, tmp_path / "net.pt")
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path)
    assert_same(done.model, model)
    assert done.rule.startswith("shape")


def test_another_order_is_refused_where_layers_could_be_exchanged(tmp_path):
    conv = "[convolutional]\nfilters={}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    model = random_model(network("".join(conv.format(n) for n in (3, 3, 4, 4))))
    state = written(model)
    path = save(dict(reversed(state.items())), tmp_path / "net.pt")
    with pytest.raises(dc.DarkconvError) as error:
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)
    assert "nothing tells which of its layers is which" in str(error.value)
    assert "several for layers 0, 1" in str(error.value)


def test_biases_before_batch_norm_go_into_its_mean(model, tmp_path):
    state = ultralytics(model)
    state["module_list.0.Conv2d.bias"] = np.full(8, 0.25, np.float32)
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), save(state, tmp_path / "n.pt"))
    expected = model.arrays["0.rolling_mean"] - np.float32(0.25)
    assert np.array_equal(done.model.arrays["0.rolling_mean"], expected)
    assert any("biases before their batch norm" in note for note in done.notes)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_another_epsilon_goes_into_the_variance(dialect, tmp_path):
    conv = "[convolutional]\nfilters=3\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    model = random_model(network(conv, dialect=dialect))
    cfg = write_cfg(model, tmp_path / "net.cfg")
    path = save(ultralytics(model), tmp_path / "net.pt")
    found = dc.import_weights(cfg, path, dialect=dialect, bn_epsilon=1e-3)
    expected = model.arrays["0.rolling_variance"].astype(float) + (1e-3 - 1e-5)
    assert np.array_equal(found.arrays["0.rolling_variance"], expected.astype(np.float32))


@pytest.mark.parametrize("name", TORCH)
def test_a_cfg_that_says_nothing_is_read_as_the_program_divides(name, tmp_path):
    conv = "[convolutional]\nfilters=3\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    model = random_model(network(conv, dialect="pjreddie"))
    cfg = write_cfg(model, tmp_path / "net.cfg")
    path = save(TORCH[name](model), tmp_path / "net.pt")
    expected = "pjreddie" if name == "libreyolo" else "alexeyab"
    assert dc.import_weights(cfg, path).dialect.name == expected
    assert dc.import_weights(cfg, path, dialect="pjreddie").dialect.name == "pjreddie"


def test_what_was_taken_is_logged_and_differences_are_warnings(model, tmp_path, caplog):
    cfg = write_cfg(model, tmp_path / "net.cfg")
    path = save(ultralytics(model), tmp_path / "net.pt")
    with caplog.at_level(logging.INFO, "darkconv"):
        dc.import_weights(cfg, path)
    levels = {record.levelname for record in caplog.records}
    assert levels == {"INFO", "WARNING"}
    assert "17 arrays of 4 layers, by names" in caplog.text


# --- Files of other networks


def refused(model, state, tmp_path):
    with pytest.raises(dc.DarkconvError) as error:
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), save(state, tmp_path / "n.pt"))
    return str(error.value)


def test_a_missing_layer_is_named(model, tmp_path):
    state = {k: v for k, v in ultralytics(model).items() if not k.startswith("module_list.3.")}
    assert "missing: layer 3 [convolutional]" in refused(model, state, tmp_path)


def test_a_layer_too_many_is_named(model, tmp_path):
    state = ultralytics(model) | {"module_list.9.Conv2d.weight": np.zeros((2, 2, 1, 1), np.float32)}
    assert "not in the cfg: module_list.9.Conv2d" in refused(model, state, tmp_path)


def test_another_number_of_classes_is_told_with_layer_array_and_both_shapes(model, tmp_path):
    state = ultralytics(model)
    state["module_list.6.Conv2d.bias"] = np.zeros(255, np.float32)
    text = refused(model, state, tmp_path)
    assert "layer 6 [convolutional]" in text
    assert "module_list.6.Conv2d.bias 255" in text
    assert "expected 21" in text


def test_whole_numbers_are_refused(model, tmp_path):
    state = ultralytics(model)
    state["module_list.0.Conv2d.weight"] = state["module_list.0.Conv2d.weight"].astype(np.int8)
    text = refused(model, state, tmp_path)
    assert "module_list.0.Conv2d.weight" in text
    assert "int8" in text


# --- Hostile and damaged files


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("place", ["alone", "zip", "legacy"])
def test_a_payload_does_not_run(model, place, protocol, tmp_path):
    owned, path = tmp_path / "owned", tmp_path / "x.pth"
    state = {"model": tensors(ultralytics(model)), "more": Payload(owned)}
    if place == "alone":
        path.write_bytes(pickle.dumps(Payload(owned), protocol))
    else:
        torch.save(state, path, pickle_protocol=protocol,
                   _use_new_zipfile_serialization=place == "zip")  # fmt: skip
    with pytest.raises(dc.DarkconvError, match="pickled Python objects") as error:
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)
    assert not owned.exists()
    assert "torch.save(model.state_dict(), 'state.pth')" in str(error.value)


def test_a_pickled_module_is_refused_with_the_lines_that_save_its_state_dict(model, tmp_path):
    path = tmp_path / "m.pt"
    torch.save({"model": torch.nn.Conv2d(1, 2, 3)}, path)
    with pytest.raises(dc.DarkconvError, match=r"torch\.nn\.modules\.conv\.Conv2d"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


class Changed:
    """A value that a pickle sets attributes of once it is made, by `BUILD`."""

    def __init__(self, made, state):
        self.made, self.state = made, state

    def __reduce__(self):
        function, arguments = self.made.__reduce_ex__(2)[:2]
        return function, arguments, self.state


@pytest.mark.parametrize("state", [{"shape": "x"}, (None, {"shape": "x"}), ("x",) * 4])
def test_a_tensor_cannot_be_changed_once_it_is_made(model, state, tmp_path):
    given = tensors(ultralytics(model))
    given["module_list.0.Conv2d.weight"] = Changed(given["module_list.0.Conv2d.weight"], state)
    torch.save(given, tmp_path / "n.pt")
    with pytest.raises(dc.DarkconvError, match="cannot be read as a PyTorch file"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "n.pt")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before 1.6"])
def test_a_file_that_is_cut_short_is_refused(model, share, is_zip, tmp_path):
    path = save(ultralytics(model), tmp_path / "n.pt", _use_new_zipfile_serialization=is_zip)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(dc.DarkconvError):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


def test_claims_of_gigabytes_are_refused_before_memory_is_asked_for(model, tmp_path):
    path = save(ultralytics(model), tmp_path / "n.pt")
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    (name,) = (name for name in members if name.endswith("data.pkl"))
    old, new = b"K\x08K\x03K\x03K\x03t", b"J\x00\x00\x00\x40K\x03K\x03K\x03t"
    assert old in members[name]
    members[name] = members[name].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    with pytest.raises(dc.DarkconvError, match="claims more values"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


def test_a_zip_bomb_is_refused(model, tmp_path):
    path = tmp_path / "n.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(1 << 28))
    with pytest.raises(dc.DarkconvError, match="unpacked"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no file of a kind"),
        (b"garbage" * 9, "is no file of a kind"),
        (pickle.dumps([1, 2]), "none of PyTorch"),
        (pickle.dumps({"a": 1}), "none of PyTorch"),
        (b"\x80\x02}q\x00" + b"(" * 2000, "cannot be read"),
    ],
    ids=["empty", "garbage", "a list", "a dict", "marks"],
)
def test_other_content_is_refused(model, data, message, tmp_path):
    (tmp_path / "n.pt").write_bytes(data)
    with pytest.raises(dc.DarkconvError, match=message):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "n.pt")


def test_a_state_dict_of_no_arrays_is_refused(model, tmp_path):
    torch.save({"epoch": 3}, tmp_path / "n.pt")
    with pytest.raises(dc.DarkconvError, match="holds no state dict"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "n.pt")


def test_a_script_is_refused(model, tmp_path):
    path = tmp_path / "n.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("n/data.pkl", pickle.dumps({}))
        archive.writestr("n/constants.pkl", pickle.dumps(()))
    with pytest.raises(dc.DarkconvError, match="TorchScript"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


def test_damaged_safetensors_are_refused(model, tmp_path):
    path = tmp_path / "n.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}'
    for data in (b"", struct.pack("<Q", 1 << 40) + b"{}", struct.pack("<Q", len(header)) + header):
        path.write_bytes(data)
        with pytest.raises(dc.DarkconvError):
            dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_pickles_never_end_in_another_error(model, seed, tmp_path):
    stream = np.random.default_rng(seed)
    buffer = io.BytesIO()
    torch.save(tensors(ultralytics(model)), buffer, _use_new_zipfile_serialization=False)
    data = bytearray(buffer.getvalue())
    for place in stream.integers(0, min(len(data), 2500), 4):
        data[place] = stream.integers(256)
    (tmp_path / "n.pt").write_bytes(data)
    with contextlib.suppress(dc.DarkconvError):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "n.pt")


# --- On the command line


def command(*words):
    return CliRunner().invoke(main, [*map(str, words)])


def test_convert_says_on_stderr_what_it_took_and_writes_the_same_arrays(model, tmp_path):
    cfg = write_cfg(model, tmp_path / "net.cfg")
    path = save(ultralytics(model), tmp_path / "net.pt")
    outputs = tmp_path / "out.cfg", tmp_path / "out.weights"
    result = command("convert", cfg, path, "-o", *outputs)
    assert result.exit_code == 0, result.stderr
    assert "17 arrays of 4 layers, by names" in result.stderr
    assert "checked: a forward pass" in result.stderr
    assert result.stdout == ""
    assert_same(dc.load(*outputs), model)
    quiet = command("convert", cfg, path, "-o", *outputs, "-q")
    assert quiet.stderr.startswith("wrote")


def test_options_about_other_tools_are_refused_without_their_files(model, tmp_path):
    dc.save(model, tmp_path / "a.cfg", tmp_path / "a.weights")
    words = ("convert", tmp_path / "a.cfg", tmp_path / "a.weights", "-o", tmp_path / "a.onnx")
    for option in (("--bn-epsilon", "0.001"), ("--reorg", "keep")):
        result = command(*words, *option)
        assert result.exit_code == 2
        assert f"{option[0]} is about another tool's file" in result.stderr


def test_the_record_of_an_import_is_json(model, tmp_path):
    path = save(ultralytics(model), tmp_path / "net.pt")
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path)
    told = json.loads(json.dumps(done.to_dict()))
    assert told["layers"] == 4
    assert told["arrays"] == 17
    assert len(told["left"]) == 3
    assert "model=" not in repr(done)


# --- what real programs write


TINY_LIGHTNET = """
[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky

[route]
layers=-2

[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky
"""
SPLIT = [
    ("backbone.1_convbatch", 0),
    ("backbone.2_csp.split1", 3),
    ("backbone.2_csp.split2", 1),
    ("backbone.2_csp.post", 4),
]
"""lightnet lists the branches of a block in another order than the cfg."""
HEADS = """
[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=1
activation=linear

[route]
layers=-2

[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=1
activation=linear
"""
TINY_HEADS = [
    ("backbone.module.1_convbatch", 0),
    ("neck.module.3", 1),
    ("head.0.1", 2),
    ("head.1.0", 4),
    ("head.1.1", 5),
]


@pytest.mark.parametrize("wrapper", ["", "module.", "model.net."])
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("body", "parts"), [(TINY_LIGHTNET, SPLIT), (HEADS, TINY_HEADS)], ids=["split", "heads"]
)
def test_lightnets_modules_are_put_into_the_order_of_the_cfg(body, parts, kind, wrapper, tmp_path):
    model = random_model(network(body))
    if parts is TINY_HEADS:
        parts = [*parts[:1], ("head.0.0", 1), ("head.0.1", 2), ("neck.module.3", 4), parts[-1]]
    state = tensors({wrapper + k: v for k, v in lightnet(model, parts).items()})
    path = tmp_path / f"net.{kind}"
    if kind == "pth":
        torch.save(state, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(state, path)
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path, dialect="alexeyab")
    assert_same(done.model, model)
    assert done.rule == "names (lightnet)"


def test_space_to_depth_is_said_of_libreyolo_and_not_of_darkconv(tmp_path):
    model = random_model(network(BODY + "\n[reorg]\nstride=1\n"))
    cfg = write_cfg(model, tmp_path / "net.cfg")
    state = libreyolo(model)
    for name, said in (("yolo2", True), ("net", False)):
        path = save({k.replace("yolo3", name): v for k, v in state.items()}, tmp_path / "n.pt")
        done = read_checkpoint(cfg, path, dialect="alexeyab")
        assert any("space-to-depth" in note for note in done.notes) == said


@pytest.mark.parametrize(
    ("naming", "scale", "said"),
    [
        (pytorchyolo, "1.05", "PyTorch-YOLOv3 does not know scale_x_y, which is 1.05"),
        (ultralytics, "1.05", "ultralytics/yolov3 does not know scale_x_y, which is 1.05"),
        (pytorchyolo, "1", ""),
        (marvis, "1.05", ""),
    ],
)
def test_programs_that_do_not_know_scale_x_y_are_told(naming, scale, said, tmp_path):
    head = YOLO.replace("classes=2", f"classes=2\nscale_x_y={scale}")
    model = random_model(network(head))
    path = save(naming(model), tmp_path / "net.pth")
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path, dialect="alexeyab")
    assert [note for note in done.notes if "does not know" in note and said in note] or not said
    assert bool(said) == any("does not know scale_x_y" in note for note in done.notes)


def odd_tensor(kind, array):
    if kind == "qint8":
        return torch.quantize_per_tensor(array, 0.1, 0, torch.qint8)
    if kind == "sparse":
        return array.to_sparse()
    return array.to("meta") if kind == "meta" else array.to(getattr(torch, kind))


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("complex64", "float() converts"),
        ("uint16", "quantised"),
        ("float8_e4m3fn", "float() converts"),
        ("qint8", "quantised"),
        ("sparse", "to_dense()"),
        ("meta", "shapes alone"),
        ("bool", "float() converts"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_of_another_type_are_named_and_no_code_is_spoken_of(model, kind, hint, tmp_path):
    state = tensors(ultralytics(model))
    state["module_list.0.Conv2d.weight"] = odd_tensor(kind, state["module_list.0.Conv2d.weight"])
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(dc.WeightsError) as error:
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "net.pth")
    text = str(error.value)
    assert f"found {kind}" in text
    assert hint in text
    assert "run code" not in text
    assert "module_list.0.Conv2d.weight" in text


@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1),
        pathlib.PurePosixPath("/data"),
        datetime.datetime(2026, 1, 1),
        collections.Counter("ab"),
        types.SimpleNamespace(a=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_records_beside_a_state_dict_do_no_harm(model, beside, tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"args": beside, "state_dict": tensors(ultralytics(model))}, path)
    assert_same(dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path), model)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize(
    "edit",
    [np.asarray, np.asfortranarray, lambda a: a.astype(a.dtype.newbyteorder(">"))],
    ids=["plain", "by column", "big-endian"],
)
def test_arrays_of_numpy_in_a_state_dict_are_read(model, edit, is_zip, protocol, tmp_path):
    state = {name: edit(array) for name, array in ultralytics(model).items()}
    torch.save({"model": state}, tmp_path / "net.pth", pickle_protocol=protocol,
               _use_new_zipfile_serialization=is_zip)  # fmt: skip
    cfg = write_cfg(model, tmp_path / "net.cfg")
    assert_same(dc.import_weights(cfg, tmp_path / "net.pth"), model)


def test_arrays_of_numpy_of_another_type_are_named(model, tmp_path):
    state = ultralytics(model)
    state["module_list.0.Conv2d.weight"] = state["module_list.0.Conv2d.weight"].astype(np.int8)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(dc.WeightsError, match=r"module_list\.0\.Conv2d\.weight.*found int8"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "net.pth")


@pytest.mark.parametrize(
    "state",
    [
        (1, (1 << 30,), np.dtype("f4"), False, b"abcd"),
        (1, (2,), np.dtype("f4"), False, b"abcd"),
        (1, (-1,), np.dtype("f4"), False, b"abcd"),
        (1, (1,), np.dtype("f4")),
        "abcd",
    ],
    ids=["4 GB", "another size", "less than none", "too few parts", "a text"],
)
def test_arrays_of_numpy_that_claim_what_is_not_there_are_refused(model, state, tmp_path):
    made = np._core.multiarray._reconstruct  # what a pickle of numpy names
    weight = CallThenBuild(made, (np.ndarray, (0,), b"b"), state)
    given = tensors(ultralytics(model)) | {"module_list.0.Conv2d.weight": weight}
    torch.save(given, tmp_path / "n.pt")
    with pytest.raises(dc.DarkconvError, match="cannot be read as a PyTorch file"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "n.pt")


class CallThenBuild:
    """A value that a pickle makes by a call, and sets the state of."""

    def __init__(self, function, arguments, state):
        self.made = function, arguments, state

    def __reduce__(self):
        return self.made


def test_arrays_of_objects_run_nothing(model, tmp_path):
    owned = tmp_path / "owned"
    state = {"model": tensors(ultralytics(model)), "more": np.array([Payload(owned)], object)}
    torch.save(state, tmp_path / "n.pt")
    with pytest.raises(dc.DarkconvError, match="pickled Python objects"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "n.pt")
    assert not owned.exists()


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda a: a.transpose(1, 0, 2, 3), "weights: expected 8x3x3x3, found {} 3x8x3x3"),
        (lambda a: a.transpose(2, 3, 1, 0), "weights: expected 8x3x3x3, found {} 3x3x3x8"),
    ],
)
def test_turned_weights_are_told_with_their_own_name_and_both_shapes(edit, text, tmp_path):
    model = random_model(
        network(
            YOLO.replace("filters=21\nsize=1", "filters=8\nsize=3\npad=1")
            .replace("[yolo]", "[convolutional]\nfilters=21\nsize=1\nactivation=linear\n\n[yolo]")
            .replace("activation", "batch_normalize=1\nactivation", 1)
        )
    )
    state = ultralytics(model)
    name = "module_list.0.Conv2d.weight"
    state[name] = np.ascontiguousarray(edit(state[name]))
    path = save(state, tmp_path / "net.pth")
    with pytest.raises(dc.WeightsError) as error:
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)
    assert text.format(name) in str(error.value)
    assert "axes" in error.value.hint


@pytest.mark.parametrize(
    ("array", "said"), [("running_mean", "rolling_mean"), ("running_var", "rolling_variance")]
)
def test_a_batch_norm_without_one_of_its_arrays_names_it(model, array, said, tmp_path):
    state = {
        k: v for k, v in ultralytics(model).items() if k != f"module_list.0.BatchNorm2d.{array}"
    }
    path = save(state, tmp_path / "net.pth")
    with pytest.raises(dc.WeightsError, match=f"{said}: expected 8, found no such array"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


def test_an_exported_program_is_refused(tmp_path):
    module = torch.nn.Conv2d(3, 8, 1)
    torch.export.save(torch.export.export(module, (torch.ones(1, 3, 8, 8),)), tmp_path / "net.pt2")
    model = random_model(network(BODY))
    with pytest.raises(dc.WeightsError, match=r"is an exported program \(.pt2\)"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), tmp_path / "net.pt2")


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_check_does_not_pass_on_what_is_no_number(model, value, tmp_path):
    state = ultralytics(model)
    state["module_list.0.Conv2d.weight"][:] = value
    path = save(state, tmp_path / "net.pth")
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path)
    assert any("other values" in doubt for doubt in done.doubts)


@pytest.mark.parametrize("name", ["last.ckpt", "weights.bin", "net.weights", "state"])
def test_a_checkpoint_is_told_by_its_content_whatever_its_name(model, name, tmp_path):
    write_cfg(model, tmp_path / "net.cfg")
    save(ultralytics(model), tmp_path / name)
    with contextlib.chdir(tmp_path):
        result = CliRunner().invoke(main, ["convert", "net.cfg", name, "-o", "o.cfg", "o.weights"])
    assert result.exit_code == 0, result.output
    assert_same(dc.load(tmp_path / "o.cfg", tmp_path / "o.weights"), model)
