"""dc.verify: layers, own files and what cannot be compared, from Python."""

import json

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_pictures, load_digits10
from darkconv.verification import outputs
from darkconv.verification.verify import NOT_COMPARED
from networks import network, random_model

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

RNN = "[rnn]\nhidden=4\noutput=3\nactivation=leaky\n[softmax]\n"


@pytest.fixture(scope="module")
def model():
    return load_digits10()


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "net.onnx"
    dc.export(model, path, head="boxes", dynamic="batch,size")
    return path


def test_every_layer_is_compared(model, tmp_path):
    found = dc.verify(model)
    assert found.ok
    assert len(found.rows) == len(model.network.layers)
    assert found.compared == sum(layer.out_shape.size for layer in model.network.layers)
    assert json.loads(json.dumps(found.to_dict()))["ok"] is True
    assert repr(found).startswith("<Verification: PyTorch and ONNX agree; ")
    assert "<table>" in found._repr_html_()
    found.report(tmp_path / "page.html")
    assert "agree on all" in (tmp_path / "page.html").read_text()


def test_a_file_is_compared_with_the_model(model, file, tmp_path):
    found = dc.verify(model, file)
    assert found.ok
    assert found.compared > 0
    assert [row.name for row in found.rows] == ["boxes", "scores"]
    assert found.given.startswith("seeded noise and 3 bundled pictures")
    found.report(tmp_path / "page.html")
    assert "net.onnx gives what" in (tmp_path / "page.html").read_text()


def test_pictures_are_given_in_any_form(model, file):
    paths = digits10_pictures()[:2]
    assert dc.verify(model, file, image=paths[0]).given.startswith(f"the picture {paths[0].name}")
    assert dc.verify(model, image=paths).given.startswith("2 pictures at")
    levels = np.zeros((20, 30, 3), np.uint8)
    assert dc.verify(model, image=levels).given.startswith("a picture at")


def test_the_size_may_be_another_where_it_is_free(model, file):
    found = dc.verify(model, file, input_size=(64, 96))
    assert found.ok
    assert "3x96x64" in found.given


def test_another_model_disagrees(model, file):
    key = list(model.arrays)[-1]
    other = dc.replace_arrays(model, {key: model.arrays[key] + 1})
    found = dc.verify(other, file)
    assert not found.ok
    assert "DISAGREE" in repr(found)


def test_a_model_of_nan_agrees_with_nothing(model):
    key = next(iter(model.arrays))
    broken = dc.replace_arrays(model, {key: np.full_like(model.arrays[key], np.nan)})
    found = dc.verify(broken)
    assert not found.ok
    assert found.to_dict()["rows"][0]["error"] is None


def test_a_network_with_state_takes_one_input():
    model = random_model(network(RNN, (1, 2, 2)))
    assert dc.verify(model).ok
    with pytest.raises(dc.DarkconvError, match="batch: expected one"):
        dc.verify(model, batch=2)


@pytest.mark.parametrize("head", ["raw", "logits", "boxes", "nms"])
def test_inputs_run_together_and_are_compared_one_by_one(model, tmp_path, monkeypatch, head):
    path = tmp_path / "net.onnx"
    dc.export(model, path, head=head)
    shapes = []

    def noted(model, x, **options):
        shapes.append(x.shape)
        return dc.trace(model, x, **options)

    monkeypatch.setattr(outputs, "trace", noted)
    one, many = dc.verify(model, path), dc.verify(model, path, batch=6)
    assert shapes == [*[(1, 3, 160, 160)] * 4, (6, 3, 160, 160)]
    assert one.ok
    assert many.ok
    assert many.compared > one.compared
    assert many.given.startswith("seeded noise and 3 bundled pictures")


def test_a_batch_that_no_memory_holds_is_refused(model, file):
    for name in (None, file):
        with pytest.raises(dc.DarkconvError, match="all layers of 1000000000000 inputs"):
            dc.verify(model, name, batch=10**12)


def test_layers_run_together_and_are_compared_one_by_one(model):
    one, many = dc.verify(model), dc.verify(model, batch=2)
    assert many.ok
    assert many.compared == 2 * one.compared
    assert many.given.startswith("2 inputs of seeded noise at")


@pytest.mark.parametrize("suffix", NOT_COMPARED)
def test_files_whose_outputs_are_not_compared_are_errors(model, tmp_path, suffix):
    with pytest.raises(dc.DarkconvError, match="cannot be compared"):
        dc.verify(model, tmp_path / f"net{suffix}")


def test_a_file_says_itself_what_runs_it(model, file):
    with pytest.raises(dc.DarkconvError, match="backend is about layers"):
        dc.verify(model, file, backend="onnx")


@pytest.mark.parametrize(
    "options",
    [{"backend": "torch"}, {"device": "nowhere"}, {"input_size": 3}, {"image": 3}, {"batch": 0}],
)
def test_a_wrong_option_is_an_error(model, options):
    with pytest.raises(dc.DarkconvError):
        dc.verify(model, **options)
    with pytest.raises(TypeError):
        dc.verify(model, no_such_option=True)
