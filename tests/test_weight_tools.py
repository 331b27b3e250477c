"""Darknet's weight tools: folding, averaging, cutting, grafting, swapping colours, comparing."""

from dataclasses import replace
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import darkconv as dc
from darkconv.core.model import Header, InitialArrays
from darkconv.darknet.cfg import format_cfg
from darkconv.errors import PlanError, WeightsError
from darkconv.surgery.averaging import average
from darkconv.surgery.backbone import find_backbone, partial, plan_backbone, write_partial
from darkconv.surgery.colours import swap_rgb
from darkconv.surgery.compare import difference, statistics
from darkconv.surgery.folding import fold_batchnorm, plan_folding
from darkconv.surgery.graft import graft
from networks import cfg_text, initial_model, network, random_model
from reference.collection import Case, assert_close

MICRO = sorted((Path(__file__).parent / "data" / "micro").iterdir())
NORMALIZED = [f for f in MICRO if "batch_normalize=1" in (f / "net.cfg").read_text()]
CFGS = Path(__file__).resolve().parents[1] / "cfgs"
NORMED = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
PLAIN = "[convolutional]\nfilters={n}\nactivation=linear\n"
YOLO = "[yolo]\nnum=1\nclasses={classes}\n"
ROUNDING = 1e-5  # relative, of a layer: float32 sums in another order, few layers deep


def run(model, shape=(3, 8, 8), seed=3):
    values = np.random.default_rng(seed).normal(size=shape)
    return dc.trace(model, values.astype(np.float32))


def text(model):
    return format_cfg(model.network.config)


def changed_lines(before, after):
    pairs = zip(text(before).splitlines(), text(after).splitlines(), strict=True)
    return [(a, b) for a, b in pairs if a != b]


def assert_same_arrays(found, expected):
    assert list(found.arrays) == list(expected.arrays)
    for key, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[key].view(np.uint32), array.view(np.uint32))


def assert_layers_agree(found, expected):
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        error = np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)
        assert error <= ROUNDING, f"layer {index} is off by {error:.1e}"


# Folding


CONNECTED = "[connected]\noutput=5\nbatch_normalize=1\nactivation=tanh\n"
FOLDABLE = {
    "pjreddie": (NORMED.format(n=4) * 2, "pjreddie"),
    "alexeyab": (NORMED.format(n=4) * 2, "alexeyab"),
    "grouped": (NORMED.format(n=4) + NORMED.format(n=6) + "groups=2\nstride=2\n", "alexeyab"),
    "flipped": (NORMED.format(n=4) + "flipped=1\n", "pjreddie"),
    "cbn": (NORMED.format(n=4).replace("batch_normalize", "cbn"), "alexeyab"),
    "antialiasing": (NORMED.format(n=4) + "antialiasing=1\nstride=2\n", "alexeyab"),
    "xnor": (NORMED.format(n=4) + "xnor=1\n", "alexeyab"),
    "deconvolutional": (
        "[deconvolutional]\nfilters=4\nsize=2\nstride=2\nbatch_normalize=1\nactivation=relu\n",
        "pjreddie",
    ),
    "connected": (CONNECTED * 2, "pjreddie"),
    "connected-alexeyab": (CONNECTED * 2, "alexeyab"),
    "shared": (NORMED.format(n=3) + NORMED.format(n=3) + "share_index=0\nstride=2\n", "alexeyab"),
}


@pytest.mark.parametrize("kind", FOLDABLE)
def test_folding_changes_no_layer(kind):
    pytest.importorskip("torch")
    body, dialect = FOLDABLE[kind]
    model = random_model(network(body, dialect=dialect))
    folded = fold_batchnorm(model)
    assert not any("rolling" in key for key in folded.arrays)
    assert_layers_agree(run(folded), run(model))


@pytest.mark.parametrize("folder", NORMALIZED, ids=lambda folder: folder.name)
def test_folded_networks_have_the_numbers_of_c(folder, tmp_path):
    pytest.importorskip("torch")
    case = Case(folder, folder / "net.weights")
    folded = fold_batchnorm(case.model)
    dc.save(folded, tmp_path / "f.cfg", tmp_path / "f.weights")
    back = dc.load(tmp_path / "f.cfg", tmp_path / "f.weights", dialect=folded.dialect.name)
    assert_same_arrays(back, folded)
    steps = range(case.layout.get("steps", 1))
    inputs = [case.expected[f"input_step{k}" if k else "input"] for k in steps]
    for step, layers in enumerate(dc.trace(folded, inputs)):
        for index, found in enumerate(layers):
            name = f"layer_{index:03d}" + (f"_step{step}" if step else "")
            assert_close(found, case.expected[name], name)


@settings(max_examples=25)
@given(
    st.sampled_from(["pjreddie", "alexeyab"]),
    st.integers(0, 2**32 - 1),
    st.integers(-14, 0),
    st.booleans(),
)
def test_folding_is_exact_for_any_variance(dialect, seed, least, has_zeros):
    pytest.importorskip("torch")
    body = NORMED.format(n=6) + NORMED.format(n=5).replace("leaky", "linear")
    model = random_model(network(body, dialect=dialect), seed=seed)
    stream = np.random.default_rng(seed)
    tiny = {}
    for key in ("0.rolling_variance", "1.rolling_variance"):
        tiny[key] = 10.0 ** stream.uniform(least, 1, model.arrays[key].shape)
        tiny[key][:1] *= not has_zeros
    model = dc.replace_arrays(model, tiny)
    assert_layers_agree(run(fold_batchnorm(model)), run(model))


def test_only_the_batch_norm_lines_of_the_cfg_change():
    body = NORMED.format(n=4).replace("batch_normalize=1", "batch_normalize = 1  # on") + "\n"
    model = random_model(network(body + PLAIN.format(n=2)))
    folded = fold_batchnorm(model)
    assert changed_lines(model, folded) == [
        ("batch_normalize = 1  # on", "batch_normalize = 0  # on")
    ]
    assert text(model) == cfg_text(body + PLAIN.format(n=2))


def test_folding_a_folded_model_changes_nothing():
    folded = fold_batchnorm(random_model(network(NORMED.format(n=4))))
    assert fold_batchnorm(folded) is folded


def test_folded_arrays_are_stored_whatever_the_cfg_said(tmp_path):
    body = (
        NORMED.format(n=4) + "dontload=1\ndontloadscales=1\n" + NORMED.format(n=4) + "numload=2\n"
    )
    model = random_model(network(body, dialect="pjreddie"))
    folded = fold_batchnorm(model)
    assert [new for _, new in changed_lines(model, folded)] == [
        "batch_normalize=0", "dontload=0", "dontloadscales=0", "batch_normalize=0", "numload=0",
    ]  # fmt: skip
    dc.save(folded, tmp_path / "a.cfg", tmp_path / "a.weights")
    back = dc.load(tmp_path / "a.cfg", tmp_path / "a.weights", dialect="pjreddie")
    assert_same_arrays(back, folded)


def test_shared_arrays_are_folded_once():
    folded = fold_batchnorm(random_model(network(*FOLDABLE["shared"][:1])))
    assert list(folded.arrays) == ["0.biases", "0.weights"]
    assert [layer.spec.batch_normalize for layer in folded.network.layers] == [False, False]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[batchnorm]\n", "it stands alone"),
        ("[rnn]\noutput=4\nbatch_normalize=1\n", "inside a recurrent layer"),
        (NORMED.format(n=4) + "xnor=1\n", "xnor takes the signs of the weights before"),
    ],
    ids=["batchnorm", "rnn", "xnor"],
)
def test_what_cannot_be_folded_is_left_and_named(body, reason):
    net = network(NORMED.format(n=3) + body, dialect="pjreddie")
    model = random_model(net)
    plan = plan_folding(net)
    assert plan.folded == (0,)
    assert list(plan.left) == [1]
    assert plan.left[1].startswith(reason)
    folded = fold_batchnorm(model)
    kept = [key for key in model.arrays if key.startswith("1.")]
    assert all(folded.arrays[key] is model.arrays[key] for key in kept)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("0.rolling_variance", -1.0, "found -1\n"),
        ("0.weights", np.nan, "found values in its weights that are not finite"),
    ],
)
def test_values_that_would_not_be_finite_are_refused(key, value, found):
    model = random_model(network(NORMED.format(n=2)))
    broken = np.full(model.arrays[key].shape, value)
    with pytest.raises(WeightsError) as caught:
        fold_batchnorm(dc.replace_arrays(model, {key: broken}))
    assert found in str(caught.value)
    assert caught.value.where.layer == 0


# Averaging


BODY = NORMED.format(n=4) + PLAIN.format(n=7) + YOLO.format(classes=2)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_average_of_equal_models_is_the_model(count):
    model = random_model(network(BODY))
    odd = model.arrays["1.biases"].copy()
    odd[:4] = -0.0, np.inf, np.nan, 1e-45
    model = dc.replace_arrays(model, {"1.biases": odd})
    assert_same_arrays(average([model] * count), model)


def test_the_average_is_the_mean_and_has_seen_the_most():
    models = [random_model(network(BODY), seed=seed) for seed in range(3)]
    headers = [Header(0, 2, 5, seen) for seen in (5, 900, 7)]
    models = [replace(m, header=header) for m, header in zip(models, headers, strict=True)]
    mean = average(models)
    assert mean.header.seen == 900
    for key, array in mean.arrays.items():
        exact = np.mean([m.arrays[key].astype(np.float64) for m in models], axis=0)
        np.testing.assert_allclose(array, exact, rtol=1e-7)


def test_training_options_may_differ():
    other = network(BODY.replace("num=1", "num=1\nignore_thresh=.7"))
    average([random_model(network(BODY)), random_model(other)])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (BODY + "[dropout]\n", "number of layers: expected 3, found 4"),
        (BODY.replace("size=3\npad=1", "size=1"), "[convolutional] size: not the same network as"),
        (BODY.replace("leaky", "mish"), "activation: not the same network as test.cfg: expected"),
        (BODY.replace("filters=4", "filters=5"), "output: expected 4x8x8, found 5x8x8"),
        (BODY.replace("num=1", "num=1\nanchors=3,4"), "anchors: not the same network"),
        (NORMED.format(n=4) + "[dropout]\n" * 2, "layer 1 [dropout]: not the same network as"),
    ],
)  # fmt: skip
def test_the_first_difference_between_networks_is_named(body, message):
    with pytest.raises(PlanError) as caught:
        average([random_model(network(BODY)), random_model(network(body))])
    assert message in str(caught.value)


def test_models_without_values_are_not_averaged():
    model = random_model(network(BODY))
    with pytest.raises(PlanError, match="only initial values"):
        average([model, replace(model, initial_layers=(1,))])
    with pytest.raises(PlanError, match="no model to average"):
        average([])


# The first layers


WELL_KNOWN = {
    "darknet53": 74,
    "darknet19_448": 23,
    "yolov3": 74,
    "yolov3-spp": 74,
    "Gaussian_yolov3": 74,
    "yolov3-tiny": 15,
    "yolov4-tiny": 29,
}
CLASS_FREE = {"yolov3": 81, "yolov4": 138, "yolov4-csp": 143, "yolov2": 30, "yolov2-tiny-voc": 14}


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_the_backbone_is_the_well_known_one(name):
    assert find_backbone(dc.load(CFGS / f"{name}.cfg").network) == WELL_KNOWN[name]


@pytest.mark.parametrize("name", CLASS_FREE)
def test_the_limit_is_the_first_layer_that_knows_classes(name):
    net = dc.load(CFGS / f"{name}.cfg").network
    plan = plan_backbone(net)
    assert plan.limit == CLASS_FREE[name] == plan.maker
    assert net.layers[plan.maker].out_shape.c == net.layers[plan.head].in_shapes[0].c


def test_arrays_between_maker_and_head_are_the_heads_too():
    body = NORMED.format(n=4) + PLAIN.format(n=7) + "[batchnorm]\n[dropout]\n"
    assert plan_backbone(network(body + YOLO.format(classes=2))).maker == 1


def test_a_maker_that_borrows_arrays_counts_as_its_lender():
    body = NORMED.format(n=4) + PLAIN.format(n=7) + "[route]\nlayers=0\n" + PLAIN.format(n=7)
    assert find_backbone(network(body + "share_index=1\n" + YOLO.format(classes=2))) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (PLAIN.format(n=7), "has no head"),
        (PLAIN.format(n=7) + YOLO.format(classes=2), "no layer before it has arrays"),
    ],
)
def test_networks_without_a_backbone_are_refused(body, message):
    with pytest.raises(PlanError, match=message):
        find_backbone(network(body))


def test_the_model_of_the_first_layers_gives_their_values():
    pytest.importorskip("torch")
    model = random_model(network(BODY), names=("cat", "dog"))
    first = partial(model, 2)
    assert [layer.type for layer in first.network.layers] == ["convolutional"] * 2
    assert first.names == ()
    assert partial(model, 3).names == model.names
    for a, b in zip(run(first), run(model)[:2], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layers", [0, -1, 4])
def test_a_model_has_not_any_number_of_layers(layers):
    with pytest.raises(PlanError, match=f"expected 1 to 3, found {layers}"):
        partial(random_model(network(BODY)), layers)


def test_a_partial_file_is_what_cutoff_reads(tmp_path):
    (tmp_path / "a.cfg").write_text(cfg_text(BODY))
    model = random_model(network(BODY))
    model = replace(model, header=replace(model.header, seen=99))
    for name, cutoff in (("a.conv.1", None), ("a.part", 1)):
        write_partial(model, tmp_path / name, 1)
        back = dc.load(tmp_path / "a.cfg", tmp_path / name, cutoff=cutoff, dialect="alexeyab")
        assert back.initial_layers == (1,)
        assert back.header.seen == 0
        assert_same_arrays(partial(back, 1), partial(model, 1))


def test_initial_values_are_not_written_as_if_they_were_learned(tmp_path):
    model = replace(random_model(network(BODY)), initial_layers=(1,))
    with pytest.raises(PlanError, match="only initial values") as caught:
        write_partial(model, tmp_path / "a.conv.2", 2)
    assert caught.value.where.layer == 1
    assert not list(tmp_path.iterdir())


# Grafting


def bundled(name):
    return dc.load(CFGS / f"{name}.cfg")


def learned(model):
    """The model with values that no initialisation gives."""
    arrays = {key: np.full(a.shape, i + 1) for i, (key, a) in enumerate(model.arrays.items())}
    return replace(dc.replace_arrays(model, arrays), initial_layers=())


def tiny_detector(classes, extra=""):
    body = NORMED.format(n=4) + NORMED.format(n=6) + extra + NORMED.format(n=6)
    return network(body + PLAIN.format(n=5 + classes) + YOLO.format(classes=classes))


def test_another_class_count_keeps_all_but_the_heads():
    donor, receiver = random_model(tiny_detector(8)), initial_model(tiny_detector(3))
    result = graft(donor, replace(receiver, initial_layers=(0, 1, 2, 3)))
    assert result.taken == ((0, 0), (1, 1), (2, 2))
    assert result.fresh == result.unused == (3,)
    assert result.behind_fresh == ()
    assert result.model.initial_layers == (3,)
    assert result.model.network is receiver.network
    for key, array in result.model.arrays.items():
        origin = receiver if key[0] == "3" else donor
        np.testing.assert_array_equal(array, origin.arrays[key])


def test_an_inserted_layer_shifts_nothing():
    donor = random_model(tiny_detector(3))
    receiver = random_model(tiny_detector(3, extra=PLAIN.format(n=6)), seed=1)
    result = graft(donor, receiver)
    assert result.taken == ((0, 0), (1, 1), (2, 3), (3, 4))
    assert result.fresh == (2,)
    assert result.unused == ()
    assert result.behind_fresh == (3,)
    np.testing.assert_array_equal(result.model.arrays["4.weights"], donor.arrays["3.weights"])
    np.testing.assert_array_equal(result.model.arrays["2.weights"], receiver.arrays["2.weights"])


@settings(max_examples=30)
@given(st.lists(st.integers(1, 3), max_size=6), st.lists(st.integers(1, 3), max_size=6))
def test_matches_are_in_order_and_agree(a, b):
    donor, receiver = (
        random_model(network("".join(NORMED.format(n=n) for n in (2, *widths))), seed=seed)
        for seed, widths in enumerate((a, b))
    )
    result = graft(donor, receiver)
    assert result.taken[0] == (0, 0)
    assert all(np.diff(result.taken, axis=0).ravel() > 0)
    assert sorted([*(j for _, j in result.taken), *result.fresh]) == list(range(len(b) + 1))
    assert sorted([*(i for i, _ in result.taken), *result.unused]) == list(range(len(a) + 1))
    for i, j in result.taken:
        for name in ("weights", "rolling_mean"):
            key = f"{j}.{name}"
            np.testing.assert_array_equal(result.model.arrays[key], donor.arrays[f"{i}.{name}"])
    start = takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    same = 1 + len(list(start))
    assert result.taken[:same] == tuple((k, k) for k in range(same))
    shapes = (tuple(pairwise((2, *widths))) for widths in (a, b))
    assert len(result.taken) == 1 + longest_common(*shapes)


def longest_common(a, b):
    """Length of the longest common subsequence, by its definition."""
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + longest_common(a[1:], b[1:])
    return max(longest_common(a[1:], b), longest_common(a, b[1:]))


def test_a_classifier_gives_its_features_to_a_detector():
    result = graft(learned(bundled("darknet53")), bundled("yolov3"))
    assert [b for _, b in result.taken] == [b for b, _ in result.taken]
    assert max(result.taken)[1] == 73
    assert result.unused == (76,)
    assert min(result.fresh) == 75


def test_yolov3_fits_into_yolov3_spp():
    result = graft(learned(bundled("yolov3")), bundled("yolov3-spp"))
    assert result.unused == ()
    assert result.fresh == (84,)
    assert result.behind_fresh == (85,)
    assert (78, 85) in result.taken


def test_only_loaded_layers_are_taken():
    donor = replace(random_model(tiny_detector(3)), initial_layers=(1, 2, 3))
    assert graft(donor, initial_model(tiny_detector(3))).taken == ((0, 0),)
    assert graft(learned(donor), initial_model(tiny_detector(3)), layers=2).taken == (
        (0, 0),
        (1, 1),
    )


@pytest.mark.parametrize("option", ["dontload", "dontloadscales", "numload"])
def test_layers_that_are_not_to_be_loaded_are_left(option):
    body = NORMED.format(n=4) + f"{option}=1\n" + NORMED.format(n=6)
    marked = random_model(network(body, dialect="pjreddie"))
    whole = random_model(network(body.replace(f"{option}=1\n", ""), dialect="pjreddie"), seed=1)
    for donor, receiver in ((marked, whole), (whole, marked)):
        result = graft(donor, receiver)
        assert result.taken == ((1, 1),)
        assert result.fresh == (0,)


def test_a_graft_between_dialects_is_warned_about(caplog):
    pair = (random_model(network(BODY, dialect=d)) for d in ("pjreddie", "alexeyab"))
    with caplog.at_level("WARNING", logger="darkconv"):
        graft(*pair)
    assert "follows the rules of pjreddie" in caplog.text


@pytest.mark.parametrize(
    ("donor", "message"),
    [
        (random_model(network(PLAIN.format(n=9))), "no layer of test.cfg fits into test.cfg"),
        (replace(initial_model(network(BODY)), initial_layers=(0, 1)), "hint: the donor has only"),
    ],
)
def test_a_graft_of_nothing_is_refused(donor, message):
    with pytest.raises(PlanError, match=message):
        graft(donor, random_model(network(BODY)))


# Colours


COLOURED = {
    "convolutional": (NORMED.format(n=4), "alexeyab"),
    "behind crop": ("[crop]\ncrop_width=6\ncrop_height=7\n" + NORMED.format(n=4), "alexeyab"),
    "behind batchnorm": ("[batchnorm]\n" + NORMED.format(n=4), "alexeyab"),
    "read twice": (
        "[dropout]\n" + PLAIN.format(n=2) + "[route]\nlayers=0,1\n" + PLAIN.format(n=4),
        "alexeyab",
    ),
    "space to depth": ("[reorg3d]\nstride=2\n" + PLAIN.format(n=4), "alexeyab"),
    "grouped": ("[convolutional]\nfilters=6\ngroups=3\n" + PLAIN.format(n=2), "alexeyab"),
    "connected": ("[connected]\noutput=5\n", "pjreddie"),
    "local": ("[local]\nfilters=2\nsize=3\npad=1\n", "pjreddie"),
    "deconvolutional": ("[deconvolutional]\nfilters=2\nsize=2\nstride=2\n", "pjreddie"),
    "rnn": ("[rnn]\noutput=4\nhidden=3\n", "alexeyab"),
}


@pytest.mark.parametrize("kind", COLOURED)
def test_swapped_colours_equal_swapped_pictures(kind):
    pytest.importorskip("torch")
    body, dialect = COLOURED[kind]
    model = random_model(network(body + "[connected]\noutput=3\n", dialect=dialect))
    swapped = swap_rgb(model)
    assert_same_arrays(swap_rgb(swapped), model)
    assert text(swapped) == text(model)
    x = np.random.default_rng(2).random((3, 8, 8), np.float32)
    a, b = dc.trace(swapped, x[::-1].copy())[-1], dc.trace(model, x)[-1]
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 8, 8)])
def test_only_three_channels_have_colours(shape):
    with pytest.raises(PlanError, match="expected an input of 3 channels, found"):
        swap_rgb(random_model(network(NORMED.format(n=4), shape)))


@pytest.mark.parametrize(
    "body",
    [
        "[dropout]\n",
        "[normalization]\nsize=3\n" + PLAIN.format(n=2),
        "[maxpool]\nmaxpool_depth=1\nout_channels=2\n",
        "[reorg]\nextra=2\n" + CONNECTED,
        "[crnn]\noutput=3\nhidden=3\nsize=3\npad=1\ngroups=3\n",
        "[dropout]\n" + PLAIN.format(n=3) + PLAIN.format(n=3) + "share_index=1\n",
    ],
    ids=["output", "normalization", "maxpool_depth", "extra", "crnn", "shared"],
)
def test_layers_bound_to_the_order_of_colours_are_refused(body):
    dialect = "pjreddie" if "extra" in body else "alexeyab"
    with pytest.raises(PlanError, match="in a way that no array can mend"):
        swap_rgb(random_model(network(body, dialect=dialect)))


# Comparing


def test_statistics_count_what_is_broken():
    model = random_model(network(PLAIN.format(n=4)))
    values = [0.0, np.nan, 3.0, -np.inf]
    rows = statistics(dc.replace_arrays(model, {"0.biases": values}))
    assert [row.key for row in rows] == ["0.biases", "0.weights"]
    first, second = rows
    assert (first.mean, first.deviation, first.minimum, first.maximum) == (1.5, 1.5, 0, 3)
    assert (first.zeros, first.non_finite, first.shape) == (0.25, 2, (4,))
    assert second.mean == pytest.approx(model.arrays["0.weights"].mean(), abs=1e-6)
    none = statistics(dc.replace_arrays(model, {"0.biases": [np.nan] * 4}))[0]
    assert np.isnan(none.mean)
    assert none.non_finite == 4


def test_differences_are_told_array_by_array():
    a = random_model(network(NORMED.format(n=4) + PLAIN.format(n=2)))
    b = dc.replace_arrays(a, {"1.biases": a.arrays["1.biases"] + [0, 0.5]})
    rows = {row.key: row for row in difference(a, b)}
    assert list(rows) == list(a.arrays)
    assert {key for key, row in rows.items() if row.state == "different"} == {"1.biases"}
    assert rows["1.biases"].max_abs == pytest.approx(0.5)
    norm = np.linalg.norm(a.arrays["1.biases"])
    assert rows["1.biases"].relative == pytest.approx(0.5 / norm)


def test_differences_name_what_one_model_lacks():
    a = random_model(network(NORMED.format(n=4)))
    b = random_model(network(PLAIN.format(n=4) + PLAIN.format(n=2)), seed=1)
    states = {row.key: row.state for row in difference(a, b)}
    assert states == {
        "0.biases": "different",
        "0.scales": "only first",
        "0.rolling_mean": "only first",
        "0.rolling_variance": "only first",
        "0.weights": "other shape",
        "1.biases": "only second",
        "1.weights": "only second",
    }


@pytest.mark.parametrize(
    ("a", "b", "max_abs", "relative"),
    [
        ([np.nan, np.inf], [np.nan, np.inf], 0, 0),
        ([np.nan, 1], [1, 1], np.inf, np.inf),
        ([0, 0], [0, 2], 2, np.inf),
        ([0, 0], [-0.0, 0], 0, 0),
    ],
)
def test_differences_of_odd_values(a, b, max_abs, relative):
    model = random_model(network(PLAIN.format(n=2)))
    row, _ = difference(*(dc.replace_arrays(model, {"0.biases": v}) for v in (a, b)))
    assert (row.max_abs, row.relative) == (max_abs, relative)


def test_initial_arrays_are_compared_too():
    model = initial_model(network(BODY))
    assert isinstance(model.arrays, InitialArrays)
    assert {row.state for row in difference(model, model)} == {"equal"}
