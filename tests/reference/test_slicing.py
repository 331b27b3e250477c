"""Class slicing on the real models: equal to the bit, and readable by OpenCV 4."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.backends import spoke
from darkconv.pictures.picture import PictureFit, read_picture

MODELS = ("mobilenetv2-yolo-fastest-voc-v2", "mobilenetv2-yolov3-nano-voc")
KEEP = {
    "subset": ["person", "tvmonitor"],
    "reordered": ["tvmonitor", "person", "chair", "pottedplant"],
    "one class": ["chair"],
}
PHOTOGRAPHS = 10
TO_THE_BIT = ("torch", "onnx")
"""TensorFlow sums a product of matrices in another order when it has fewer columns."""


@pytest.fixture(scope="module", params=MODELS)
def files(request, models_dir):
    name = request.param
    folder = models_dir / name
    if not folder.is_dir():
        pytest.skip(f"no model {name} in {models_dir}")
    return folder / f"{name}.cfg", folder / f"{name}.weights"


@pytest.fixture(scope="module")
def pictures(data_dir, files):
    paths = sorted((data_dir / "indoor85" / "images").glob("*.jpg"))[:PHOTOGRAPHS]
    if len(paths) < PHOTOGRAPHS:
        pytest.skip(f"no photographs in {data_dir / 'indoor85'}")
    shape = dc.load(*files).network.input_shape
    found = [read_picture(path, exact=True) for path in paths]
    return [PictureFit(p.shape[1::-1], (shape.w, shape.h), False).apply(p)[None] for p in found]


@pytest.fixture(params=KEEP)
def sliced(request, files, tmp_path):
    """The whole model, the one read back from its sliced files, those files, kept indices."""
    whole = dc.load(*files)
    keep = KEEP[request.param]
    out = tmp_path / "s.cfg", tmp_path / "s.weights"
    dc.save(dc.reclass(whole, keep=keep), *out, names=tmp_path / "s.names")
    small = dc.load(*out)
    assert small.names == tuple(keep)
    return whole, small, out, [whole.names.index(name) for name in keep]


@pytest.mark.parametrize("backend", TO_THE_BIT)
def test_boxes_and_scores_are_equal_to_the_bit(sliced, pictures, backend):
    for expected, found in kept_and_sliced(sliced, pictures, backend):
        np.testing.assert_array_equal(found, expected)


def test_keras_differs_by_rounding(sliced, pictures):
    for expected, found in kept_and_sliced(sliced, pictures, "keras"):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def kept_and_sliced(sliced, pictures, backend):
    """Of each picture and head, the kept rows of the whole model's output, and the sliced one's."""
    whole, small, _, kept = sliced
    run_whole, run_small = (spoke(backend).make_runner(m) for m in (whole, small))
    for x in pictures:
        for head, a, b in zip(whole.network.heads, run_whole(x), run_small(x), strict=True):
            yield a[:, head.spec.class_rows(head.in_shapes, kept)], b


def test_opencv_reads_the_files_and_agrees_with_itself(files, sliced, pictures):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV has no Darknet reader")
    *_, out, kept = sliced
    columns = [*range(5), *(5 + index for index in kept)]
    whole, small = (cv2.dnn.readNetFromDarknet(*map(str, pair)) for pair in (files, out))
    for x in pictures:
        for a, b in zip(outputs(whole, x), outputs(small, x), strict=True):
            np.testing.assert_array_equal(b, a[:, columns])


def outputs(net, x):
    net.setInput(x)
    return net.forward(net.getUnconnectedOutLayersNames())
