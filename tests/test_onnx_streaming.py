"""ONNX files written piece by piece: whole, with a data file, and pointing into the weights."""

import os
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.core.model import Header, Model
from darkconv.darknet.weights import FileArrays
from darkconv.errors import DarkconvError, WeightsError
from networks import network, random_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
LINEAR = "[convolutional]\nfilters={n}\nactivation=linear\n"
YOLO = "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
DETECTOR = CONV.format(n=8) + CONV.format(n=5) + LINEAR.format(n=16) + YOLO
BODIES = {
    "detector": DETECTOR,
    "deconvolutional": CONV.format(n=6)
    + "[deconvolutional]\nfilters=5\nsize=2\nstride=2\nbatch_normalize=1\n",
    "connected": "[connected]\noutput=9\nbatch_normalize=1\n[connected]\noutput=4\n",
    "local": "[local]\nfilters=4\nsize=3\npad=1\n",
    "implicit": CONV.format(n=80) + "[implicit]\nfilters=80\n[route]\nlayers=-1,-2\n",
    "shared": CONV.format(n=8) + CONV.format(n=8) + CONV.format(n=8) + "share_index=1\n",
    "xnor": CONV.format(n=8) + CONV.format(n=8) + "xnor=1\n",
    "recurrent": "[crnn]\noutput=6\nhidden=4\npad=1\nbatch_normalize=1\n",
    "batchnorm": CONV.format(n=70) + "[batchnorm]\n",
}
DIALECTS = {"deconvolutional": ["pjreddie"], "implicit": ["alexeyab"], "shared": ["alexeyab"]}
STATELESS = [name for name in BODIES if name != "recurrent"]
X = np.random.default_rng(1).random((2, 3, 8, 8), np.float32)


def model_of(name, dialect=None):
    return random_model(network(BODIES[name], dialect=dialect or dialects(name)[-1]))


def dialects(name):
    return DIALECTS.get(name, ["pjreddie", "alexeyab"])


def write_onnx(model, path, **options):
    from darkconv.backends.onnx import write_onnx

    write_onnx(model, path, **options)
    return path


def saved(model, folder):
    """The model as it is read from net.cfg and net.weights."""
    dc.save(model, folder / "net.cfg", folder / "net.weights")
    return dc.load(folder / "net.cfg", folder / "net.weights", dialect=model.dialect.name)


def outputs_of(source):
    """Of a file or its bytes, by name."""
    session = onnxruntime.InferenceSession(source if isinstance(source, bytes) else str(source))
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": X}), strict=True))


def assert_same_outputs(path, model, **options):
    expected = outputs_of(dc.to_onnx(model, **options).SerializeToString())
    found = outputs_of(path)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


def places(path):
    """(location, offset, length) of the initializers that stand elsewhere, by name."""
    graph = onnx.load(path, load_external_data=False).graph
    facts = {i.name: {e.key: e.value for e in i.external_data} for i in graph.initializer}
    return {
        name: (fact["location"], int(fact["offset"]), int(fact["length"]))
        for name, fact in facts.items()
        if fact
    }


def initializers(path):
    return {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


@pytest.fixture
def detector(tmp_path):
    return saved(random_model(network(DETECTOR), names=("a", "b", "c")), tmp_path)


@pytest.mark.parametrize("options", [{}, {"fold": False}, {"fp16": True}], ids=str)
@pytest.mark.parametrize("name", BODIES)
def test_one_file_is_what_protobuf_would_write(tmp_path, monkeypatch, name, options):
    monkeypatch.setattr("darkconv.backends.onnx.tensors.PIECE", 100)
    model = model_of(name)
    path = write_onnx(model, tmp_path / "net.onnx", **options)
    proto = dc.to_onnx(model, **options)
    assert path.read_bytes() == proto.SerializeToString()
    assert onnx.load(path) == proto
    onnx.checker.check_model(str(path), full_check=True)


@pytest.mark.parametrize("head", ["raw", "boxes", "nms"])
def test_heads_are_written_as_they_are_built(tmp_path, detector, head):
    path = write_onnx(detector, tmp_path / "net.onnx", head=head)
    assert path.read_bytes() == dc.to_onnx(detector, head=head).SerializeToString()


@pytest.mark.parametrize("options", [{}, {"fold": False}, {"fp16": True}], ids=str)
@pytest.mark.parametrize("name", STATELESS)
def test_a_data_file_holds_the_large_arrays(tmp_path, name, options):
    model = model_of(name)
    path = write_onnx(model, tmp_path / "net.onnx", external=True, **options)
    onnx.checker.check_model(str(path), full_check=True)
    assert_same_outputs(path, model, **options)
    found = places(path)
    assert {location for location, _, _ in found.values()} == {"net.onnx.data"}
    assert all(
        offset % (4096 if length >= 4096 else 64) == 0 for _, offset, length in found.values()
    )
    assert (tmp_path / "net.onnx.data").stat().st_size == max(a + b for _, a, b in found.values())
    whole = write_onnx(model, tmp_path / "whole.onnx", **options)
    inside = initializers(whole)
    assert inside.keys() == initializers(path).keys()
    for key, array in initializers(path).items():
        np.testing.assert_array_equal(array, inside[key])


def test_both_files_may_be_moved_together(tmp_path, detector):
    path = write_onnx(detector, tmp_path / "net.onnx", external=True)
    (tmp_path / "elsewhere").mkdir()
    for file in (path, Path(f"{path}.data")):
        file.rename(tmp_path / "elsewhere" / file.name)
    assert_same_outputs(tmp_path / "elsewhere" / "net.onnx", detector)


@pytest.mark.parametrize(
    ("name", "dialect"), [(name, dialect) for name in STATELESS for dialect in dialects(name)]
)
@pytest.mark.parametrize("minor", [1, 2])
def test_in_place_points_into_the_weights(tmp_path, name, dialect, minor):
    model = saved(replace(model_of(name, dialect), header=Header(0, minor, 0)), tmp_path)
    path = write_onnx(model, tmp_path / "net.onnx", in_place=True)
    onnx.checker.check_model(str(path), full_check=True)
    assert_same_outputs(path, model, fold=False)
    found = places(path)
    assert {location for location, _, _ in found.values()} <= {"net.weights"}
    data, inside = (tmp_path / "net.weights").read_bytes(), initializers(path)
    for key, (_, offset, length) in found.items():
        assert data[offset : offset + length] == inside[key].tobytes()
    stated = {
        f"{int(key.split('.')[0]):03d}"
        for key, array in model.arrays.items()
        if array.size > 64 and key.endswith(".weights")
    }
    if name not in ("local", "shared", "xnor"):
        assert {key[:3] for key in found if key.endswith("weights")} == stated


def test_in_place_holds_what_the_weights_have_in_another_order(tmp_path):
    model = random_model(network("[connected]\noutput=9\n"))
    model = saved(replace(model, header=Header(1001, 2, 0)), tmp_path)
    path = write_onnx(model, tmp_path / "net.onnx", in_place=True)
    assert not places(path)
    assert_same_outputs(path, model)


def test_in_place_says_that_batch_norm_is_not_folded(tmp_path, detector, caplog):
    write_onnx(detector, tmp_path / "net.onnx", in_place=True)
    assert [r.message for r in caplog.records] == [
        "in place, batch norm is not folded: the weights stay as they are"
    ]
    caplog.clear()
    write_onnx(detector, tmp_path / "net.onnx", in_place=True, fold=False)
    assert not caplog.records


def test_names_and_input_size_may_be_others_in_place(tmp_path, detector):
    model = replace(detector.with_input_size(16, 16), names=("x", "y", "z"))
    assert places(write_onnx(model, tmp_path / "net.onnx", in_place=True))


@pytest.mark.parametrize("form", [{}, {"external": True}, {"in_place": True}], ids=str)
def test_metadata_are_the_same_in_every_form(tmp_path, detector, form):
    path = write_onnx(detector, tmp_path / "net.onnx", **form)
    expected = {e.key: e.value for e in dc.to_onnx(detector).metadata_props}
    digest = expected.pop("weights_sha256")
    proto = onnx.load(path, load_external_data=False)
    found = {e.key: e.value for e in proto.metadata_props}
    assert found.pop("weights_sha256", None) == (None if "in_place" in form else digest)
    assert found == expected


def not_of_a_file(model, folder):
    return random_model(network(DETECTOR)), folder / "net.onnx"


def changed(model, folder):
    return dc.replace_arrays(model, {"0.biases": np.ones(8)}), folder / "net.onnx"


def cut_off(model, folder):
    part = dc.load(folder / "net.cfg")
    part = replace(model, arrays=part.arrays, initial_layers=(1,))
    return part, folder / "net.onnx"


def elsewhere(model, folder):
    (folder / "sub").mkdir()
    return model, folder / "sub" / "net.onnx"


def linked(model, folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "net.weights").symlink_to(folder / "net.weights")
    return dc.load(folder / "net.cfg", folder / "sub" / "net.weights"), folder / "sub" / "net.onnx"


def removed(model, folder):
    (folder / "net.weights").unlink()
    return model, folder / "net.onnx"


def rewritten(model, folder):
    (folder / "net.weights").write_bytes((folder / "net.weights").read_bytes())
    os.utime(folder / "net.weights", ns=(0, 0))
    return model, folder / "net.onnx"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (not_of_a_file, "as a whole weights file holds them.*not loaded from one\n  hint: save"),
        (changed, "found a model that was changed"),
        (cut_off, "found a model that was changed"),
        (elsewhere, "sub/net.onnx: .* must lie beside the weights.*expected .*, found .*sub"),
        (linked, "sub/net.onnx: .* must lie beside the weights.*expected .*, found .*sub"),
        (removed, "net.weights: has been moved or changed since it was loaded"),
        (rewritten, "net.weights: has been moved or changed since it was loaded"),
    ],
)
def test_in_place_refuses_what_it_cannot_point_into(tmp_path, detector, made, message):
    model, path = made(detector, tmp_path)
    with pytest.raises(DarkconvError, match=message):
        write_onnx(model, path, in_place=True)
    assert not path.exists()


def test_a_link_to_weights_is_followed_to_the_folder_they_are_in(tmp_path, detector):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "link.weights").symlink_to(tmp_path / "net.weights")
    model = dc.load(tmp_path / "net.cfg", tmp_path / "sub" / "link.weights")
    path = write_onnx(model, tmp_path / "net.onnx", in_place=True)
    assert {location for location, _, _ in places(path).values()} == {"net.weights"}
    assert_same_outputs(path, model, fold=False)


def test_in_place_warns_of_weights_with_several_names(tmp_path, detector, caplog):
    os.link(tmp_path / "net.weights", tmp_path / "other.weights")
    path = write_onnx(detector, tmp_path / "net.onnx", in_place=True, fold=False)
    assert "has several names (hard links): onnx.checker refuses" in caplog.text
    assert_same_outputs(path, detector, fold=False)
    with pytest.raises(onnx.checker.ValidationError, match="hard links"):
        onnx.checker.check_model(str(path))


def test_forms_exclude_each_other(tmp_path, detector):
    with pytest.raises(DarkconvError, match="external and in_place cannot both hold"):
        write_onnx(detector, tmp_path / "net.onnx", external=True, in_place=True)
    with pytest.raises(DarkconvError, match="in_place: expected float32, as the weights file"):
        write_onnx(detector, tmp_path / "net.onnx", in_place=True, fp16=True)


@pytest.mark.parametrize("form", [{}, {"external": True}, {"in_place": True}], ids=str)
def test_a_failing_write_leaves_the_old_files(tmp_path, detector, monkeypatch, form):
    write_onnx(detector, tmp_path / "net.onnx", **form)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fails(*_, **__):
        raise DarkconvError("no")

    monkeypatch.setattr("darkconv.backends.onnx.writing.digests", fails)
    with pytest.raises(DarkconvError, match="no"):
        write_onnx(detector, tmp_path / "net.onnx", head="boxes", **form)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_folder_that_does_not_exist_is_named(tmp_path, detector):
    with pytest.raises(DarkconvError, match=r"none/net.onnx: cannot write: No such file"):
        write_onnx(detector, tmp_path / "none" / "net.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["", "batch_normalize=1\n"])
def test_more_than_a_message_can_hold_is_refused_without_memory(tmp_path, norm):
    net = network(f"[connected]\noutput=70000\n{norm}", (1, 1, 10000))
    arrays = {key: np.broadcast_to(np.float32(1), slot.shape) for key, _, slot in net.keyed_slots()}
    model = Model(net, arrays, Header.new(net.dialect), initial_layers=(0,))
    tracemalloc.start()
    with pytest.raises(DarkconvError, match="at most 2147479551 bytes, found 28.*\n.*--external"):
        write_onnx(model, tmp_path / "net.onnx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e7
    assert not list(tmp_path.iterdir())


def test_a_data_file_may_be_larger_than_a_message(tmp_path, monkeypatch, detector):
    monkeypatch.setattr("darkconv.backends.onnx.wire.LARGEST", 5000)
    with pytest.raises(DarkconvError, match="one ONNX file cannot hold these weights"):
        write_onnx(detector, tmp_path / "net.onnx")
    write_onnx(detector, tmp_path / "net.onnx", external=True)
    assert_same_outputs(tmp_path / "net.onnx", detector)


def test_a_pickle_holds_the_arrays_alone(detector):
    assert isinstance(detector.arrays, FileArrays)
    arrays = pickle.loads(pickle.dumps(detector.arrays))
    assert not isinstance(arrays, FileArrays)
    assert list(arrays) == list(detector.arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, detector.arrays[key])


def test_arrays_know_their_place_in_the_file(tmp_path, detector):
    file, data = detector.arrays.file, (tmp_path / "net.weights").read_bytes()
    for array in detector.arrays.values():
        offset = file.offset_of(array)
        assert data[offset : offset + array.nbytes] == array.tobytes()
    weights = detector.arrays["0.weights"]
    assert file.offset_of(weights[1:]) == file.offset_of(weights) + weights[0].nbytes
    assert file.offset_of(weights.T) is None
    assert file.offset_of(weights.copy()) is None


def test_what_is_not_unchanged_is_another_file(tmp_path, detector):
    file = detector.arrays.file
    assert file.is_unchanged
    dc.save(detector, tmp_path / "net.cfg", tmp_path / "net.weights")
    assert not file.is_unchanged
    assert isinstance(file.error("text"), WeightsError)


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ("", ["net.onnx ("]),
        ("--external", ["net.onnx (", "net.onnx.data ("]),
        ("--in-place", ["net.onnx ("]),
    ],
)
@pytest.mark.parametrize("head", ["raw", "nms"])
def test_commands_take_every_form(tmp_path, detector, monkeypatch, options, written, head):
    pytest.importorskip("torch")
    image_module = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    image_module.fromarray(levels).save("a.png")

    def run(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        return result

    result = run(f"convert net.cfg net.weights -o net.onnx --head {head} {options}")
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("wrote"))
    assert [part.split("(")[0] + "(" for part in line[6:].split(", ")] == written
    run("verify net.cfg net.weights net.onnx")
    expected = run("detect net.cfg net.weights a.png").stdout
    assert run("detect net.onnx a.png").stdout.count("\n") == expected.count("\n")


def test_the_command_refuses_both_forms_at_once(tmp_path, detector, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = "convert net.cfg net.weights -o net.onnx --external --in-place"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 2
    assert "--external and --in-place exclude each other" in result.stderr
