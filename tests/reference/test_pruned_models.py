"""The real models, pruned by their profiles: the masked original's numbers, and OpenCV 4's.

OpenCV divides by its own epsilon, 1e-6 where Darknet has 1e-5, so its numbers are Darknet's only
where batch norm is folded.
"""

import numpy as np
import pytest

import darkconv as dc
from darkconv.pictures.picture import PictureFit, read_picture
from darkconv.surgery.folding import fold_batchnorm
from masking import assert_pruned_equals_masked, outputs
from reference.collection import LAYER_TOLERANCE, assert_small_error, relative_error

PHOTOGRAPHS = 6


class PrunedModel:
    """A model, some photographs, and what is left of it at 3 of 4 channels."""

    def __init__(self, folder, paths):
        self.model = dc.load(folder / f"{folder.name}.cfg", folder / f"{folder.name}.weights")
        shape = self.model.network.input_shape
        found = [read_picture(path, exact=True) for path in paths]
        x = [PictureFit(p.shape[1::-1], (shape.w, shape.h), False).apply(p) for p in found]
        self.x = np.stack(x)
        self.plan = dc.plan(
            self.model, dc.profile(self.model, paths), keep=0.75, skip_first=0, multiple=1
        )


@pytest.fixture(scope="module")
def model_case(request, data_dir):
    paths = sorted((data_dir / "indoor85" / "images").glob("*.jpg"))[:PHOTOGRAPHS]
    if not paths:
        pytest.skip(f"no photographs in {data_dir / 'indoor85'}")
    return PrunedModel(request.param, paths)


@pytest.mark.parametrize("compensate", [False, True])
def test_pruned_models_give_what_the_masked_originals_give(model_case, compensate):
    model, plan = model_case.model, model_case.plan
    assert len(plan.keep) > len(model.network.layers) // 2
    pruned = dc.prune(model, plan, compensate=compensate)
    means = plan.means if compensate else None
    assert_pruned_equals_masked(
        model, pruned, plan.keep, model_case.x[:2], means, close=assert_small_error
    )


def test_opencv_reads_the_files_with_the_same_outputs(model_case, tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("this OpenCV has no Darknet reader")
    pruned = dc.prune(model_case.model, model_case.plan)
    dc.save(pruned, tmp_path / "p.cfg", tmp_path / "p.weights")
    assert not cv2.dnn.readNetFromDarknet(
        str(tmp_path / "p.cfg"), str(tmp_path / "p.weights")
    ).empty()
    dc.save(fold_batchnorm(pruned), tmp_path / "f.cfg", tmp_path / "f.weights")
    net = cv2.dnn.readNetFromDarknet(str(tmp_path / "f.cfg"), str(tmp_path / "f.weights"))
    makers = [head.sources[0] for head in pruned.network.heads]
    for x in model_case.x[:2]:
        expected = outputs(pruned, x[None])
        net.setInput(x[None])
        found = net.forward([f"conv_{index}" for index in makers])
        for index, values in zip(makers, found, strict=True):
            assert relative_error(values, expected[index]) <= LAYER_TOLERANCE
