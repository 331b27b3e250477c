"""yolor: its constants, what they do to channels, its reorg, its heads, its weights files."""

import logging

import numpy as np
import pytest

import darkconv as dc
from darkconv.darknet.cfg import format_cfg
from darkconv.detection.decode import decode
from darkconv.errors import GraphError, OptionError, UnsupportedError, WeightsError
from darkconv.surgery.channels import find_classes
from darkconv.surgery.fingerprint import fingerprint
from import_files import torch_arrays
from networks import cfg_text, network, random_model
from plans import random_keep, unguarded_plan
from reference.collection import BACKENDS

CONV = "[convolutional]\nbatch_normalize=1\nfilters={n}\nsize=3\npad=1\nactivation=silu\n"
LAST = "[convolutional]\nfilters=16\nsize=1\nactivation=linear\n"
HEAD = "[yolo]\nmask={mask}\nanchors=3,4, 6,5, 9,12, 14,10\nclasses=3\nnum=4\nscale_x_y=1.05\n"
BODY = (
    "[reorg]\n"  # 12 x 8 x 8
    + CONV.format(n=8)
    + CONV.format(n=12)
    + "stride=2\n"  # 12 x 4 x 4
    + "[implicit_add]\nfilters=8\n"  # 3
    + "[implicit_add]\nfilters=12\n"
    + "[implicit_mul]\nfilters=16\n"  # 5
    + "[implicit_mul]\nfilters=16\n"
    + "[route]\nlayers=1\n"
    + CONV.format(n=8)
    + "[shift_channels]\nfrom=3\n"
    + LAST
    + "[control_channels]\nfrom=5\n"
    + HEAD.format(mask="0,1")  # 12
    + "[route]\nlayers=2\n"
    + CONV.format(n=12)
    + "[shift_channels]\nfrom=4\n"
    + LAST
    + "[control_channels]\nfrom=6\n"
    + HEAD.format(mask="2,3")
)
SHAPE = (3, 16, 16)
CONSTANTS = ("implicit_add", "implicit_mul")
NAMES = ("ant", "bee", "cat")


@pytest.fixture
def model():
    return random_model(network(BODY, SHAPE, "yolor"), names=NAMES)


def picture(seed=0):
    return np.random.default_rng(seed).random(SHAPE, np.float32)


def squashed(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def test_dialect_is_seen_and_the_text_kept(tmp_path, caplog, model):
    (tmp_path / "a.cfg").write_text(cfg_text(BODY, SHAPE))
    dc.save(model, tmp_path / "b.cfg", tmp_path / "b.weights")
    back = dc.load(tmp_path / "b.cfg", tmp_path / "b.weights")
    assert back.dialect.name == dc.load(tmp_path / "a.cfg").dialect.name == "yolor"
    assert (tmp_path / "b.cfg").read_bytes() == (tmp_path / "a.cfg").read_bytes()
    assert all((back.arrays[key] == array).all() for key, array in model.arrays.items())
    assert "[yolo] scale_x_y: is 2 in every [yolo] of the yolor dialect: ignored" in caplog.text


def test_reorg_goes_down_the_columns_of_each_block():
    net = network("[reorg]\n", (2, 2, 4), "yolor")
    x = np.arange(16, dtype=np.float32).reshape(2, 2, 4)
    for backend in BACKENDS:
        (found,) = dc.trace(random_model(net), x, backend=backend)
        expected = [[0, 2], [8, 10], [4, 6], [12, 14], [1, 3], [9, 11], [5, 7], [13, 15]]
        assert found.reshape(8, 2).tolist() == expected
    assert net.layers[0].spec.source_index(net.input_shape).tolist() == np.ravel(expected).tolist()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("stride=4\n", "stride: is 2 in every [reorg] of the yolor dialect: ignored"),
        ("stride=2\n", None),
        ("reverse=1\n", "reverse: not read in the yolor dialect, ignored"),
    ],
)
def test_reorg_is_by_two_whatever_the_cfg_says(caplog, options, said):
    net = network("[reorg]\n" + options, (3, 8, 8), "yolor")
    assert net.shapes == ((12, 4, 4),)
    assert said in caplog.text if said else not caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_constants_act_on_their_channels(model, backend):
    values = dc.trace(model, picture(), backend=backend)
    constants = {i: model.arrays[f"{i}.weights"].reshape(-1, 1, 1) for i in (3, 4, 5, 6)}
    for i, constant in constants.items():
        np.testing.assert_array_equal(values[i], constant)
    for i, before in ((9, 8), (15, 14)):
        constant = constants[3 if i == 9 else 4]
        np.testing.assert_allclose(values[i], values[before] + constant, rtol=1e-6, atol=1e-6)
    for i, before in ((11, 10), (17, 16)):
        constant = constants[5 if i == 11 else 6]
        np.testing.assert_allclose(values[i], values[before] * constant, rtol=1e-6, atol=1e-6)


def test_boxes_are_yolors(model):
    """Centre (2 s - 0.5 + cell) strides, size (2 s)^2 anchors, in pixels; all scores sigmoids."""
    values = dc.trace(model, picture())
    found = decode(model.network, [values[12], values[18]], threshold=0)
    expected = [
        yolor_boxes(values[11], [(3, 4), (6, 5)], 2),
        yolor_boxes(values[17], [(9, 12), (14, 10)], 4),
    ]
    boxes, scores = (np.concatenate(parts) for parts in zip(*expected, strict=True))
    np.testing.assert_allclose(found.boxes * 16, boxes, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-6)


def yolor_boxes(x, anchors, stride):
    _, rows, columns = x.shape
    entries = squashed(x).reshape(2, 8, rows, columns).transpose(2, 3, 0, 1)
    y, x = np.mgrid[:rows, :columns]
    cells = np.stack([x, y], 2)[:, :, None]
    centres = (2 * entries[..., :2] - 0.5 + cells) * stride
    sizes = (2 * entries[..., 2:4]) ** 2 * np.array(anchors)
    boxes = np.concatenate([centres, sizes], 3).reshape(-1, 4)
    return boxes, (entries[..., 4:5] * entries[..., 5:]).reshape(-1, 3)


def test_batch_norm_adds_a_ten_thousandth():
    body = "[convolutional]\nbatch_normalize=1\nactivation=linear\n"
    model = random_model(network(body, (1, 2, 2), "yolor"))
    small = {"0.rolling_variance": [3e-4], "0.scales": [2.0], "0.weights": np.ones((1, 1, 1, 1))}
    rest = {"0.biases": [0.0], "0.rolling_mean": [0.0]}
    model = dc.replace_arrays(model, {**small, **rest})
    for backend in BACKENDS:
        (found,) = dc.trace(model, np.ones((1, 2, 2), np.float32), backend=backend)
        np.testing.assert_allclose(found, 100, rtol=1e-5)


def test_channels_are_pruned_with_their_constants(model, tmp_path):
    pruned = dc.prune(model, unguarded_plan(model, score="l1", keep=0.5))
    counts = {i: pruned.network.layers[i].out_shape.c for i in (3, 4, 5, 6, 8, 9, 14, 15)}
    assert counts[3] == counts[8] == counts[9] < 8
    assert counts[4] == counts[14] == counts[15] < 12
    assert counts[5] == counts[6] == 16  # a head reads these
    assert f"[implicit_add]\nfilters={counts[3]}\n" in format_cfg(pruned.network.config)
    dc.save(pruned, tmp_path / "a.cfg", tmp_path / "a.weights")
    back = dc.load(tmp_path / "a.cfg", tmp_path / "a.weights")
    for backend in BACKENDS:
        found = dc.trace(back, picture(), backend=backend)[-1]
        np.testing.assert_allclose(found, dc.trace(pruned, picture())[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_pruned_networks_give_what_the_masked_original_gives(model, seed):
    """All four sections, each with channels that go."""
    pytest.importorskip("torch")
    from masking import assert_pruned_equals_masked

    keep = random_keep(find_classes(model.network), np.random.default_rng(seed), share=0.7)
    lost = {i for i in keep if len(keep[i]) < model.network.layers[i].out_shape.c}
    assert lost >= {3, 4}
    pruned = dc.prune(model, dc.PrunePlan(fingerprint(model), keep), compensate=False)
    assert_pruned_equals_masked(model, pruned, keep, picture()[None])


def test_factors_are_pruned_where_no_head_reads_them():
    pytest.importorskip("torch")
    from masking import assert_pruned_equals_masked

    body = CONV.format(n=6) + "[implicit_mul]\nfilters=12\n[route]\nlayers=0\n"
    body += CONV.format(n=12)
    body += "[control_channels]\nfrom=1\n[implicit_add]\nfilters=12\n[route]\nlayers=4\n"
    body += "[shift_channels]\nfrom=5\n" + LAST
    model = random_model(network(body, SHAPE, "yolor"))
    keep = random_keep(find_classes(model.network), np.random.default_rng(0), share=0.7)
    pruned = dc.prune(model, dc.PrunePlan(fingerprint(model), keep), compensate=False)
    counts = {i: pruned.network.layers[i].out_shape.c for i in (1, 3, 4, 5, 7)}
    assert len(set(counts.values())) == 1
    assert counts[1] < 12
    assert_pruned_equals_masked(model, pruned, keep, picture()[None])


def test_classes_are_sliced_with_the_factors_of_their_rows(model):
    small = dc.reclass(model, keep=["cat", "ant"])
    assert [small.network.layers[i].out_shape.c for i in (5, 6, 11, 17)] == [14] * 4
    rows = [0, 1, 2, 3, 4, 7, 5, 8, 9, 10, 11, 12, 15, 13]
    np.testing.assert_array_equal(small.arrays["5.weights"], model.arrays["5.weights"][rows])
    whole, part = dc.trace(model, picture()), dc.trace(small, picture())
    for i in (12, 18):
        np.testing.assert_allclose(part[i], whole[i][rows], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("init", ["mean", "random", "like:bee"])
def test_merged_and_new_classes_follow_what_reaches_the_head(model, init):
    """Rows as the factors leave them are merged and copied."""
    made = dc.reclass(model, keep=["pet=cat+ant", "bee"], add=["new"], init=init)
    assert made.names == ("pet", "bee", "new")
    whole, found = dc.trace(model, picture()), dc.trace(made, picture())
    for i in (11, 17):
        old, new = (v[i].reshape(2, 8, *v[i].shape[1:]) for v in (whole, found))
        np.testing.assert_allclose(new[:, :5], old[:, :5], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(new[:, 5], (old[:, 5] + old[:, 7]) / 2, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(new[:, 6], old[:, 6], rtol=1e-5, atol=1e-6)
        wanted = {"mean": old[:, 5:].mean(1), "like:bee": old[:, 6]}
        if init in wanted:
            np.testing.assert_allclose(new[:, 7], wanted[init], rtol=1e-4, atol=1e-5)


def without_constants(model, path):
    """As yolor writes it: the arrays of convolutions alone."""
    arrays = [
        model.arrays[key].tobytes()
        for key, layer, _ in model.network.keyed_slots()
        if layer.type not in CONSTANTS
    ]
    path.write_bytes(np.array([0, 2, 5, 0, 0], "<i4").tobytes() + b"".join(arrays))


def test_yolors_own_weights_lack_the_constants(model, tmp_path, caplog):
    (tmp_path / "a.cfg").write_text(cfg_text(BODY, SHAPE))
    without_constants(model, tmp_path / "a.weights")
    back = dc.load(tmp_path / "a.cfg", tmp_path / "a.weights")
    assert "lacks the arrays of its [implicit_add] and [implicit_mul] layers" in caplog.text
    assert back.initial_layers == (3, 4, 5, 6)
    for key, layer, _ in model.network.keyed_slots():
        if layer.type in CONSTANTS:
            assert (back.arrays[key] == (layer.type == "implicit_mul")).all()
        else:
            np.testing.assert_array_equal(back.arrays[key], model.arrays[key])
    dc.save(back, tmp_path / "b.cfg", tmp_path / "b.weights")
    caplog.clear()
    assert dc.load(tmp_path / "b.cfg", tmp_path / "b.weights").initial_layers == ()
    assert "lacks" not in caplog.text


def test_file_of_neither_size_is_refused(model, tmp_path):
    (tmp_path / "a.cfg").write_text(cfg_text(BODY, SHAPE))
    without_constants(model, tmp_path / "a.weights")
    (tmp_path / "a.weights").write_bytes((tmp_path / "a.weights").read_bytes()[:-4])
    with pytest.raises(WeightsError, match="ends in layer"):
        dc.load(tmp_path / "a.cfg", tmp_path / "a.weights")


def test_constants_begin_as_yolor_draws_them():
    net = network("[implicit_add]\nfilters=4000\n[implicit_mul]\nfilters=4000\n", SHAPE, "yolor")
    for layer, mean in zip(net.layers, (0, 1), strict=True):
        (slot,) = layer.slots
        assert slot.initial == (mean, 0.02, "normal")


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (CONV.format(n=4) + "[implicit_add]\nfilters=4\n[route]\nlayers=0\n[shift_channels]\n"
         "from=5\n", GraphError, "expected an earlier layer, 0 to 2 or -1 to -3, found 5"),
        (CONV.format(n=4) + "[implicit_mul]\nfilters=3\n[route]\nlayers=0\n"
         "[control_channels]\nfrom=1\n",
         GraphError, r"expected a layer of 4x1x1 or 4x16x16, .*, found 3x1x1"),
        ("[shift_channels]\nfrom=0\n", GraphError, "cannot be the first layer"),
        (CONV.format(n=4) + "[control_channels]\n", OptionError, "from: is missing"),
        ("[implicit_add]\n", OptionError, "filters: is missing"),
        (CONV.format(n=4) * 2 + "[shortcut]\nfrom=0\nweights_type=per_feature\n", OptionError,
         "yolor weights sources by another rule"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(body, error, text):
    with pytest.raises(error, match=text):
        network(body, SHAPE, "yolor")


def test_other_dialects_do_not_have_the_sections():
    for dialect in ("pjreddie", "alexeyab"):
        with pytest.raises(dc.DarkconvError, match="exists only in the yolor dialect"):
            network("[implicit_add]\nfilters=3\n", SHAPE, dialect)


class TestTraining:
    """Its heads in the losses of both frameworks."""

    @pytest.fixture(autouse=True)
    def _torch(self, caplog):
        pytest.importorskip("torch")
        caplog.set_level(logging.CRITICAL, "darkconv")

    @pytest.mark.parametrize("kind", ["mse", "ciou", "giou"])
    def test_derivative_is_that_of_the_number(self, kind):
        import torch

        from yolo_heads import loss, values

        spec = yolor_head(kind)
        x = (values(spec) * 0.7).requires_grad_()
        check = torch.autograd.gradcheck
        assert check(lambda x: loss(spec, x).total, x, atol=1e-6, fast_mode=True)

    @pytest.mark.parametrize("kind", ["mse", "ciou"])
    def test_keras_costs_what_torch_costs(self, kind):
        pytest.importorskip("keras")
        from test_keras_loss import TRUTHS, assert_same, layer_of
        from yolo_heads import values

        spec = yolor_head(kind)
        assert_same(layer_of(spec), values(spec, images=3).numpy(), TRUTHS)

    @pytest.mark.parametrize("kind", ["mse", "ciou"])
    def test_truths_can_be_learned(self, kind):
        import torch

        from darkconv.backends.torch.head import build_yolo
        from darkconv.backends.torch.losses.overlap import iou
        from test_loss_fitting import FIT, fit
        from yolo_heads import INPUT, TRUTHS, rows

        text = FIT.format(section="yolo", options=f"iou_loss={kind}\n", filters=24)
        net = network(text, (3, *INPUT[::-1]), "yolor")
        x = fit(net.layers[-1], rows().float())
        output = build_yolo(net.layers[-1], net)(x)
        found = decode(net, [output[0].numpy()], threshold=0.3)
        for number, *box in TRUTHS:
            overlaps = iou(torch.from_numpy(found.boxes), torch.tensor(box))
            assert overlaps.max() > 0.5
            assert found.scores[overlaps.argmax()].argmax() == number

    def test_rule_of_the_c_programs_is_refused(self):
        from yolo_heads import loss, values

        spec = yolor_head("mse")
        with pytest.raises(UnsupportedError, match="no C program has a head as of the yolor"):
            loss(spec, values(spec), rule="darknet")


def yolor_head(kind):
    """As `yolo_heads` makes heads, of yolor's form."""
    from darkconv.core.dialect import YOLOR
    from yolo_heads import head

    return head(YOLOR, iou_loss=kind, new_coords=True, scale_x_y=2.0)


def as_yolor_saves(model):
    """The names and shapes of its checkpoints."""
    state = {}
    for layer in model.network.layers:
        own = {
            slot.name: np.array(model.arrays[f"{layer.index}.{slot.name}"]) for slot in layer.slots
        }
        path = f"module.module_list.{layer.index}"
        if layer.type in CONSTANTS:
            state[f"{path}.implicit"] = own["weights"].reshape(1, -1, 1, 1)
        elif own:
            state |= torch_arrays(own, f"{path}.Conv2d", f"{path}.BatchNorm2d")
    return state


def test_checkpoint_of_yolor_is_imported_bit_for_bit(model, tmp_path, caplog):
    torch = pytest.importorskip("torch")
    (tmp_path / "a.cfg").write_text(cfg_text(BODY, SHAPE))
    state = {name: torch.from_numpy(np.array(v)) for name, v in as_yolor_saves(model).items()}
    torch.save({"epoch": -1, "model": state, "optimizer": None}, tmp_path / "yolor.pt")
    found = dc.import_weights(tmp_path / "a.cfg", tmp_path / "yolor.pt")
    assert found.initial_layers == ()
    for key, array in model.arrays.items():
        assert found.arrays[key].tobytes() == array.tobytes(), key
    assert "new_coords" not in caplog.text
    assert "bn-epsilon" not in caplog.text
    assert "reorg3d" not in caplog.text


def test_sizes_and_views_in_training_are_those_of_alexeyabs_program():
    pytest.importorskip("torch")
    from darkconv.augmentation.augment import Augmentation
    from darkconv.training.multiscale import possible_sizes

    body = "[maxpool]\nstride=2\n" + LAST + HEAD.format(mask="0,1") + "random=1\n"
    yolor, alexeyab = (network(body, (3, 64, 64), name) for name in ("yolor", "alexeyab"))
    assert possible_sizes(yolor) == possible_sizes(alexeyab) != ()
    assert Augmentation.of(yolor) == Augmentation.of(alexeyab)
    assert (yolor.options.letterboxes, alexeyab.options.letterboxes) == (True, False)
