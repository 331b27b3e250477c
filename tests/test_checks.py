"""A check never passes on nothing: every kind of comparison, with a right file and with wrong ones.

The walk is over `KINDS`: frameworks, heads, precisions, formats and files of other tools. Each has
to count what it compares, to find a last convolution that is scaled by 0.8, to fail where all
values are NaN, and to fail where nothing is found that could be compared.
"""

import itertools
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from networks import cfg_text, network, random_model

pytest.importorskip("torch")
PIL = pytest.importorskip("PIL")
pytest.importorskip("PIL.Image")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CASES = Path(__file__).parent / "data" / "cases"
BODY = """[convolutional]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky

[convolutional]
filters=14
activation=linear

[yolo]
classes=2
num=2
anchors=5,5,9,9
"""
SHAPE = (3, 32, 32)
IN_8_BITS = "--int8 --min-agreement 0 --calibrate p"
QUIET = -30.0  # a bias of objectness at which nothing is found
WIDTH = 2  # row of the last convolution: of the first anchor
OBJECTNESS = [4, 11]  # rows of the last convolution

KINDS = {
    "layers in ONNX": ("", "verify net.cfg net.weights"),
    "layers in Keras": ("", "verify net.cfg net.weights --backend keras"),
    **{
        f"{head}{' ' * bool(more)}{more}.onnx": (
            f"convert file.cfg file.weights -o f.onnx --head {head} {more}",
            "verify net.cfg net.weights f.onnx",
        )
        for head, more in (
            *itertools.product(("raw", "boxes", "nms"), ("", "--fp16", IN_8_BITS)),
            ("nms --threshold-inputs", ""),
            ("nms --threshold-inputs", IN_8_BITS),
            ("nms --max-detections 50", ""),
        )
    },
    "external.onnx": (
        "convert file.cfg file.weights -o f.onnx --head nms --external",
        "verify net.cfg net.weights f.onnx",
    ),
    **{
        f"{head}.keras": (
            f"convert file.cfg file.weights -o f.keras --head {head}",
            "verify net.cfg net.weights f.keras",
        )
        for head in ("raw", "boxes")
    },
    **{
        f"{head}{' ' * bool(more)}{more}.tflite": (
            f"convert file.cfg file.weights -o f.tflite --head {head} {more}",
            "verify net.cfg net.weights f.tflite",
        )
        for head, more in (
            ("raw", ""),
            ("boxes", ""),
            ("boxes", "--int8 --calibrate p"),
        )
    },
    **{
        f"another tool's {head}": (
            f"foreign {head}",
            "verify net.cfg net.weights f.onnx",
        )
        for head in ("raw", "boxes")
    },
}
"""What is compared: the command that writes the file of file.cfg, and the one that checks it."""
NEEDS_BOXES = [kind for kind in KINDS if "boxes" in kind or "nms" in kind or "int8" in kind]


def is_keras(kind):
    return any(word in kind for word in ("Keras", ".keras", ".tflite"))


def kinds(names):
    """As parameters; those that Keras runs are skipped where it is not."""
    return pytest.mark.parametrize("kind", names)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    for number in range(3):
        levels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        PIL.Image.fromarray(levels).save(f"p/{number}.png")

    def invoke(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def detector(seed=0):
    """A model that finds boxes of every score, and knows where."""
    model = random_model(network(BODY, SHAPE), seed=seed, names=("cat", "dog"))
    return dc.replace_arrays(model, {"1.weights": model.arrays["1.weights"] * 3})


def save(name, model):
    Path(f"{name}.cfg").write_text(cfg_text(BODY, SHAPE))
    dc.save(model, f"{name}.cfg", f"{name}.weights", names=f"{name}.names", allow_nonfinite=True)


def scaled(model, factor):
    """The last convolution scaled: other scores and boxes."""
    last = {key: model.arrays[key] * np.float32(factor) for key in ("1.biases", "1.weights")}
    return dc.replace_arrays(model, last)


def quiet(model):
    """A model that finds nothing anywhere."""
    biases = model.arrays["1.biases"].copy()
    biases[OBJECTNESS] = QUIET
    return dc.replace_arrays(model, {"1.biases": biases})


def write(run, kind, model):
    """Write the file of a kind, made from a model; convert may say that it compared nothing."""
    save("file", model)
    line, check = KINDS[kind]
    if line.startswith("foreign"):
        proto = dc.to_onnx(model, head=line.split()[1], allow_nonfinite=True)
        del proto.metadata_props[:]
        onnx.save(proto, "f.onnx")
    elif line:
        CliRunner().invoke(main, [*line.split(), "--allow-nonfinite"])
        assert Path(line.split()[4]).exists()
    return check


def skip_without_keras(kind):
    if is_keras(kind):
        pytest.importorskip("keras")
        pytest.importorskip("tensorflow")
        pytest.importorskip("ai_edge_litert")


def checked(run, check, status, options=""):
    """The check's JSON."""
    found = json.loads(run(f"{check} --json {options}", status).stdout)
    assert found["ok"] == (status == 0) == (not any(row["wrong"] for row in found["rows"]))
    assert found["compared"] == sum(row["compared"] for row in found["rows"])
    return found


@kinds(KINDS)
def test_a_right_file_agrees_and_what_was_compared_is_counted(run, kind):
    skip_without_keras(kind)
    save("net", detector())
    check = write(run, kind, detector())
    found = checked(run, check, 0)
    assert all(row["compared"] > 0 for row in found["rows"])
    assert found["compared"] > 100
    if not is_keras(kind):
        assert f"{found['compared']:,} values compared" in run(check).stdout


@kinds([kind for kind in KINDS if not kind.startswith("layers")])
def test_a_last_convolution_that_is_scaled_is_found(run, kind):
    skip_without_keras(kind)
    save("net", detector())
    checked(run, write(run, kind, scaled(detector(), 0.8)), 1)


def overflowing(model):
    """A model of which half of the boxes are infinitely wide."""
    biases = model.arrays["1.biases"].copy()
    biases[WIDTH] = 200
    return dc.replace_arrays(model, {"1.biases": biases})


@kinds([kind for kind in NEEDS_BOXES if "int8" not in kind])
def test_boxes_of_infinite_size_agree_and_hide_nothing(run, kind):
    """exp(200) is no float32; a training that has just begun gives such boxes on noise."""
    skip_without_keras(kind)
    save("net", overflowing(detector()))
    checked(run, write(run, kind, overflowing(detector())), 0)
    checked(run, write(run, kind, scaled(overflowing(detector()), 0.8)), 1)


@kinds(KINDS)
def test_a_model_of_nothing_but_nan_agrees_with_nothing(run, kind):
    skip_without_keras(kind)
    if "int8" in kind or "fp16" in kind:
        pytest.skip("numbers for 8 bits are chosen by values, and half precision has its own test")
    biases = np.full(8, np.nan, np.float32)
    broken = dc.replace_arrays(detector(), {"0.biases": biases})
    save("net", broken)
    line = KINDS[kind][0]
    if ".tflite" in kind:
        assert "not finite" in run(f"{line.replace('file.', 'net.')} --allow-nonfinite", 1).stderr
        return
    check = write(run, kind, broken)
    if kind.startswith("another"):
        assert "values are NaN" in run(f"{check} --allow-nonfinite", 1).stderr
        return
    found = checked(run, check, 1, "--allow-nonfinite")
    assert any("values are NaN" in row["remark"] for row in found["rows"])
    assert any(row["error"] is None for row in found["rows"])


@kinds(NEEDS_BOXES)
def test_where_nothing_is_found_that_could_be_compared_a_check_fails(run, kind):
    """Scores next to zero are the same whatever the file holds: the check says so."""
    skip_without_keras(kind)
    if kind.startswith("another"):
        pytest.skip("compared relative to the norm of what is expected, however small")
    save("net", quiet(detector()))
    found = checked(run, write(run, kind, quiet(detector())), 1)
    empty = [row for row in found["rows"] if row["compared"] == 0]
    assert any("--image takes a picture of what it knows" in row["remark"] for row in empty)


@pytest.mark.parametrize("how", ["--fp16", IN_8_BITS])
@pytest.mark.parametrize("head", ["raw", "boxes", "nms", "nms --threshold-inputs"])
@pytest.mark.parametrize("model", [detector, lambda: quiet(detector())], ids=["some", "none"])
def test_reports_of_convert_count_what_they_compare(run, how, head, model):
    save("net", model())
    line = f"convert net.cfg net.weights -o f.onnx {how} --head {head}"
    found = json.loads(run(f"{line} --json").stdout)["f.onnx"]["likeness"]
    assert found["compared"] > 100
    assert found["errors"] or found["f1"] is not None
    assert f"{found['compared']:,} values and detections compared on" in run(line).stderr


@pytest.mark.parametrize("head", ["raw", "boxes", "nms"])
def test_reports_of_convert_fail_on_nan(run, head):
    save("net", dc.replace_arrays(detector(), {"0.biases": np.full(8, np.nan, np.float32)}))
    line = f"convert net.cfg net.weights -o f.onnx --fp16 --head {head} --allow-nonfinite"
    assert "error: f.onnx: was written, but there was nothing to compare" in run(line, 1).stderr


def test_suppression_that_a_graph_does_otherwise_is_found(run):
    """The threshold in the graph is another than the file's metadata say."""
    save("net", detector())
    run("convert net.cfg net.weights -o f.onnx --head nms")
    proto = onnx.load("f.onnx")
    (node,) = (n for n in proto.graph.node if n.op_type == "NonMaxSuppression")
    overlap = onnx.numpy_helper.from_array(np.array([0.9], np.float32), "another")
    proto.graph.initializer.append(overlap)
    node.input[3] = "another"
    onnx.save(proto, "f.onnx")
    text = run("verify net.cfg net.weights f.onnx", 1).stdout
    assert re.search(r"detections missing or surplus .* wrong", text)


@pytest.mark.parametrize("kind", ["greedynms", "diounms", ""])
def test_verify_says_which_suppression_is_compared(run, kind):
    body = BODY + f"nms_kind={kind}\n" * bool(kind)
    model = random_model(network(body, SHAPE))
    Path("net.cfg").write_text(cfg_text(body, SHAPE))
    dc.save(model, "net.cfg", "net.weights", allow_nonfinite=True)
    run("convert net.cfg net.weights -o f.onnx --head nms")
    text = run("verify net.cfg net.weights f.onnx").stdout
    assert "the file suppresses by plain NMS for each class (sort)" in text
    assert (f"the model's own kind is {kind}" in text) == bool(kind)


def test_the_last_layer_of_a_published_form_scaled_is_found_behind_suppression(run):
    """On noise neither finds anything at the file's threshold: zero is not zero's agreement."""
    low = detector()
    biases = low.arrays["1.biases"].copy()
    biases[OBJECTNESS] = -9
    low = dc.replace_arrays(low, {"1.biases": biases, "1.weights": low.arrays["1.weights"] / 3})
    save("net", low)
    check = write(run, "nms.onnx", scaled(low, 0.8))
    found = checked(run, check, 1)
    assert {row["name"] for row in found["rows"] if row["wrong"]} >= {"boxes before suppression"}


class TestVariances:
    """A variance without a root is refused as NaN is; one that C computes with is a warning."""

    @staticmethod
    def saved(value, dialect="alexeyab"):
        model = random_model(network(BODY, SHAPE, dialect))
        variances = model.arrays["0.rolling_variance"].copy()
        variances[3] = value
        model = dc.replace_arrays(model, {"0.rolling_variance": variances})
        Path("net.cfg").write_text(cfg_text(BODY, SHAPE))
        dc.save(model, "net.cfg", "net.weights", allow_nonfinite=True)

    @pytest.mark.parametrize(
        ("value", "dialect", "status"),
        [
            (-1.0, "alexeyab", 1),
            (-1.0, "pjreddie", 1),
            (-1e-5, "alexeyab", 1),
            (-9e-6, "alexeyab", 0),
            (-9e-6, "pjreddie", 1),
            (-1e-30, "pjreddie", 1),
            (-1e-30, "alexeyab", 0),
            (0.0, "pjreddie", 0),
            (0.0, "alexeyab", 0),
            (-0.0, "pjreddie", 0),
        ],
    )
    def test_the_root_is_that_of_the_dialect(self, run, value, dialect, status):
        self.saved(value, dialect)
        line = f"convert net.cfg net.weights -o o.cfg o.weights --dialect {dialect}"
        text = run(line, status).stderr
        assert ("1 of 8 variances is negative" in text) == (value < 0)
        if status:
            assert (
                "net.weights: layer 0 [convolutional]: 1 of 8 variances is negative, and has no"
                in text
            )
            assert "--allow-nonfinite" in text
            assert "1 of 8 variances is negative" in run(f"{line} --allow-nonfinite").stderr

    def test_the_case_is_refused_and_let_through_disagrees(self, run, tmp_path):
        shutil.copy(CASES / "models" / "negvar.cfg", tmp_path)
        shutil.copy(CASES / "models" / "negvar.weights", tmp_path)
        for command in (
            "verify negvar.cfg negvar.weights",
            "convert negvar.cfg negvar.weights -o o.onnx",
        ):
            assert "of 8 variances are negative, and have no root" in run(command, 1).stderr
        text = run("verify negvar.cfg negvar.weights --allow-nonfinite", 1).stdout
        assert text.count("values are NaN") == 4
        assert "0 values compared" in text

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("options", ["", "--no-fold", "--external"])
    def test_what_is_let_through_is_told_in_a_line_each_of_cause_and_effect(self, run, options):
        self.saved(-1.0)
        line = f"convert net.cfg net.weights -o o.onnx --allow-nonfinite {options}"
        warnings = [w for w in run(line).stderr.splitlines() if w.startswith("warning")]
        assert warnings == [
            "warning: net.weights: layer 0 [convolutional]: 1 of 8 variances is negative, "
            "and has no root",
            "warning: o.onnx: run once on zeros, all 3,584 values are NaN",
        ]

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("filters", [8, 600], ids=["at once", "piece by piece"])
    def test_a_fold_beyond_float32_is_an_error_of_one_line(self, run, filters):
        body = BODY.replace("filters=8\nsize=3", f"filters={filters}\nsize=3").replace(
            "pad=1\nb", "pad=1\ngroups=1\nb"
        )
        model = random_model(network(body, SHAPE))
        scales = model.arrays["0.scales"].copy()
        scales[:] = 1e38
        model = dc.replace_arrays(
            model, {"0.scales": scales, "0.weights": model.arrays["0.weights"] * 1e3}
        )
        Path("net.cfg").write_text(cfg_text(body, SHAPE))
        dc.save(model, "net.cfg", "net.weights", allow_nonfinite=True)
        place = "error: net.cfg:6: layer 0 [convolutional]: "
        for line, message in (
            ("convert net.cfg net.weights -o o.onnx", "its batch norm, written into weights and"),
            ("weights fold net.cfg net.weights -o o.cfg o.weights", "folding gives weights beyond"),
        ):
            text = run(line, 1).stderr
            assert text.startswith(place + message), text
            assert not list(Path().glob("o.*"))
        run("convert net.cfg net.weights -o o.onnx --no-fold")


DEAD = "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=relu\n\n"


@pytest.mark.parametrize("more", ["", "dead.onnx", "foreign.onnx"])
def test_values_that_are_all_zero_are_nothing_to_compare(run, more):
    dead = random_model(network(DEAD * 2, SHAPE))
    zeros = {key: 0 * values for key, values in dead.arrays.items()}
    dead = dc.replace_arrays(dead, zeros)
    dc.save(dead, "dead.cfg", "dead.weights")
    dc.export(dead, "dead.onnx")
    proto = dc.to_onnx(dead)
    del proto.metadata_props[:]
    onnx.save(proto, "foreign.onnx")
    found = checked(run, f"verify dead.cfg dead.weights {more}", 1)
    assert found["compared"] == 0
    assert {row["remark"] for row in found["rows"]} == {
        "all values are zero; --image takes a picture of what it knows"
    }
    last = {**zeros, "1.biases": np.ones(4)}  # one dead layer is right beside others
    living = dc.replace_arrays(dead, last)
    check = dc.verify(living)
    assert check.ok
    assert check.rows[0].error == 0 < check.rows[0].compared


def test_a_list_without_pictures_is_no_check(tmp_path):
    model = detector()
    dc.export(model, tmp_path / "f.onnx")
    for file in (None, tmp_path / "f.onnx"):
        with pytest.raises(dc.DarkconvError, match="image: there is no picture in the list"):
            dc.verify(model, file, image=[])


def test_rows_of_several_inputs_are_joined_by_the_worst():
    from darkconv.verification.agreement import Agreement, joined

    rows = [Agreement("x", 1e-6, 1e-4, 5), Agreement("x", math.inf, 1e-4, 0, "all NaN")]
    assert joined(rows) == Agreement("x", math.inf, 1e-4, 5, "all NaN")
    empty = Agreement("x", 0.0, 1e-4, 0, "no score")
    assert joined([empty, rows[0]]) == Agreement("x", 1e-6, 1e-4, 5)
    assert not joined([empty, empty]).is_good
    assert joined([empty, empty]).remark == "no score"
