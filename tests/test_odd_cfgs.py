"""Cfgs that a C program runs and that look wrong: what is done with them, in every backend."""

import logging
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
import oracle
from darkconv.errors import UnsupportedError
from darkconv.surgery.channels import find_classes
from networks import network, random_model
from reference.collection import BACKENDS, assert_close

CASES = Path(__file__).parent / "data" / "cases" / "cfg"
WARNINGS = {
    "scales-empty": ["scales-empty.cfg:17: [net] scales: expected a number, found nothing: read as "
                     "0, as in C; only training reads it"],
    "scales-with-an-empty-entry": [
        "scales-with-an-empty-entry.cfg:7: [net] scales: expected a number, found nothing: read as "
        "0, as in C; only training reads it"],
    "max-batches-beyond-int": [
        "max-batches-beyond-int.cfg:5: [net] max_batches: expected a number that C can hold, found "
        "1000000000000: read as -727379968, as in C; only training reads it"],
    "groups-not-dividing": [
        "groups-not-dividing.cfg:20: layer 2 [convolutional] groups: 4 groups do not divide 5 "
        "input channels: each reads 1, as in C, whose product also takes in memory behind them; "
        "this one does not"],
    "detection-classes-0": [
        "detection-classes-0.cfg:17: layer 2 [detection] classes: without classes no box has a "
        "score, as in C"],
    "shortcut-other-size-mish": [
        "shortcut-other-size-mish.cfg:20: layer 2 [shortcut] from: adds a map of 32x32 to one of "
        "16x16: sampled, as AlexeyAB's program did until January 2020; later ones refuse it"],
    "stride-xy-1x1": [
        "stride-xy-1x1.cfg:6: layer 0 [convolutional]: a kernel of size=1 moves over the map by "
        "its stride and padding here; C's CPU code takes no account of them and reads other "
        "pixels"],
    "mask-beyond-num": [
        "mask-beyond-num.cfg:14: layer 1 [yolo] mask: 6 is not below num=6, where C reads other "
        "memory: no anchor is listed, so its boxes are not decoded here"],
}  # fmt: skip
"""Told of each file of `data/cases/cfg`."""


def loaded(name, caplog, **options):
    """A case's model, and what was told of it, without folders."""
    caplog.clear()
    model = dc.load(CASES / f"{name}.cfg", **options)
    texts = [record.getMessage().removeprefix(f"{CASES}/") for record in caplog.records]
    return random_model(model.network), texts


@pytest.mark.parametrize("name", WARNINGS)
def test_case_is_read_with_a_warning_and_written_as_it_was(name, caplog, tmp_path):
    model, texts = loaded(name, caplog)
    assert texts == WARNINGS[name]
    dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights")
    assert (tmp_path / "net.cfg").read_bytes() == (CASES / f"{name}.cfg").read_bytes()
    again = dc.load(tmp_path / "net.cfg", tmp_path / "net.weights", dialect=model.dialect.name)
    assert all((again.arrays[key] == array).all() for key, array in model.arrays.items())


@pytest.mark.parametrize("name", [name for name in WARNINGS if name != "scales-empty"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_case_has_the_numbers_of_the_specification(name, backend, caplog):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    model, _ = loaded(name, caplog)
    x = np.random.default_rng(0).normal(size=model.network.input_shape).astype(np.float32)
    expected = oracle.run(model, [x])[0]
    for index, found in enumerate(dc.trace(model, x, backend=backend)):
        assert_close(found, expected[index], f"layer {index}")


SMALL = "[convolutional]\nfilters={}\nsize=1\nactivation=linear\n"
LISTED = "[yolo]\nclasses=1\nnum=2\nmask=1,3\nanchors=1,2, 3,4, 5,6, 7,8\n"


def boxes(model, threshold=0.0):
    """What every form of a model makes of a picture: (n, 4) boxes and their scores."""
    picture = np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8)
    found = dc.detect(model, picture, threshold=threshold)
    return [(d.class_id, *np.round(d.box, 4)) for d in found]


def test_masks_beyond_num_take_the_anchors_that_are_listed():
    """As if `num` counted them."""
    pytest.importorskip("torch")
    net = network(SMALL.format(12) + LISTED)
    right = network(SMALL.format(12) + LISTED.replace("num=2", "num=4"))
    assert net.layers[1].spec.head_anchors.tolist() == [[3, 4], [7, 8]]
    found = boxes(random_model(net))
    assert len(found) > 10
    assert found == boxes(random_model(right))


@pytest.mark.parametrize("head", ["boxes", "nms"])
def test_masks_without_an_anchor_give_no_boxes(head, caplog):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    model, _ = loaded("mask-beyond-num", caplog)
    expected = r"mask-beyond-num.cfg:14: layer 1 \[yolo\] mask: its boxes cannot be decoded: "
    with pytest.raises(dc.DarkconvError, match=expected):
        boxes(model)
    with pytest.raises(dc.DarkconvError, match=expected):
        dc.to_onnx(model, head=head)
    assert dc.to_onnx(model)


WITHOUT_CLASSES = {
    "yolo": SMALL.format(10) + "[yolo]\nclasses=0\nnum=2\n",
    "Gaussian_yolo": SMALL.format(18) + "[Gaussian_yolo]\nclasses=0\nnum=2\n",
    "region": SMALL.format(10) + "[region]\nclasses=0\nnum=2\nsoftmax=1\n",
    "detection": "[connected]\noutput=20\n[detection]\nclasses=0\ncoords=4\nside=2\nsoftmax=1\n",
}


@pytest.mark.parametrize("name", WITHOUT_CLASSES)
def test_heads_without_classes_find_nothing(name):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    model = random_model(network(WITHOUT_CLASSES[name]))
    assert boxes(model) == []
    for head in ("boxes", "nms"):
        with pytest.raises(UnsupportedError, match="without classes no box has a score"):
            dc.to_onnx(model, head=head)
    x = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    expected = oracle.run(model, [x])[0][-1]
    for backend in BACKENDS:
        assert_close(dc.trace(model, x, backend=backend)[-1], expected, backend)


def test_groups_that_leave_channels_unread_are_locked():
    """Which channels are read depends on how many there are."""
    body = SMALL.format(7) + SMALL.format(8) + "groups=4\n" + SMALL.format(2)
    net = network(body)
    assert net.layers[1].spec.read_channels(7).tolist() == [[0], [1], [2], [3]]
    original = network(body, dialect="pjreddie")
    assert original.layers[1].spec.read_channels(7).tolist() == [[0], [1], [3], [5]]
    classes = find_classes(net)
    assert not classes.free[classes.of(0)].any()
    assert not classes.free[classes.of(1)].any()
    reasons = {lock.reason for lock in classes.locks.values()}
    assert "its groups do not divide its input channels" in reasons


POINTWISE = "[convolutional]\nfilters=4\nsize=1\nactivation=linear\n"


@pytest.mark.parametrize(
    ("dialect", "options", "is_told"),
    [
        ("pjreddie", "stride=2", True),
        ("pjreddie", "padding=1", True),
        ("pjreddie", "stride=1\npad=1", False),
        ("alexeyab", "stride=2", False),
        ("alexeyab", "stride_x=1\nstride_y=2", True),
        ("alexeyab", "stride_x=2\nstride_y=1", False),
        ("alexeyab", "padding=1", True),
        ("alexeyab", "stride_x=1\nstride_y=2\nantialiasing=1", False),
        ("alexeyab", "pad=1", False),
    ],
)
def test_pixels_that_c_reads_otherwise_are_told_of(dialect, options, is_told, caplog):
    network(POINTWISE + options + "\n", dialect=dialect)
    assert ("reads other pixels" in caplog.text) == is_told


@pytest.mark.parametrize(
    ("first", "narrow", "is_told"),
    [(4, 2, True), (3, 2, False), (4, 4, False), (4, 6, False)],
)
def test_channels_that_a_source_lacks_are_told_of_where_c_reads_on(first, narrow, is_told, caplog):
    """The fork looks at what the source layer reads, not at what it gives."""
    body = SMALL.format(first) + SMALL.format(narrow) + SMALL.format(4) + "[shortcut]\nfrom=1\n"
    network(body)
    told = "layer 3 [shortcut] from: its source lacks 2 of 4 channels, for which C reads memory"
    assert (told in caplog.text) == is_told
    caplog.clear()
    network(body, dialect="pjreddie")
    assert not caplog.text


def test_unequal_strides_of_xnor_are_told_of(caplog):
    body = "[convolutional]\nsize=3\npad=1\nxnor=1\nstride_x=1\nstride_y=2\n"
    network(body)
    assert "computed as with equal strides; C writes past its memory" in caplog.text


def test_dialect_of_a_synonym_is_that_of_the_function(tmp_path):
    for name, expected in (("silu", "alexeyab"), ("sigmoid", "pjreddie"), ("unheard", "pjreddie")):
        path = tmp_path / "net.cfg"
        path.write_text(
            f"[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=2\nactivation={name}\n"
        )
        assert dc.load(path).dialect.name == expected


SECOND = "8: layer 0 [convolutional]"
CONV = "[net]\nwidth=8\nheight=8\nchannels=3\n{net}\n[convolutional]\nfilters=4\n{conv}\n"


@pytest.mark.parametrize(
    ("net", "conv", "told"),
    [
        ("batch=1\nbatch=64", "",
         "6: [net] batch: 64 is its second value: 1 of line 5 counts, as in C"),
        ("width=9", "", "5: [net] width: 9 is its second value: 8 of line 2 counts, as in C"),
        ("", "filters=5", f"{SECOND} filters: 5 is its second value: 4 of line 7 counts, as in C"),
        ("", "filters=4 # the same", None),
        ("batch=\nbatch=64", "", None),
        ("", "size 3", f"{SECOND} size3: there is no = in the line, ignored; did you mean size=3?"),
        ("", "size: 3",
         f"{SECOND} size:3: there is no = in the line, ignored; did you mean size=3?"),
        ("", "hello", f"{SECOND} hello: there is no = in the line, ignored"),
        ("batch=x", "",
         "5: [net] batch: expected a whole number, found x: read as 0, as in C; only training "
         "reads it"),
        ("", "activation=hard-swish", f"{SECOND} activation: unknown name 'hard-swish' is relu, as "
                                      "in C; no Darknet has it"),
        ("", "activation=leaky-relu", f"{SECOND} activation: leaky-relu is read as leaky"),
    ],
)  # fmt: skip
def test_lines_that_do_not_count_are_told_of_once(net, conv, told, tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.cfg").write_text(CONV.format(net=net, conv=conv))
    model = dc.load("net.cfg")
    assert model.network.input_shape == (3, 8, 8)
    assert model.network.shapes[0].c == 4
    texts = [record.getMessage() for record in caplog.records]
    assert texts == ([f"net.cfg:{told}"] if told else [])


def test_a_size_that_c_reads_as_0_is_named(tmp_path):
    (tmp_path / "net.cfg").write_text("[net]\nwidth=0x10\nheight=16\nchannels=3\n[avgpool]\n")
    with pytest.raises(dc.DarkconvError, match="found height=16, width=0x10, channels=3$"):
        dc.load(tmp_path / "net.cfg")


@pytest.fixture(autouse=True)
def _warnings(caplog):
    caplog.set_level(logging.WARNING, "darkconv")
