"""Files in 8 bits: what `verify` sees of a fault, over all forms of file and all kinds of fault.

Every form is written once of one model, and compared with models that differ from it: what the
file lacks of such a model is the fault. A class that is dead is dead in the file.
"""

import functools
import json
import shutil

import numpy as np
import pytest

import darkconv as dc
from darkconv.verification.agreement import compare_values, joined, pooled
from effort import few
from networks import network, random_model

pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")
onnx = pytest.importorskip("onnx")
quantization = pytest.importorskip("onnxruntime.quantization")

SHAPE = (3, 48, 64)
CLASSES, ANCHORS = 4, 3
ENTRIES = 5 + CLASSES
NAMES = ("cup", "spoon", "fork", "knife")
BODY = """[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky

"""
DETECTOR = (
    BODY
    + f"[convolutional]\nfilters={ANCHORS * ENTRIES}\nactivation=linear\n\n"
    + f"[yolo]\nclasses={CLASSES}\nnum=3\nanchors=5,5,9,9,14,12\nscale_x_y=1.1\n"
)
REGION = (
    BODY
    + f"[convolutional]\nfilters={ANCHORS * ENTRIES}\nactivation=linear\n\n"
    + f"[region]\nclasses={CLASSES}\nnum=3\ncoords=4\nsoftmax=1\nanchors=1,1,2,2,3,3\n"
)
CLASSIFIER = BODY + f"[avgpool]\n\n[connected]\noutput={CLASSES}\nactivation=linear\n\n[softmax]\n"
LAST = {"yolo": (DETECTOR, 2), "region": (REGION, 2), "softmax": (CLASSIFIER, 3)}
"""Cfg of a network by its head, and which layer the head reads."""


@functools.cache
def pictures(folder):
    """Blobs about all corners of the colour cube, on which the activations of a network vary."""
    paths = []
    for seed in range(8):
        corner = np.array([(seed >> place & 1) * 155 for place in range(3)])
        coarse = (np.random.default_rng(seed).integers(0, 100, (4, 5, 3)) + corner).astype(np.uint8)
        paths.append(folder / f"{seed}.png")
        Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


@functools.cache
def right(head):
    """A model whose outputs vary as those of trained ones do."""
    body, last = LAST[head]
    dialect = "pjreddie" if head == "region" else "alexeyab"
    model = random_model(network(body, SHAPE, dialect), seed=3, names=NAMES)
    weights, biases = (model.arrays[f"{last}.{name}"].copy() for name in ("weights", "biases"))
    if head == "softmax":  # the classes vary about one level
        weights *= 8
        level = dc.trace(model, np.full(SHAPE, 0.5, np.float32))[last - 1].ravel()
        biases = -weights.reshape(CLASSES, -1) @ level
    else:  # few boxes are found
        weights *= np.float32(0.7)
        biases[entry(head, 4)] -= 5
    return dc.replace_arrays(model, {f"{last}.weights": weights, f"{last}.biases": biases})


def changed(head, rows, factor=1.0, more=0.0):
    """The model, rows of its last layer scaled and moved; `rows` is an index of axis 0."""
    model, key = right(head), LAST[head][1]
    weights = model.arrays[f"{key}.weights"].copy()
    biases = model.arrays[f"{key}.biases"].copy()
    weights[rows] *= np.float32(factor)
    biases[rows] = biases[rows] * np.float32(factor) + np.float32(more)
    return dc.replace_arrays(model, {f"{key}.weights": weights, f"{key}.biases": biases})


def reordered(head, order):
    """The model, the rows of its last layer in another order."""
    model, key = right(head), LAST[head][1]
    names = (f"{key}.weights", f"{key}.biases")
    return dc.replace_arrays(model, {name: model.arrays[name][order] for name in names})


def entry(head, first, stop=None):
    """Rows of the last layer that are some entries of all anchors, or classes of a classifier."""
    stop = first + 1 if stop is None else stop
    if head == "softmax":
        return list(range(first - 5, stop - 5))
    return [a * ENTRIES + e for a in range(ANCHORS) for e in range(first, stop)]


def with_exchanged(head, one, two):
    order = np.arange(len(right(head).arrays[f"{LAST[head][1]}.biases"]))
    order[entry(head, one)], order[entry(head, two)] = entry(head, two), entry(head, one)
    return reordered(head, order)


def dead(head, value):
    """The model, its third class with one value everywhere."""
    return changed(head, entry(head, 7), 0.0, value)


ALL = slice(None)
OF_ALL = {
    "the file scaled by 0.8": lambda head: changed(head, ALL, 1.25),
    "the file scaled by 1.25": lambda head: changed(head, ALL, 0.8),
    "two classes exchanged": lambda head: with_exchanged(head, 5, 6),
    "the bias of a class": lambda head: changed(head, entry(head, 6), more=-6.0),
    "another last layer": lambda head: reordered(
        head, np.roll(np.arange(len(right(head).arrays[f"{LAST[head][1]}.biases"])), 1)
    ),
}
OF_BOXES = {
    "sizes scaled by 0.8": lambda head: changed(head, entry(head, 2, 4), 1.25),
    "sizes too large": lambda head: changed(head, entry(head, 2, 4), more=-0.4),
    "boxes beside their places": lambda head: changed(head, entry(head, 0, 1), more=1.5),
    "the bias of objectness": lambda head: changed(head, entry(head, 4), more=2.5),
    "width and height exchanged": lambda head: with_exchanged(head, 2, 3),
    "anchors exchanged": lambda head: reordered(
        head, np.roll(np.arange(ANCHORS * ENTRIES), ENTRIES)
    ),
}
FAULTS = {**OF_ALL, **OF_BOXES}
BEST = "boxes deepstream"
"""Boxes that have the best of their classes alone."""
FORMS = {
    **{f"{kind}.onnx of {head}": (head, kind, "onnx")
       for head in ("yolo", "region") for kind in ("raw", "logits", "boxes", "nms")},
    **{f"{kind}.onnx of yolo": ("yolo", kind, "onnx")
       for kind in ("boxes ultralytics", "boxes yolov4", BEST, "nms efficientnms")},
    **{f"{kind}.onnx of softmax": ("softmax", kind, "onnx") for kind in ("raw", "logits")},
    **{f"{kind} of another tool, {head}": (head, kind, "foreign")
       for head, kind in (("yolo", "raw"), ("yolo", "logits"), ("yolo", "boxes"),
                          ("softmax", "raw"), ("softmax", "logits"))},
}  # fmt: skip
LITERT = {
    f"{kind}.tflite of {head}": (head, kind, "tflite")
    for head, kind in (("yolo", "raw"), ("yolo", "boxes"), ("softmax", "raw"))
}
BOUNDS = [
    (form, fault)
    for form, (head, _, _) in {**FORMS, **LITERT}.items()
    for fault in (OF_ALL if head == "softmax" else FAULTS)
]


class Reader(quantization.CalibrationDataReader):
    """Gives pictures to the quantiser of onnxruntime."""

    def __init__(self, values):
        self._left = iter(values)

    def get_next(self):
        x = next(self._left, None)
        return None if x is None else {"input": x[None]}


def write(model, form, folder):
    """Write a form's file of a model; as another tool would, it says nothing of itself."""
    from darkconv.verification.inputs import picture_input

    _, kind, maker = {**FORMS, **LITERT}[form]
    kind, _, layout = kind.partition(" ")
    given = pictures(folder)
    path = folder / f"net.{'tflite' if maker == 'tflite' else 'onnx'}"
    if maker != "foreign":
        more = {} if maker == "tflite" else {"min_agreement": 0.0}
        more |= {"layout": layout} if layout else {}
        dc.export(model, path, head=kind, int8=True, calibrate=given, compare=False, **more)
        return path
    proto = dc.to_onnx(model, head=kind)
    del proto.metadata_props[:]
    onnx.save(proto, folder / "whole.onnx")
    heavy = [n.name for n in proto.graph.node if n.op_type in ("Conv", "Gemm", "LeakyRelu")]
    quantization.quantize_static(
        folder / "whole.onnx",
        path,
        Reader([picture_input(model.network, one) for one in given]),
        per_channel=True,
        nodes_to_quantize=heavy,
    )
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A function that gives the file of a form, written once."""
    known = {}

    def file_of(form):
        if form not in known:
            head, _, maker = {**FORMS, **LITERT}[form]
            if maker == "tflite":
                pytest.importorskip("ai_edge_litert")
                pytest.importorskip("tensorflow")
            known[form] = write(right(head), form, tmp_path_factory.mktemp("file"))
        return known[form]

    return file_of


def checked(model, path):
    some = pictures(path.parent)
    found = dc.verify(model, path, image=some[:3] if model.network.finds_boxes else some)
    assert found.compared == sum(row.compared for row in found.rows) > 100
    return found


QUICK = ("raw.onnx of yolo", f"{BEST}.onnx of yolo")


def each(forms):
    """As parameters: forms, or forms with faults; a plain run tries those of a few forms."""
    return [
        pytest.param(
            *([one] if isinstance(one, str) else one),
            marks=[] if name.startswith(QUICK) else [pytest.mark.slow],
            id=name,
        )
        for one in forms
        for name in [one if isinstance(one, str) else ": ".join(one)]
    ]


@pytest.mark.parametrize("form", each([*FORMS, *LITERT]))
def test_right_files_agree(files, form):
    found = checked(right({**FORMS, **LITERT}[form][0]), files(form))
    assert found.ok, [(row.name, row.error, row.verdict) for row in found.rows if not row.is_good]
    assert all(row.compared for row in found.rows)


@pytest.mark.parametrize(("form", "fault"), each(BOUNDS))
def test_faults_are_seen(files, form, fault):
    found = checked(FAULTS[fault]({**FORMS, **LITERT}[form][0]), files(form))
    assert not found.ok


@pytest.mark.parametrize("value", [0.0, -9.0])
@pytest.mark.parametrize("form", each([*FORMS, *LITERT]))
def test_a_dead_class_is_seen_and_named(tmp_path, form, value):
    head, _, maker = {**FORMS, **LITERT}[form]
    if maker == "tflite":
        pytest.importorskip("ai_edge_litert")
        pytest.importorskip("tensorflow")
    found = checked(right(head), write(dead(head, value), form, tmp_path))
    if form.startswith(BEST):  # no box of this model is clearly of that class, which is told
        assert any("channels of classes hardly vary" in note for note in found.notes)
        return
    assert not found.ok
    if maker == "foreign" and head == "softmax":  # so far off that it is taken for another output
        return
    assert any("class 2 'fork'" in row.remark for row in found.rows)


@pytest.mark.parametrize("kind", few(["onnx", "tflite"], 1))
def test_convert_makes_the_same_check(tmp_path, kind):
    if kind == "tflite":
        pytest.importorskip("ai_edge_litert")
        pytest.importorskip("tensorflow")
    more = {} if kind == "tflite" else {"min_agreement": 0.0}
    path, given = tmp_path / f"net.{kind}", pictures(tmp_path)
    done = dc.export(right("yolo"), path, int8=True, calibrate=given, **more)
    found = dc.verify(right("yolo"), path, image=given)
    assert done.precision.check.ok
    assert done.to_dict()["precision"]["check"] == json.loads(json.dumps(found.to_dict()))


def test_pictures_of_a_classifier_are_many_or_turned(tmp_path):
    path, given = tmp_path / "net.onnx", pictures(tmp_path)
    many = [shutil.copy(one, tmp_path / f"{n}-{one.name}") for one in given for n in range(4)]
    done = dc.export(right("softmax"), path, int8=True, calibrate=many, min_agreement=0.0)
    assert done.precision.check.given == "24 pictures at 3x48x64"
    assert "8 pictures" in dc.verify(right("softmax"), path, image=given).given
    assert "in 3 forms: mirrored, turned" in dc.verify(right("softmax"), path, image=given).given
    assert "23 bundled pictures" in dc.verify(right("softmax"), path).given


def test_an_input_that_gives_little_does_not_decide_in_8_bits():
    dim, bright = np.full(8, 0.01, np.float32), np.full(8, 1.0, np.float32)
    rows = [compare_values("a", x + np.float32(0.02), x, 0.4) for x in (dim, bright)]
    assert (joined(rows).is_good, pooled(rows).is_good) == (False, True)
    assert pooled(rows).error == pytest.approx(0.02 * 2**0.5 / (1 + 1e-4) ** 0.5, rel=1e-3)
    broken = compare_values("a", bright * np.float32(np.nan), bright, 0.4)
    assert not pooled([*rows, broken]).is_good


def test_a_file_in_half_precision_has_no_such_check(tmp_path):
    done = dc.export(right("yolo"), tmp_path / "net.onnx", fp16=True)
    assert done.to_dict()["precision"]["check"] is None


def test_the_rows_say_what_is_off(files):
    path = files("raw.onnx of yolo")
    remarks = {
        name: " | ".join(row.remark for row in checked(change("yolo"), path).rows)
        for name, change in FAULTS.items()
    }
    assert "objectness of 003_yolo are 0.8" in remarks["the file scaled by 0.8"]
    assert (
        "class 0 'cup', anchor 0 and class 1 'spoon', anchor 0 of 003_yolo are exchanged"
        in (remarks["two classes exchanged"])
    )
    assert "box sizes of 003_yolo are 0.8" in remarks["sizes scaled by 0.8"]
    assert "too low on average" in remarks["the bias of objectness"]
