"""`darkconv verify` with ONNX files of other tools, and with files of less precision."""

import json
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from networks import cfg_text, network, random_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=16\nactivation=linear\n"
)
YOLO = "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\nscale_x_y=1.1\n"
TWO = (
    BODY
    + YOLO.replace("num=2", "mask=0,1\nnum=3").replace("6,7", "6,7,9,9")
    + "[route]\nlayers=0\n"
    "[maxpool]\nstride=2\n[convolutional]\nfilters=8\nactivation=linear\n"
    + YOLO.replace("num=2", "mask=2\nnum=3").replace("6,7", "6,7,9,9")
)
SHAPE = (3, 16, 24)
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@pytest.fixture
def write(tmp_path, monkeypatch, caplog):
    """A function that writes net.cfg and net.weights, and gives the model."""
    monkeypatch.chdir(tmp_path)

    def written(body=BODY + YOLO, seed=0, shape=SHAPE):
        with caplog.at_level(logging.CRITICAL, "darkconv"):
            model = random_model(network(body, shape), seed=seed)
        (tmp_path / "net.cfg").write_text(cfg_text(body, shape))
        dc.save(model, "net.cfg", "net.weights")
        return model

    return written


def verify(status=0, options=""):
    line = f"verify net.cfg net.weights other.onnx {options}"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == status, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def save_foreign(proto):
    """As another tool's file: it says nothing of itself."""
    del proto.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, "other.onnx")


def add_output(proto, node, name, dims, kind=FLOAT):
    """Append a node as an output of the graph."""
    proto.graph.node.append(node)
    proto.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, dims))


def reshaped(proto, source, target, dims):
    """Append a Reshape; its shape is a constant."""
    shape = onnx.numpy_helper.from_array(np.array(dims, np.int64), f"{target}.shape")
    proto.graph.initializer.append(shape)
    proto.graph.node.append(onnx.helper.make_node("Reshape", [source, shape.name], [target]))


def names_in(result):
    _, *rows, verdict = result.stdout.splitlines()
    assert verdict.startswith("model and file ")
    return [line.split("  ")[0] for line in rows]


@pytest.mark.parametrize("body", [BODY + YOLO, TWO], ids=["one head", "two heads"])
def test_what_torch_exports_is_matched(write, body):
    module = dc.to_torch(write(body)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(1, *SHAPE),), "other.onnx", dynamo=False)
    found = [name.split(": ")[1] for name in names_in(verify())]
    assert found == (["002_yolo"] if body != TWO else ["002_yolo", "006_yolo"])


def test_values_before_activation_are_matched(write):
    model = write()
    save_foreign(dc.to_onnx(random_model(network(BODY, SHAPE))))
    result = verify()
    assert names_in(result) == ["001_convolutional: 002_yolo before activation"]
    assert len(model.network.layers) == 3


@pytest.mark.parametrize(
    ("perm", "dims", "what"),
    [
        ((0, 2, 3, 1), None, "002_yolo, channels last"),
        (None, (0, 2, 8, 8, 12), "002_yolo, anchors apart"),
        ((0, 1, 3, 4, 2), (0, 2, 8, 8, 12), "002_yolo, anchors apart, entries last"),
    ],
)
def test_other_orders_of_axes_are_matched(write, perm, dims, what):
    proto = dc.to_onnx(write())
    proto.graph.output.pop()
    value = "002_yolo"
    if dims:
        reshaped(proto, value, "apart", dims)
        value = "apart"
    out = [8, 12, 16] if perm and not dims else [2, 8, 12, 8] if perm else [2, 8, 8, 12]
    node = onnx.helper.make_node("Transpose", [value], ["y"], perm=perm or range(len(out) + 1))
    add_output(proto, node, "y", ["batch", *out])
    save_foreign(proto)
    assert names_in(verify()) == [f"y: {what}"]


@pytest.mark.parametrize("body", [BODY + YOLO, TWO], ids=["one head", "two heads"])
@pytest.mark.parametrize("pixels", [False, True])
def test_boxes_and_scores_are_matched(write, body, pixels):
    save_foreign(dc.to_onnx(write(body), head="boxes", pixels=pixels))
    unit = "in pixels" if pixels else "relative"
    assert names_in(verify()) == [
        f"boxes: boxes of all heads, corners, {unit}",
        "scores: scores of all heads",
    ]


def test_boxes_anchor_by_anchor_are_matched(write):
    """As the tools that export from PyTorch write them, (N, n, 1, 4)."""
    proto = dc.to_onnx(write(), head="boxes")
    del proto.graph.output[:]
    for name, last, shape in (("boxes", 4, (1, 4)), ("scores", 3, (3,))):
        reshaped(proto, name, f"{name}.cells", (0, 96, 2, last))
        turn = onnx.helper.make_node(
            "Transpose", [f"{name}.cells"], [f"{name}.turned"], perm=[0, 2, 1, 3]
        )
        proto.graph.node.append(turn)
        reshaped(proto, f"{name}.turned", f"{name}.rows", (0, 192, *shape))
        node = onnx.helper.make_node("Identity", [f"{name}.rows"], [f"{name}.out"])
        add_output(proto, node, f"{name}.out", ["batch", 192, *shape])
    save_foreign(proto)
    assert names_in(verify()) == [
        "boxes.out: boxes of all heads, corners, relative, cells innermost",
        "scores.out: scores of all heads, cells innermost",
    ]


def test_what_is_not_matched_is_told(write):
    proto = dc.to_onnx(write(TWO))
    proto.graph.output.pop()
    reshaped(proto, "002_yolo", "flat", (0, -1, 2))
    node = onnx.helper.make_node("Identity", ["flat"], ["more"])
    add_output(proto, node, "more", ["batch", 768, 2])
    save_foreign(proto)
    result = verify()
    assert names_in(result) == ["002_yolo: 002_yolo"]
    assert "other.onnx: output more (1, 768, 2) is like nothing" in result.stderr
    assert "other.onnx: no output is like 006_yolo" in result.stderr


def test_a_file_without_any_match_is_an_error(write):
    save_foreign(dc.to_onnx(random_model(network(BODY.replace("16", "5"), SHAPE))))
    write()
    text = verify(1).stderr
    assert "other.onnx: no output has the shape of a head, or of boxes and scores" in text
    assert "expected (16, 8, 12)" in text
    assert "found 001_convolutional ['batch', 5, 8, 12]" in text


def test_other_weights_are_found(write):
    save_foreign(dc.to_onnx(write(seed=1)))
    write()
    entries = json.loads(verify(1, "--json").stdout)["rows"]
    assert [entry["name"] for entry in entries] == ["002_yolo: 002_yolo"]
    assert entries[0]["error"] > 1e-2 > entries[0]["allowed"]
    verify(1, "--report v.html")
    text = Path("v.html").read_text()
    assert "other.onnx does not give what net.cfg gives: 002_yolo: 002_yolo" in text


@pytest.mark.parametrize("options", [
    {"dynamic": ()}, {"dynamic": "batch,size"}, {"input": "uint8-nhwc"}, {"head": "boxes"}
], ids=str)  # fmt: skip
def test_every_kind_of_input_is_understood(write, options):
    save_foreign(dc.to_onnx(write(), **options))
    verify()


def test_the_model_takes_the_size_that_a_file_is_fixed_to(write):
    model = write()
    save_foreign(dc.to_onnx(model.with_input_size(40, 32)))
    verify()


def test_a_file_with_another_input_is_refused(write):
    save_foreign(dc.to_onnx(random_model(network(BODY, (1, 16, 24)))))
    write()
    text = verify(1).stderr
    assert "expected one of shape (N, 3, height, width), found input ['batch', 1, 16, 24]" in text


def test_classifiers_are_matched(write):
    body = BODY + "[avgpool]\n[softmax]\n"
    save_foreign(dc.to_onnx(write(body)))
    assert names_in(verify()) == ["003_softmax: 003_softmax"]


def test_half_precision_is_seen_and_allowed_more(write):
    save_foreign(dc.to_onnx(write(), fp16=True))
    (entry,) = json.loads(verify(0, "--json").stdout)["rows"]
    assert 1e-4 < entry["error"] < entry["allowed"] == 1e-2


def test_float32_is_allowed_no_more_than_before(write):
    model = write()
    proto = dc.to_onnx(model)
    (weights,) = (i for i in proto.graph.initializer if i.name == "001_convolutional/weights")
    values = onnx.numpy_helper.to_array(weights) * np.float32(1.001)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(proto, "other.onnx")
    (entry,) = json.loads(verify(1, "--json").stdout)["rows"]
    assert entry["allowed"] == 1e-4
