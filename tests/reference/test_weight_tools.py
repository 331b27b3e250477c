"""The weight tools on the real models: folding and cutting, in torch and in OpenCV 4."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.backends import spoke
from darkconv.surgery.averaging import average
from darkconv.surgery.backbone import plan_backbone, write_partial
from darkconv.surgery.colours import swap_rgb
from darkconv.surgery.compare import statistics
from darkconv.surgery.folding import fold_batchnorm, plan_folding
from darkconv.surgery.graft import graft
from reference.collection import LAYER_TOLERANCE, relative_error

OPENCV_TOLERANCE = 1e-4  # 2e-6 was measured
OPENCV_EPSILON = 1e-6  # what OpenCV adds to a variance, whatever Darknet adds
INPUTS = 3


class RealModel:
    """A model and some inputs for it."""

    def __init__(self, folder):
        self.files = [folder / f"{folder.name}.{suffix}" for suffix in ("cfg", "weights")]
        self.model = dc.load(*self.files)
        stream = np.random.default_rng(7)
        shape = (INPUTS, *self.model.network.input_shape)
        self.inputs = stream.random(shape, np.float32)

    def heads(self, model, inputs=None):
        return spoke("torch").make_runner(model)(self.inputs if inputs is None else inputs)


@pytest.fixture(scope="module")
def model_case(request):
    return RealModel(request.param)


def test_folding_keeps_the_heads(model_case):
    folded = fold_batchnorm(model_case.model)
    assert not plan_folding(model_case.model.network).left
    assert not any("rolling" in key for key in folded.arrays)
    pairs = zip(model_case.heads(folded), model_case.heads(model_case.model), strict=True)
    for found, expected in pairs:
        assert relative_error(found, expected) <= LAYER_TOLERANCE


def test_opencv_reads_folded_files(model_case, tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV has no Darknet reader")
    nets = []
    for name, model in (
        ("as Darknet divides", with_epsilon_for_opencv(model_case.model)),
        ("folded", fold_batchnorm(model_case.model)),
    ):
        files = [tmp_path / f"{name}.{suffix}" for suffix in ("cfg", "weights")]
        dc.save(model, *files)
        nets.append(cv2.dnn.readNetFromDarknet(*map(str, files)))
    for x in model_case.inputs:
        for expected, found in zip(*(opencv_heads(net, x[None]) for net in nets), strict=True):
            assert np.abs(found - expected).max() <= OPENCV_TOLERANCE
            assert np.abs(expected).max() > 0


def with_epsilon_for_opencv(model):
    """The model, its variances such that OpenCV divides by what Darknet divides by.

    Without this, OpenCV's own values are off by up to 6e-3 (yoloface-50k): folding mends it.
    """
    missing = model.dialect.variance_epsilon - OPENCV_EPSILON
    return dc.replace_arrays(
        model,
        {
            key: array.astype(np.float64) + missing
            for key, array in model.arrays.items()
            if key.endswith("rolling_variance")
        },
    )


def opencv_heads(net, x):
    net.setInput(x)
    return net.forward(net.getUnconnectedOutLayersNames())


def test_swapped_colours_give_the_same_heads(model_case):
    swapped = swap_rgb(model_case.model)
    other = np.ascontiguousarray(model_case.inputs[:, ::-1])
    pairs = zip(model_case.heads(swapped, other), model_case.heads(model_case.model), strict=True)
    for found, expected in pairs:
        assert relative_error(found, expected) <= LAYER_TOLERANCE


def test_the_backbone_file_fills_the_same_cfg(model_case, tmp_path):
    model = model_case.model
    plan = plan_backbone(model.network)
    path = tmp_path / f"a.conv.{plan.limit}"
    write_partial(model, path, plan.limit)
    whole = model_case.files[1].read_bytes()
    assert whole[20:].startswith(path.read_bytes()[20:])  # behind the header's counter
    back = dc.load(model_case.files[0], path)
    result = graft(model, back)
    assert result.fresh == ()
    assert result.unused == ()
    for key, array in model.arrays.items():
        np.testing.assert_array_equal(result.model.arrays[key], array)


def test_the_average_of_a_model_with_itself_is_the_model(model_case):
    mean = average([model_case.model] * 3)
    for key, array in model_case.model.arrays.items():
        np.testing.assert_array_equal(mean.arrays[key].view(np.uint32), array.view(np.uint32))


def test_trained_arrays_are_finite(model_case):
    rows = statistics(model_case.model)
    assert [row.key for row in rows] == list(model_case.model.arrays)
    assert not sum(row.non_finite for row in rows)
