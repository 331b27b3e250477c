"""Every small network of golden/micro: layout, layers in every backend, boxes, round trip."""

from dataclasses import replace

import numpy as np
import pytest

import darkconv as dc
from darkconv.detection.decode import box_heads, decode
from darkconv.detection.detect import nms_of
from darkconv.detection.suppress import suppress
from darkconv.pictures.picture import PictureFit
from reference.collection import BACKENDS, Case, assert_close, stored_arrays


@pytest.fixture(scope="module")
def micro_case(request):
    return Case(request.param, request.param / "net.weights")


@pytest.fixture(scope="module")
def boxes_case(request):
    return Case(request.param, request.param / "net.weights")


def test_arrays_and_shapes_are_those_of_c(micro_case):
    model, layout = micro_case.model, micro_case.layout
    assert stored_arrays(model) == micro_case.segments()
    header = layout["header"]
    assert vars(model.header) == {k: header[k] for k in vars(model.header)}
    for layer, expected in zip(model.network.layers, layout["layers"], strict=True):
        shape = expected["shape"]
        assert layer.type == expected["type"]
        assert layer.out_shape.is_map == (len(shape) == 3)
        assert list(layer.out_shape)[: len(shape)] == shape


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_layer_has_the_numbers_of_c(micro_case, backend):
    expected, steps = micro_case.expected, micro_case.layout.get("steps", 1)
    inputs = [expected["input" if k == 0 else f"input_step{k}"] for k in range(steps)]
    traces = dc.trace(micro_case.model, inputs, backend=backend)
    for step, layers in enumerate(traces):
        for index, found in enumerate(layers):
            name = f"layer_{index:03d}" + (f"_step{step}" if step else "")
            assert_close(found, expected[name], name)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_is_its_inputs_one_by_one(micro_case, backend, count):
    first = micro_case.expected["input"]
    if micro_case.layout.get("batch", 1) > 1:
        first = first[0]
    inputs = [np.roll(first, shift, axis=-1) * (1 - shift / 8) for shift in range(count)]
    together = dc.trace(micro_case.model, np.stack(inputs), backend=backend)
    for i, x in enumerate(inputs):
        single = dc.trace(micro_case.model, x, backend=backend)
        for index, (a, b) in enumerate(zip(together, single, strict=True)):
            assert_close(a[i], b, f"input {i}, layer {index}")


def test_files_are_written_byte_for_byte(micro_case, tmp_path):
    dc.save(micro_case.model, tmp_path / "net.cfg", tmp_path / "net.weights")
    for name in ("net.cfg", "net.weights"):
        assert (tmp_path / name).read_bytes() == (micro_case.folder / name).read_bytes()


def test_arrays_come_back_from_torch_bit_for_bit(micro_case, tmp_path):
    module = dc.to_torch(micro_case.model)
    for back in (dc.from_torch(module), dc.from_torch(module.train())):
        dc.save(back, tmp_path / "net.cfg", tmp_path / "net.weights")
        written = (tmp_path / "net.weights").read_bytes()
        assert written == (micro_case.folder / "net.weights").read_bytes()


def test_arrays_come_back_from_keras_bit_for_bit(micro_case, tmp_path):
    kmodel = dc.to_keras(micro_case.model)
    dc.save(dc.from_keras(kmodel), tmp_path / "net.cfg", tmp_path / "net.weights")
    written = (tmp_path / "net.weights").read_bytes()
    assert written == (micro_case.folder / "net.weights").read_bytes()


def test_detections_are_those_of_c(boxes_case):
    settings = boxes_case.layout["detections"]
    found, scale = decoded(boxes_case, settings)
    expected = boxes_case.expected
    rows = as_rows(found, scale)
    np.testing.assert_allclose(rows, expected["detections"], rtol=1e-4, atol=1e-5)
    kind, beta = nms_of(boxes_case.model.network)
    kept = suppress(found, threshold=settings["nms"], kind=kind, beta=beta)
    assert_same_rows(as_rows(kept, scale), expected["detections_nms"])


def decoded(case, settings):
    network = case.model.network
    heads = box_heads(network)
    outputs = [case.expected[f"layer_{layer.index:03d}"] for layer in heads]
    if case.layout.get("batch", 1) > 1:
        outputs = [output[0] for output in outputs]
    found = decode(network, outputs, threshold=settings["thresh"], hierarchy=settings["hier"])
    picture = settings["image_width"], settings["image_height"]
    if heads[-1].type == "detection":  # C gives these in pixels, and knows no letterbox
        return found, np.array(picture * 2, np.float32)
    shape = network.input_shape
    fit = PictureFit(picture, (shape.w, shape.h), bool(settings["letterbox"]))
    return replace(found, boxes=fit.to_picture(found.boxes)), np.float32(1)


def as_rows(found, scale):
    return np.hstack([found.boxes * scale, found.objectness[:, None], found.scores])


def assert_same_rows(found, expected):
    """Equal as sets, leaving out rows whose scores are all 0."""
    found, expected = (rows[(rows[:, 5:] > 0).any(axis=1)] for rows in (found, expected))
    assert found.shape == expected.shape
    left = list(found)
    for row in expected:
        nearest = int(np.argmin([np.abs(other - row).max() for other in left]))
        np.testing.assert_allclose(left.pop(nearest), row, rtol=1e-4, atol=1e-5)
