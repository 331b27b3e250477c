"""8 bits that pay: layers that cost agreement stay in float32, and the verdict says what holds."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from networks import cfg_text, network, random_model

pytest.importorskip("onnxruntime")

from darkconv.backends.ranges import HALF, RANGES, Observed
from darkconv.evaluation.latency import Latency
from darkconv.exporting.eight_bits import QuantizationChoice, agreement_of, fewest, judge
from darkconv.verification.agreement import Agreement
from darkconv.verification.likeness import Likeness
from darkconv.verification.precision import FilePrecision
from darkconv.verification.results import FileVerification

CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nactivation=relu\n"
HEAD = "[convolutional]\nfilters=16\nactivation=linear\n[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
BODY = CONV.format(n=8) * 4 + "[maxpool]\nsize=2\nstride=2\n" + HEAD
SHAPE = (3, 16, 24)
BROKEN = 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A network with one layer that 8 bits break, and pictures."""
    image_module = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    model = broken()
    Path("net.cfg").write_text(cfg_text(BODY, SHAPE))
    dc.save(model, "net.cfg", "net.weights")
    Path("p").mkdir()
    stream = np.random.default_rng(0)
    for number in range(4):
        coarse = stream.integers(0, 256, (SHAPE[1] // 4, SHAPE[2] // 4, 3), np.uint8)
        levels = coarse.repeat(4, axis=0).repeat(4, axis=1)
        image_module.fromarray(levels).save(f"p/{number}.png")
    return tmp_path


def broken():
    """A model with a layer of like channels, of which the next one reads their small difference."""
    model, small = random_model(network(BODY, SHAPE), seed=3), 0.005
    weights, biases = (model.arrays[f"{BROKEN}.{name}"].copy() for name in ("weights", "biases"))
    weights[1::2] = weights[::2] + small * weights[1::2]
    biases[1::2] = biases[::2]
    after = model.arrays[f"{BROKEN + 1}.weights"].copy()
    after[:, 1::2] = -after[:, ::2]
    changed = {"2.weights": weights, "2.biases": biases + 1, "3.weights": after / small}
    return dc.replace_arrays(model, changed)


def convert(line, status=0):
    result = CliRunner().invoke(main, f"convert net.cfg net.weights -o net.onnx {line}".split())
    assert result.exit_code == status, result.output
    return result


def precision(path):
    onnx = pytest.importorskip("onnx")
    return {one.key: one.value for one in onnx.load(path).metadata_props}["precision"]


def test_the_layer_that_breaks_costs_most(folder):
    from darkconv.backends.onnx.quantization import Quantizer

    model = dc.load("net.cfg", "net.weights")
    inputs = [np.random.default_rng(i).random((1, *SHAPE), np.float32) for i in range(4)]
    quantizer = Quantizer(model, inputs)
    layers = [0, 1, 2, 3, 5]
    errors = {i: quantizer.error([one for one in layers if one != i]) for i in layers}
    assert min(errors[2], errors[3]) > 5 * max(errors[i] for i in (0, 1, 5))
    assert quantizer.error([2, 3]) < 0.1 < quantizer.error()


@pytest.mark.parametrize("wanted", [0.5, 0.9])
def test_layers_stay_in_float_until_agreement_holds(folder, wanted):
    from darkconv.backends.onnx.quantization import Quantization
    from darkconv.exporting.eight_bits import choose_layers
    from darkconv.loading import open_exported
    from darkconv.verification.precision import likeness

    model = dc.load("net.cfg", "net.weights")
    dc.export(model, "float32.onnx")
    whole = open_exported("float32.onnx")
    pictures = sorted(Path("p").iterdir())
    choices = {
        least: choose_layers(model, whole, pictures, Quantization(), {}, folder, wanted=least)
        for least in (0.0, wanted)
    }
    found = likeness(whole, open_exported(choices[wanted].path), pictures)
    assert agreement_of(found) >= wanted
    assert not choices[0.0].ordered
    assert {BROKEN, BROKEN + 1} & set(choices[wanted].ordered[:2])
    kept = json.loads(open_exported(choices[wanted].path).metadata["quantization"])["float32"]
    assert len(kept) == len(choices[wanted].ordered) + 1  # and the head


def test_what_no_agreement_reaches_is_written_in_float32(folder):
    result = convert("--int8 --calibrate p --min-agreement 1")
    assert precision("net.onnx") == ("int8" if "\nworth it" in result.stdout else "float32")


def test_eight_bits_whatever_they_cost(folder):
    """The file is written and does not agree with its model, which is told and is an error."""
    result = convert("--int8 --calibrate p --min-agreement 0 --json", status=1)
    assert "net.onnx: was written, but does not agree with the model" in result.stderr
    assert precision("net.onnx") == "int8"
    found = json.loads(result.stdout)["net.onnx"]
    assert not found["check"]["ok"]
    verdict = found["verdict"]
    assert "but it does not agree with the model" in verdict["reason"]
    assert (verdict["is_kept"], verdict["wanted"]) == (True, 0)
    assert (verdict["float32"], verdict["depthwise"]) == ([], [])


def test_python_gives_the_verdict(folder):
    model = dc.load("net.cfg", "net.weights")
    done = dc.export(model, "net.onnx", int8=True, calibrate="p")
    assert done.verdict.is_kept == (precision("net.onnx") == "int8")
    assert done.to_dict()["verdict"]["agreement"] == done.verdict.agreement
    assert done.verdict.lines()[-1] in repr(done)


def compared(*, before=2.0, after=1.0, f1=0.98, scale=0.0):
    latency = Latency({"float32": before, "int8": after}, "onnx", 30)
    likeness = Likeness({"head": 0.1}, f1, 4, 100)
    rows = [Agreement("scale of scores", scale, 0.14, 100)]
    check = FileVerification(rows, "", network=network(BODY, SHAPE), file="net.onnx")
    return FilePrecision("int8", (400, 100), latency, likeness, None, None, 0, check)


def choice(*ordered, is_empty=False):
    return QuantizationChoice(Path("x.onnx"), ordered, (), is_empty)


@pytest.mark.parametrize(
    ("found", "chosen", "wanted", "is_worth", "is_kept", "words"),
    [
        (
            compared(),
            choice(1),
            0.97,
            True,
            True,
            "F1 of detections 0.980 (at least 0.97 was asked for), 2.00",
        ),
        (compared(f1=0.9), choice(), 0.97, False, False, "the file is in float32"),
        (compared(after=1.95), choice(), 0.97, False, False, "which is no gain here"),
        (compared(scale=0.3), choice(), 0.97, False, False, "scale of scores: error 0.3, allowed"),
        (compared(scale=0.3), choice(), 0.0, False, True, "does not agree with the model"),
        (compared(after=3.0), choice(), 0.0, False, True, "0.67 times as fast"),
        (compared(f1=0.2), choice(), 0.0, True, True, "F1 of detections 0.200, 2.00 times"),
        (compared(f1=None), choice(), 0.9, True, True, "agreement of outputs 0.900"),
        (compared(), choice(0, is_empty=True), 0.97, False, False, "leaves no layer in 8 bits"),
    ],
)
def test_the_verdict_says_whether_it_is_worth_it_and_why(
    found, chosen, wanted, is_worth, is_kept, words
):
    net = network(BODY, SHAPE)
    verdict = judge(found, chosen, net, wanted=wanted, form="asymmetric")
    assert (verdict.is_worth, verdict.is_kept) == (is_worth, is_kept)
    *layers, last = verdict.lines()
    assert words in last
    assert last.startswith("worth it: " if is_worth else "not worth it: ")
    named = [net.layers[index].label for index in chosen.ordered]
    assert layers == ([f"in float32, for agreement: {', '.join(named)}"] if named else [])


def test_time_says_nothing_of_symmetric_files():
    verdict = judge(
        compared(after=9.0), choice(), network(BODY, SHAPE), wanted=0.9, form="symmetric"
    )
    assert verdict.is_worth
    assert "times as fast" not in verdict.reason


@pytest.mark.parametrize("needed", [1, 2, 7, 8])
def test_the_fewest_that_hold_are_found(needed):
    asked = []

    def holds(count):
        asked.append(count)
        return count >= needed

    assert fewest(8, holds) == needed
    assert len(asked) <= 3


def seen(*maps):
    observed = Observed()
    for values in maps:
        observed.add(np.asarray(values, np.float32).reshape(1, 1, -1))
    return observed


@pytest.mark.parametrize("method", RANGES)
def test_ranges_lie_within_what_was_seen(method):
    stream = np.random.default_rng(0)
    observed = seen(*(stream.normal(0.5, scale, 5000) for scale in (0.1, 3.0)))
    low, high = RANGES[method](observed)
    assert observed.low <= low < 0 < high <= observed.high


def test_one_outlier_does_not_make_the_range():
    values = np.append(np.random.default_rng(0).uniform(-1, 1, 60_000), 100.0)
    observed = seen(values)
    assert RANGES["minmax"](observed)[1] == 100
    assert RANGES["percentile"](observed)[1] < 2
    assert RANGES["mse"](observed)[1] < 100


def test_errors_below_zero_that_count_less_leave_more_steps_above():
    observed = seen(np.random.default_rng(0).normal(0, 1, 60_000))
    (full, _), (less, _) = observed.mse(), observed.mse(below=0.01)
    assert full < less < 0


def test_histograms_keep_all_values_as_they_grow_wider():
    observed = seen(np.full(100, 0.001), np.full(100, -7.0), np.full(100, 3.0))
    assert observed.counts.sum() == 300
    assert observed.limit == 8
    assert observed.counts[int(HALF + 3 / 8 * HALF)] == 100
