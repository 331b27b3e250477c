"""darkflow's dissection sections: the surgery that a cfg describes."""

import json
import pickle

import numpy as np
import pytest

import darkconv as dc
from darkconv.darknet.cfg import format_cfg
from darkconv.errors import DarkconvError, GraphError, OptionError, PlanError
from networks import NET, network, random_model

ORIGINAL_V1 = """[convolutional]
filters=6
size=3
pad=1
batch_normalize=1
activation=leaky

[maxpool]
size=2
stride=2

[connected]
output=8
activation=leaky

[dropout]

[connected]
output=44
activation=linear

[detection]
classes=3
coords=4
side=2
num=1
"""
DISSECTED_V1 = """# the small one
[conv-extract]
profile=p.json
input=-1
output=0
filters=6
size=3
pad=1
batch_normalize=1
activation=leaky

[maxpool]
size=2
stride=2

[extract]
profile=p.json
input=0
output=1
old=2,2,6,8
activation=leaky

[dropout]

[select]
input=p.json,1
old_output=44
keep=2,0/3
bins=4
output=28
activation=linear

[detection]
classes=2
coords=4
side=2
num=1
"""
ORIGINAL_V1 = ORIGINAL_V1.replace("44", "32")
DISSECTED_V1 = DISSECTED_V1.replace("44", "32")
PROFILE = [[0, 2, 5], [1, 3, 4, 7]]
SHAPE = (3, 4, 4)
ORIGINAL_V2 = (
    "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n\n"
    "[convolutional]\nfilters=16\nactivation=linear\n\n"
    "[region]\nclasses=3\nnum=2\n"
)
DISSECTED_V2 = ORIGINAL_V2.replace(
    "[convolutional]\nfilters=16\n", "[conv-select]\nkeep=2,1/3\nfilters=16\n"
).replace("classes=3", "classes=2")


@pytest.fixture
def files(tmp_path):
    """Write an original model, a dissecting cfg, its profile; return a loader of the result."""

    def write(original, dissected, profile=PROFILE):
        model = random_model(network(original, SHAPE, "pjreddie"))
        (tmp_path / "whole.cfg").write_text("")
        dc.save(model, tmp_path / "whole.cfg", tmp_path / "whole.weights")
        c, h, w = SHAPE
        (tmp_path / "small.cfg").write_text(NET.format(c=c, h=h, w=w) + dissected)
        if profile is not None:
            (tmp_path / "p.json").write_text(json.dumps(profile))
        return model

    write.load = lambda: dc.load(tmp_path / "small.cfg", tmp_path / "whole.weights")
    write.folder = tmp_path
    return write


def test_v1_is_dissected_in_every_layer(files):
    whole = files(ORIGINAL_V1, DISSECTED_V1)
    small = files.load()
    maps, units = PROFILE
    np.testing.assert_array_equal(small.arrays["0.weights"], whole.arrays["0.weights"][maps])
    for name in ("biases", "scales", "rolling_mean", "rolling_variance"):
        np.testing.assert_array_equal(small.arrays[f"0.{name}"], whole.arrays[f"0.{name}"][maps])
    matrix = whole.arrays["2.weights"].reshape(8, 6, 4)[units][:, maps].reshape(4, 12)
    np.testing.assert_array_equal(small.arrays["2.weights"], matrix)
    rows = [2, 0, 5, 3, 8, 6, 11, 9, *range(12, 32)]
    expected = whole.arrays["4.weights"][rows][:, units]
    np.testing.assert_array_equal(small.arrays["4.weights"], expected)
    assert small.network.heads[0].spec.classes == 2


def test_result_is_plain_darknet(files):
    files(ORIGINAL_V1, DISSECTED_V1)
    small = files.load()
    text = format_cfg(small.network.config)
    assert "extract" not in text
    assert "select" not in text
    assert "profile" not in text
    assert "# the small one" in text
    dc.save(small, files.folder / "out.cfg", files.folder / "out.weights")
    back = dc.load(files.folder / "out.cfg", files.folder / "out.weights")
    assert format_cfg(back.network.config) == text
    for key, array in small.arrays.items():
        np.testing.assert_array_equal(back.arrays[key], array)


def test_v2_classes_keep_their_scores(files):
    pytest.importorskip("torch")
    whole = files(ORIGINAL_V2, DISSECTED_V2)
    small = files.load()
    x = np.random.default_rng(0).random(SHAPE, np.float32)
    rows = [0, 1, 2, 3, 4, 7, 6, 8, 9, 10, 11, 12, 15, 14]
    np.testing.assert_array_equal(dc.trace(small, x)[-1], dc.trace(whole, x)[-1][rows])


@pytest.mark.parametrize("form", ["list", "object", "npz"])
def test_profiles_come_in_safe_forms(files, form):
    files(ORIGINAL_V1, DISSECTED_V1)
    path = files.folder / "p.json"
    if form == "object":
        path.write_text(json.dumps(dict(enumerate(PROFILE))))
    elif form == "npz":
        with path.open("wb") as file:
            np.savez(file, *map(np.array, PROFILE))
    assert files.load().network.layers[0].spec.filters == 3


def test_pickled_profiles_are_refused_with_the_reason(files):
    files(ORIGINAL_V1, DISSECTED_V1)
    for protocol in (0, 2, 4):
        (files.folder / "p.json").write_bytes(pickle.dumps([PROFILE], protocol))
        with pytest.raises(PlanError, match="pickle, which is not read because reading it could"):
            files.load()


@pytest.mark.parametrize("data", [b"[1", b"[[1, 'a']]", b"5", b'[["x"]]', b"PK\x03\x04broken"])
def test_broken_profiles_are_refused(files, data):
    files(ORIGINAL_V1, DISSECTED_V1)
    (files.folder / "p.json").write_bytes(data)
    with pytest.raises(PlanError, match="p.json: cannot be read as index lists"):
        files.load()


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ("output=1\n", "output=9\n", OptionError, r"expected a list of p.json, which has \[0, 1\]"),
        ("input=0\n", "input=1\n", PlanError, r"layer 2 \[connected\].*expected 4 input channels"),
        ("keep=2,0/3\n", "", OptionError, r"layer 4 \[select\] keep: is missing"),
        ("keep=2,0/3", "keep=2,3/3", OptionError, "expected classes below 3, found 2,3"),
        ("keep=2,0/3", "keep=2,0", OptionError, "expected whole numbers"),
        ("output=28", "output=30", OptionError, "output: expected 28, found 30"),
        ("old=2,2,6,8", "old=6", OptionError, "rows, columns, channels and outputs"),
        ("p.json", "q.json", OptionError, "q.json was not found beside the cfg"),
        ("classes=2", "classes=1", GraphError, "inputs, 2 x 2 cells"),
        ("filters=6", "filters=7", DarkconvError, "expected"),
    ],
)
def test_what_does_not_fit_is_refused(files, old, new, kind, message):
    files(ORIGINAL_V1, DISSECTED_V1.replace(old, new))
    with pytest.raises(kind, match=message):
        files.load()


def test_uneven_anchors_are_refused(files):
    files(ORIGINAL_V2, DISSECTED_V2.replace("filters=16", "filters=15"))
    with pytest.raises(OptionError, match="expected a multiple of 8, found 15"):
        files.load()
