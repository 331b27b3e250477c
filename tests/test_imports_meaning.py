"""What PyTorch programs compute in a way of their own: weighted shortcuts, pools, classifiers."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.imports.importing import read_checkpoint
from import_files import lightnet, marvis, pytorchyolo, ultralytics, write_cfg, written
from networks import network, random_model

torch = pytest.importorskip("torch")

CONV = "[convolutional]\nfilters={}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n\n"
SUM = "[shortcut]\nfrom=-2,-3\nactivation=linear\nweights_type={}\nweights_normalization={}\n"
BELOW_ONE = (0.4, -1.5, -0.3)
ABOVE_ONE = (0.4, 1.5, -0.3)


def weighted(kind="per_feature", norm="relu", widths=(6, 4, 5)):
    body = "".join(map(CONV.format, widths)) + SUM.format(kind, norm)
    return random_model(network(body, dialect="alexeyab"))


def save(state, path):
    torch.save({name: torch.from_numpy(np.array(a)) for name, a in state.items()}, path)
    return path


def fused(model, numbers, word="w"):
    """As ultralytics/yolov3 of the archive, PyTorch_YOLOv4 and yolor save it."""
    state = {k: v for k, v in ultralytics(model).items() if not k.startswith("module_list.3.")}
    return state | {f"module_list.3.{word}": np.array(numbers, np.float32)}


def as_the_program_adds(maps, numbers):
    """Its rule: a sigmoid times 2/n for each source; surplus channels are left out."""
    factors = 2 / len(numbers) / (1 + np.exp(-np.array(numbers, np.float64)))
    out = maps[0] * factors[0]
    for source, factor in zip(maps[1:], factors[1:], strict=True):
        common = min(len(out), len(source))
        out[:common] += source[:common] * factor
    return out


@pytest.mark.parametrize("kind", ["per_feature", "per_layer", "per_channel"])
@pytest.mark.parametrize("norm", ["relu", "softmax"])
@pytest.mark.parametrize("numbers", [BELOW_ONE, (0, 0, 0), (-9, -9, -9), (1, -1, 0)])
@pytest.mark.parametrize("word", ["w", "WeightedFeatureFusion.w"])
def test_weighted_shortcuts_add_as_the_program_does(kind, norm, numbers, word, tmp_path):
    model = weighted(kind, norm)
    path = save(fused(model, numbers, word), tmp_path / "net.pt")
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path)
    (note,) = [note for note in done.notes if "by sigmoids" in note]
    assert ("as the cfg says now" in note) == (norm == "softmax")
    assert done.model.network.layers[3].spec.normalization == "relu"
    assert "4 layers computed once more" in done.proof[0]
    assert not done.doubts
    assert done.model.arrays["3.weights"].shape == model.arrays["3.weights"].shape
    dc.save(done.model, tmp_path / "out.cfg", tmp_path / "out.weights")
    back = dc.load(tmp_path / "out.cfg", tmp_path / "out.weights", dialect="alexeyab")
    x = np.random.default_rng(0).random(tuple(back.network.input_shape), np.float32)
    for backend in ("torch", "onnx", "keras"):
        values = dc.trace(back, x, backend=backend)
        expected = as_the_program_adds([values[2], values[1], values[0]], numbers)
        np.testing.assert_allclose(values[3], expected, rtol=1e-5, atol=1e-6)


def test_a_rule_of_another_program_would_be_doubted(tmp_path, monkeypatch):
    model = weighted()
    path = save(fused(model, BELOW_ONE), tmp_path / "net.pt")
    wrong = np.array([0.3, 0.2, 0.1])
    monkeypatch.setattr("darkconv.imports.ratios.program_factors", lambda *_: wrong)
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path)
    assert any("other values" in doubt for doubt in done.doubts)


def test_factors_that_darknets_normalisation_cannot_make_are_refused(tmp_path):
    model = weighted()
    path = save(fused(model, ABOVE_ONE), tmp_path / "net.pt")
    with pytest.raises(dc.WeightsError) as error:
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)
    text = str(error.value)
    assert "layer 3 [shortcut] cannot be Darknet's" in text
    assert "module_list.3.w" in text
    assert "expected a sum of at most 1, found 1.22" in text


def test_a_cfg_that_does_not_weight_what_the_file_does_is_refused(tmp_path):
    model = weighted("none", "none")
    path = save(fused(model, BELOW_ONE), tmp_path / "net.pt")
    with pytest.raises(dc.WeightsError) as error:
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path, dialect="alexeyab")
    assert "module_list.3.w weights the sources of layer 3 [shortcut]" in str(error.value)
    assert "weights_type=per_feature" in error.value.hint


@pytest.mark.parametrize("numbers", [(0.1, 0.2), [[0.1] * 3] * 6, (0.1,) * 4])
def test_another_number_of_sources_is_refused_with_both_shapes(numbers, tmp_path):
    model = weighted()
    path = save(fused(model, numbers), tmp_path / "net.pt")
    with pytest.raises(dc.WeightsError, match=r"weights: expected 3, one number for each source"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


def test_a_weighted_shortcut_whose_numbers_the_file_lacks_is_refused(tmp_path):
    model = weighted()
    state = {k: v for k, v in fused(model, BELOW_ONE).items() if not k.endswith(".w")}
    path = save(state, tmp_path / "net.pt")
    with pytest.raises(dc.WeightsError, match=r"missing: layer 3 \[shortcut\]"):
        dc.import_weights(write_cfg(model, tmp_path / "net.cfg"), path)


ODD = CONV.format(4) + "[maxpool]\nsize=2\nstride=2\n\n" + CONV.format(4)


@pytest.mark.parametrize(
    ("naming", "size", "said"),
    [
        (ultralytics, 9, "pool of layer 1 makes 4x3 of 9x7, and the cfg's makes 5x4"),
        (pytorchyolo, 9, "pool of layer 1 makes 4x3 of 9x7, and the cfg's makes 5x4"),
        (ultralytics, 8, ""),
        (marvis, 9, "pool of layer 1 makes 4x3 of 9x7, and the cfg's makes 5x4"),
        (written, 9, ""),
    ],
)
def test_pools_of_maps_of_odd_size_are_told(naming, size, said, tmp_path):
    model = random_model(network(ODD, shape=(3, size - 2, size), dialect="alexeyab"))
    path = save(naming(model), tmp_path / "net.pth")
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path, dialect="alexeyab")
    notes = [note for note in done.notes if "pool of layer" in note]
    assert [said in note for note in notes] == [True] * bool(said)


CLASSES = CONV.format(4) + "[convolutional]\nfilters=3\nsize=1\nactivation={}\n\n[avgpool]\n"
PARTS = [("backbone.1_convbatch", 0), ("head.0", 1)]


@pytest.mark.parametrize(("activation", "is_said"), [("leaky", True), ("linear", False)])
def test_lightnets_classifiers_are_told_from_cfgs_with_an_activation(activation, is_said, tmp_path):
    model = random_model(network(CLASSES.format(activation), dialect="alexeyab"))
    path = save(lightnet(model, PARTS), tmp_path / "net.pt")
    done = read_checkpoint(write_cfg(model, tmp_path / "net.cfg"), path, dialect="alexeyab")
    said = [note for note in done.notes if "need activation=linear" in note]
    assert len(said) == is_said
    assert all("layer 1 of the cfg has leaky" in note for note in said)
