"""8-bit ONNX files: what computes in 8 bits, how near it comes, and what `convert` tells."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.errors import DarkconvError, UnsupportedError
from darkconv.surgery.folding import fold_batchnorm
from networks import cfg_text, network, random_model
from reference.collection import relative_error

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
quantization = pytest.importorskip("darkconv.backends.onnx.quantization")

CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation={act}\n"
HEAD = "[convolutional]\nfilters=16\nactivation=linear\n[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
BODY = (
    CONV.format(n=8, act="leaky")
    + CONV.format(n=8, act="mish")
    + "[shortcut]\nfrom=0\nactivation=linear\n[maxpool]\nsize=2\nstride=2\n[upsample]\nstride=2\n"
    + "[route]\nlayers=-1,0\n"
    + HEAD
)
SHAPE = (3, 16, 24)
MENDED = [(one, two) for one in (True, False) for two in ("corrected", "as they were")]
ERROR = 0.05  # relative L2 of a head: a value's range has 256 steps
QUANTIZED = {"Conv", "MaxPool", "Resize", "Concat", "Add", "LeakyRelu"}


def inputs(count=8, shape=SHAPE):
    """Smooth pictures, as those of a camera are."""
    stream = np.random.default_rng(0)
    coarse = stream.random((count, 1, shape[0], shape[1] // 4, shape[2] // 4), np.float32)
    return list(coarse.repeat(4, axis=3).repeat(4, axis=4))


def run(proto, x):
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"input": x})


def small(model, how=None, given=None, **options):
    proto = dc.to_onnx(model, **options)
    return proto, quantization.quantized(model, given or inputs(), how, **options)


def operators_around(proto):
    """Types of the nodes that read what DequantizeLinear gives."""
    given = {name for n in proto.graph.node if n.op_type == "DequantizeLinear" for name in n.output}
    return {node.op_type for node in proto.graph.node if set(node.input) & given}


@pytest.mark.parametrize("method", quantization.METHODS)
@pytest.mark.parametrize("head", ["raw", "boxes"])
def test_outputs_stay_near(method, head):
    model = random_model(network(BODY, SHAPE))
    how = quantization.Quantization(method=method)
    whole, found = small(model, how, head=head)
    onnx.checker.check_model(found, full_check=True)
    for x in inputs(3):
        for one, other in zip(run(whole, x), run(found, x), strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            assert 0 < relative_error(other, one) <= ERROR


def test_bodies_are_quantised_and_heads_are_not():
    model = random_model(network(BODY, SHAPE))
    _, found = small(model, head="nms")
    assert operators_around(found) >= QUANTIZED
    behind = [n for n in found.graph.node if n.name.startswith(("007_yolo", "heads", "nms"))]
    assert len(behind) > 20
    assert not any("uantize" in node.op_type for node in behind)
    weights = [i for i in found.graph.initializer if "weights/levels" in i.name]
    assert {i.data_type for i in weights} == {onnx.TensorProto.INT8}
    scales = [i for i in found.graph.initializer if "weights/scale" in i.name]
    assert [list(i.dims) for i in scales] == [[8], [8], [16]]


def test_the_quotient_in_mish_stays_float():
    model = random_model(network(CONV.format(n=4, act="mish") * 2, SHAPE))
    _, found = small(model)
    assert operators_around(found) & {"Div", "Sub", "Sigmoid"} <= {"Sigmoid"}  # it reads Conv's


GATE = "[convolutional]\nfilters=4\nactivation=logistic\n"
OTHERS = {
    "connected": "[connected]\noutput=7\nactivation=leaky\n[connected]\noutput=5\n[softmax]\n",
    "local": "[local]\nfilters=4\nsize=3\nstride=1\npad=1\nactivation=relu\n[avgpool]\n",
    "scale_channels": CONV.format(n=4, act="swish") + "[avgpool]\n" + GATE
    + "[scale_channels]\nfrom=0\nactivation=linear\n",
    "sam": CONV.format(n=4, act="relu6") + GATE + "[sam]\nfrom=0\n",
    "reorg": CONV.format(n=4, act="normalize_channels") + "[reorg]\nstride=2\n",
    "deconvolutional": "[deconvolutional]\nfilters=4\nsize=2\nstride=2\nactivation=relu\n",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_go_with_it(name):
    dialect = "pjreddie" if name == "deconvolutional" else "alexeyab"
    model = random_model(network(OTHERS[name], SHAPE, dialect))
    whole, found = small(model)
    x = inputs(1)[0]
    for one, other in zip(run(whole, x), run(found, x), strict=True):
        assert relative_error(other, one) <= ERROR


@pytest.mark.parametrize("kind", ["uint8-nhwc", "uint8-nhwc-bgr"])
def test_graphs_that_take_levels_are_calibrated_with_levels(kind):
    model = random_model(network(BODY, SHAPE))
    levels = [(x * 255).astype(np.uint8).transpose(0, 2, 3, 1) for x in inputs()]
    whole, found = small(model, given=levels, input=kind)
    for one, other in zip(run(whole, levels[0]), run(found, levels[0]), strict=True):
        assert relative_error(other, one) <= ERROR


def test_thresholds_may_be_inputs():
    _, found = small(random_model(network(BODY, SHAPE)), head="nms", threshold_inputs=True)
    assert len(found.graph.input) == 3


def test_inputs_are_asked_for_one_at_a_time():
    asked = []

    class Watched(list):
        def __getitem__(self, place):
            asked.append(place)
            return super().__getitem__(place)

    given = Watched(inputs(5))
    small(random_model(network(BODY, SHAPE)), given=given)
    assert asked[:5] == [0, 1, 2, 3, 4]
    assert asked[5:] in ([], [0, 1, 2, 3, 4])  # again, if channels were scaled


def test_nothing_is_printed(capfd):
    small(random_model(network(BODY, SHAPE)))
    assert capfd.readouterr() == ("", "")


def test_metadata_say_how_it_was_made():
    model = random_model(network(BODY, SHAPE), names=("a", "b", "c"))
    how = quantization.Quantization(method="minmax", reduce_range=True)
    whole, found = small(model, how)
    before, after = ({e.key: e.value for e in p.metadata_props} for p in (whole, found))
    facts = json.loads(after.pop("quantization"))
    assert (facts.pop("equalised"), facts.pop("biases")) in MENDED
    assert facts == {
        "calibration": "minmax",
        "pictures": 8,
        "activations": "uint8",
        "weights": "int8 of 7 bits per output channel",
        "float32": ["007_yolo"],
    }
    assert (before.pop("precision"), after.pop("precision")) == ("float32", "int8")
    assert before == after
    assert found.producer_name == "darkconv"


def test_seven_bits_stay_within_sixty_four():
    model = random_model(network(BODY, SHAPE))
    _, found = small(model, quantization.Quantization(reduce_range=True))
    for initializer in found.graph.initializer:
        if "weights/levels" in initializer.name:
            assert np.abs(onnx.numpy_helper.to_array(initializer)).max() <= 64


@pytest.mark.parametrize("head", ["raw", "boxes", "nms"])
def test_symmetric_activations_have_no_zero_points(head):
    model = random_model(network(BODY, SHAPE))
    how = quantization.Quantization(form="symmetric")
    whole, found = small(model, how, head=head)
    onnx.checker.check_model(found, full_check=True)
    zeros = [one for one in found.graph.initializer if one.name.endswith("zero_point")]
    assert len(zeros) >= 6
    for one in zeros:
        values = onnx.numpy_helper.to_array(one)
        assert values.dtype == np.int8
        assert not values.any()
    read = {name: node for node in found.graph.node for name in node.input}
    for node in found.graph.node:
        if node.op_type == "DequantizeLinear":
            assert read[node.output[0]].op_type == "Conv"
    if head != "nms":
        for one, other in zip(run(whole, inputs(1)[0]), run(found, inputs(1)[0]), strict=True):
            assert relative_error(other, one) <= ERROR


def test_a_leaky_function_rounds_no_value_above_zero():
    model = random_model(network(CONV.format(n=8, act="leaky") + HEAD, SHAPE))
    _, found = small(model)
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in found.graph.initializer}
    before, after = "000_convolutional/Conv", "000_convolutional"
    assert arrays[f"{before}/scale"] == arrays[f"{after}/scale"]
    assert 0 < arrays[f"{after}/zero_point"] < arrays[f"{before}/zero_point"]


def test_a_relu_is_what_rounding_does():
    model = random_model(network(CONV.format(n=8, act="relu") + HEAD, SHAPE))
    whole, found = small(model)
    assert not any(node.op_type == "Relu" for node in found.graph.node)
    for one, other in zip(run(whole, inputs(1)[0]), run(found, inputs(1)[0]), strict=True):
        assert relative_error(other, one) <= ERROR


def test_layers_stay_in_float_and_so_does_what_follows_them():
    model = random_model(network(BODY, SHAPE))
    quantizer = quantization.Quantizer(model, inputs())
    found = quantizer.build([0, 6])
    labels = json.loads({e.key: e.value for e in found.metadata_props}["quantization"])["float32"]
    assert labels == ["000_convolutional", "006_convolutional", "007_yolo"]
    rounded = {n.name for n in found.graph.node if n.op_type == "QuantizeLinear"}
    assert not any(name.startswith("006") for name in rounded)
    assert any(name.startswith("001") for name in rounded)
    assert quantizer.error([0, 1, 6]) < 1e-6 < quantizer.error([0, 6]) < quantizer.error()


UNLIKE = {
    "convolutional": CONV.format(n=8, act="relu") * 3 + HEAD,
    "deconvolutional": CONV.format(n=8, act="relu")
    + "[deconvolutional]\nfilters=8\nsize=3\nstride=1\nactivation=relu\n"
    + CONV.format(n=8, act="relu"),
    "connected": "[connected]\noutput=8\nactivation=relu\n" * 3,
}  # fmt: skip


@pytest.mark.parametrize("name", UNLIKE)
def test_layers_in_float_compute_in_float_whatever_the_runtime_makes_of_pairs(name):
    """One scale for all their weights would leave nothing of every second channel."""
    dialect = "pjreddie" if name == "deconvolutional" else "alexeyab"
    model = fold_batchnorm(random_model(network(UNLIKE[name], SHAPE, dialect)))
    axis = 1 if name == "deconvolutional" else 0
    factors = np.where(np.arange(8) % 2, np.float32(2.0**-10), np.float32(1))
    made = np.moveaxis(np.moveaxis(model.arrays["1.weights"], axis, -1) * factors, -1, axis)
    read = np.moveaxis(np.moveaxis(model.arrays["2.weights"], 1, -1) / factors, -1, 1)
    biases = model.arrays["1.biases"] * factors
    changed = {"1.weights": made, "1.biases": biases, "2.weights": read}
    model = dc.replace_arrays(model, changed)
    found = quantization.Quantizer(model, inputs()).build([1])
    onnx.checker.check_model(found, full_check=True)
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(found.SerializeToString(), plain)
    for x in inputs(3):
        for one, other in zip(run(found, x), session.run(None, {"input": x}), strict=True):
            assert relative_error(one, other) <= 0.005


def test_what_cannot_be_quantised_is_named():
    body = "[convolutional]\nfilters=4\nactivation=leaky\n[crnn]\noutput=4\nhidden=4\npad=1\n"
    with pytest.raises(UnsupportedError, match="recurrent layers are not quantised"):
        small(random_model(network(body, SHAPE)))
    model = random_model(network(BODY, SHAPE))
    with pytest.raises(UnsupportedError, match="opset of 8-bit graphs: expected 13 or later"):
        small(model, opset=12)
    with pytest.raises(DarkconvError, match="there are none"):
        quantization.quantized(model, [])
    with pytest.raises(DarkconvError, match="calibration method: expected mse, perc"):
        quantization.Quantization(method="guess")
    with pytest.raises(DarkconvError, match="form of 8 bits: expected asymmetric, symmetric"):
        quantization.Quantization(form="full")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """net.cfg, net.weights, net.names, and labelled pictures."""
    image_module = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    model = random_model(network(BODY, SHAPE), names=("cat", "dog", "fox"))
    (tmp_path / "net.cfg").write_text(cfg_text(BODY, SHAPE))
    dc.save(model, "net.cfg", "net.weights", names="net.names")
    (tmp_path / "p").mkdir()
    for number, x in enumerate(inputs(6)):
        levels = (x[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        image_module.fromarray(levels).save(tmp_path / "p" / f"{number}.png")
        (tmp_path / "p" / f"{number}.txt").write_text(f"{number % 3} 0.5 0.5 0.6 0.8\n")
    (tmp_path / "p" / "classes.txt").write_text("cat\ndog\nfox\n")
    return tmp_path


@pytest.fixture
def convert(folder):
    def invoke(line, status=0, command="convert net.cfg net.weights -o net.onnx"):
        result = CliRunner().invoke(main, f"{command} {line}".split())
        assert result.exit_code == status, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


DATA = "--data p --data-names net.names"


def test_convert_compares_with_the_float_file(convert, folder):
    result = convert(f"--int8 --min-agreement 0 --calibrate p {DATA}")
    *lines, verdict = [line.split("  ")[0] for line in result.stdout.splitlines()[1:]]
    assert lines == [
        "file size", "milliseconds a picture", "AP", "AP at 0.25",
        "relative error of 007_yolo", "F1 of detections above 0.25",
    ]  # fmt: skip
    assert "worth it: F1 of detections" in verdict
    assert "float32" in result.stdout.splitlines()[0]
    assert "compared on 6 pictures; median of " in result.stderr
    assert "wrote net.onnx" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        "net.cfg", "net.names", "net.onnx", "net.weights", "p",
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["--fp16", "--int8 --min-agreement 0 --calibrate p"])
@pytest.mark.parametrize("head", ["raw", "boxes", "nms", "nms --threshold-inputs"])
def test_every_head_is_compared_evaluated_and_verified(convert, how, head):
    pytest.importorskip("torch")
    pytest.importorskip("faster_coco_eval")
    result = convert(f"{how} --head {head} {DATA} --json")
    found = json.loads(result.stdout)["net.onnx"]
    assert found["precision"] in ("float16", "int8")
    assert set(found["likeness"]["errors"]) == {
        "raw": {"007_yolo"}, "boxes": {"boxes", "scores"}, "nms": set()
    }[head.split()[0]]  # fmt: skip
    assert found["likeness"]["f1"] > 0.6
    assert all(ms > 0 for ms in found["latency"]["milliseconds"].values())
    result = convert("--json", command=f"eval net.onnx {DATA}")
    assert json.loads(result.stdout)["ap"] == pytest.approx(found["ap"][1])
    assert ("AP would count more" in result.stderr) == (head == "nms")
    convert("", command="verify net.cfg net.weights net.onnx --image p/0.png")
    convert("", command="detect net.onnx p/0.png")


def test_eight_bits_of_another_model_are_found(convert):
    pytest.importorskip("torch")
    convert("--int8 --min-agreement 0 --calibrate p")
    dc.save(random_model(network(BODY, SHAPE), seed=1), "net.cfg", "net.weights")
    result = convert("--image p/0.png", 1, "verify net.cfg net.weights net.onnx")
    assert "was made from another weights file" in result.stderr


def test_half_precision_without_pictures_is_compared_on_noise(convert):
    result = convert("--fp16")
    assert "relative error of 007_yolo" in result.stdout
    assert "F1" not in result.stdout
    assert "compared on 4 inputs; median of " in result.stderr


def test_layers_that_leave_half_precision_are_named(convert, folder):
    model = dc.load("net.cfg", "net.weights")
    large = model.arrays["0.biases"] + np.float32(6e4)
    grown = dc.replace_arrays(
        model, {"0.biases": large, "0.scales": model.arrays["0.scales"] * np.float32(1e4)}
    )
    dc.save(grown, "net.cfg", "net.weights")
    result = convert("--fp16")
    assert "net.cfg:" in result.stderr
    assert "layer 0 [convolutional]: reaches " in result.stderr
    assert "half precision ends at 65504" in result.stderr


def test_broken_pictures_are_left_out(convert, folder):
    (folder / "p" / "6.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = convert("--int8 --min-agreement 0 --calibrate p")
    assert "6.png" in result.stderr
    assert "compared on 6 pictures" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--int8", "--int8 needs --calibrate"),
        ("--fp16 --int8 --calibrate p", "choose one"),
        ("--calibrate p", "--calibrate is about --int8"),
        ("--fp16 --reduce-range", "--reduce-range is about --int8"),
        ("--fp16 --min-agreement 0", "--min-agreement is about --int8"),
        ("--int8-form symmetric", "--int8-form is about --int8"),
        ("--data p", "--data is about --fp16 and --int8"),
        ("--json", "--json is about --fp16 and --int8"),
        ("--int8 --calibrate p --no-fold", "--int8 and --no-fold exclude each other"),
        ("--int8 --calibrate p --external", "--int8 and --external exclude each other"),
    ],
)
def test_options_that_do_not_go_together(convert, options, message):
    assert message in convert(options, status=2).stderr


def test_precision_is_about_files_that_run(convert):
    result = convert("--fp16", 2, "convert net.cfg net.weights -o net.safetensors")
    assert "--fp16 is about .onnx and .tflite files, and none is written" in result.stderr
