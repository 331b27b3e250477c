"""One meaning in every form: each head, with values of any size, finds in every file what it finds.

The reference is `decode` of the traced network, which follows the C program's own rules.
"""

import logging

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.detection.detect import detections, fitted_picture
from darkconv.detection.exported import FileEngine
from darkconv.errors import DarkconvError
from darkconv.layers.box_heads import CONFIDENCES, box_outputs
from networks import network, random_model

SHAPE = (3, 6, 10)
CONV = "[convolutional]\nfilters={n}\nactivation={act}\n"
YOLO = "[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n"
NEW = YOLO + "new_coords=1\n"
REGION = "[region]\nclasses=3\nnum=2\nanchors=2,3,4,1\n"
GAUSSIAN = "[Gaussian_yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n"
BODIES = {
    "yolo": CONV.format(n=16, act="linear") + YOLO,
    "stretched": CONV.format(n=16, act="linear") + YOLO + "scale_x_y=1.2\n",
    "new coords": CONV.format(n=16, act="logistic") + NEW + "scale_x_y=2\n",
    "new coords, linear": CONV.format(n=16, act="linear") + NEW,
    "new coords, leaky": CONV.format(n=16, act="leaky") + NEW + "scale_x_y=1.05\n",
    "new coords, route": CONV.format(n=16, act="linear") + "[route]\nlayers=-1\n" + NEW,
    "new coords, mixed": CONV.format(n=16, act="linear")
    + NEW
    + "[route]\nlayers=0\n"
    + CONV.format(n=16, act="logistic")
    + NEW,
    "new coords, unlike": CONV.format(n=16, act="linear")
    + NEW
    + "[route]\nlayers=0\n[maxpool]\nstride=2\n"
    + CONV.format(n=24, act="linear")
    + GAUSSIAN,
    "Gaussian": CONV.format(n=24, act="linear") + GAUSSIAN,
    "left top": CONV.format(n=24, act="linear") + GAUSSIAN + "yolo_point=left_top\n",
    "region": CONV.format(n=16, act="linear") + REGION,
    "softmax": CONV.format(n=16, act="linear") + REGION + "softmax=1\n",
    "classfix": CONV.format(n=16, act="linear") + REGION + "softmax=1\nclassfix=-1\n",
    "background": CONV.format(n=16, act="linear") + REGION + "softmax=1\nbackground=1\n",
    "detection": "[connected]\noutput=117\nactivation=linear\n"
    "[detection]\nclasses=3\nnum=2\ncoords=4\nside=3\nsqrt=1\n",
}
FIRST = ("pjreddie", ("yolo", "region", "softmax", "background", "detection"))
CASES = [(name, "alexeyab") for name in BODIES if name != "background"]
CASES += [(name, FIRST[0]) for name in FIRST[1]]
CASES += [("yolo", "yolor")]
THRESHOLDS = (0.02, 0.25, 0.9)
VARIANTS = ("stretched", "left top", "softmax", "new coords, leaky", "new coords, route")
"""Of others, of which LiteRT files are enough: they take seconds each."""
NEAR = 1e-4  # of a threshold: rounding decides


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[1]}, {case[0]}")
def model(request):
    """The first that finds many boxes at the lowest threshold, and fewer at the highest."""
    name, dialect = request.param
    for seed in range(100):
        plain = random_model(network(BODIES[name], SHAPE, dialect), seed=seed)
        model = dc.replace_arrays(plain, {key: 4 * array for key, array in plain.arrays.items()})
        counts = [len(right(model, threshold)) for threshold in THRESHOLDS]
        if counts[0] > max(20, counts[-1]):
            return model
    raise AssertionError("none finds boxes")


def picture():
    return np.random.default_rng(5).integers(0, 256, (*SHAPE[1:], 3), np.uint8)


def right(model, threshold):
    """What the reference finds: (class, score, box) of every box and class."""
    _, fit = fitted_picture(model.network, picture(), None)
    layers = dc.trace(model, fit.apply(picture()))
    outputs = [layers[index] for index in model.network.outputs]
    return detections(model, outputs, fit, threshold=threshold, nms=0)


def assert_same(found, expected, threshold):
    """Each has its like in the other, but for those so near the threshold that either may be."""
    left = list(found)
    for one in expected:
        like = [other for other in left if is_like(one, other)]
        assert like or one.score < threshold + NEAR, one
        if like:
            left.remove(like[0])
    assert not [one for one in left if one.score > threshold + NEAR]


def is_like(one, other):
    return (
        one.class_id == other.class_id
        and abs(one.score - other.score) < NEAR * max(1, abs(one.score))
        and np.allclose(one.box, other.box, rtol=1e-3, atol=1e-2)
    )


def assert_finds(model, file, threshold):
    detector = FileEngine(file, threshold, 0)
    x, fit = detector.prepare(picture())
    assert_same(
        detector.find([v[0] for v in detector.run(x)], fit), right(model, threshold), threshold
    )


@pytest.mark.parametrize("backend", ["torch", "onnx", "keras"])
def test_detect_decodes_raw_values_as_activated_ones(model, backend):
    pytest.importorskip({"onnx": "onnxruntime"}.get(backend, backend))
    for threshold in THRESHOLDS:
        found = dc.detect(model, picture(), threshold, 0, backend=backend)
        assert_same(found, right(model, threshold), threshold)


@pytest.mark.parametrize("axes", ["none", "batch,size"])
@pytest.mark.parametrize("head", ["raw", "boxes", "nms", "inputs"])
def test_onnx_files_find_the_same(model, head, axes, tmp_path):
    pytest.importorskip("onnxruntime")
    from darkconv.backends.onnx import read_onnx, write_onnx

    if "size" in axes and model.network.layers[-1].type == "detection":
        pytest.skip("its grid is fixed")
    options = {"head": head, "dynamic": axes, "nms": 0}
    if head == "inputs":
        options |= {"head": "nms", "threshold_inputs": True}
    if options["head"] == "nms":
        options["max_detections"] = 2000
    path = tmp_path / "net.onnx"
    for threshold in THRESHOLDS:
        if head == "nms" or not path.exists():
            write_onnx(model, path, threshold=threshold, **options)
        assert_finds(model, read_onnx(path), threshold)


@pytest.mark.parametrize("head", ["raw", "boxes"])
def test_keras_files_find_the_same(model, head, tmp_path):
    pytest.importorskip("keras")
    from darkconv.backends.keras import read_keras_file, to_keras, write_keras

    write_keras(to_keras(model, head=head), tmp_path / "net.keras")
    file = read_keras_file(tmp_path / "net.keras")
    for threshold in THRESHOLDS:
        assert_finds(model, file, threshold)


def test_litert_files_find_the_same(model, tmp_path, request):
    pytest.importorskip("ai_edge_litert")
    if any(f", {name}]" in request.node.name for name in VARIANTS):
        pytest.skip("a variant: see VARIANTS")
    from darkconv.backends.keras import read_litert, write_litert

    write_litert(model, tmp_path / "net.tflite", head="boxes")
    file = read_litert(tmp_path / "net.tflite")
    for threshold in THRESHOLDS:
        assert_finds(model, file, threshold)


@pytest.mark.parametrize(("name", "dialect"), CASES)
def test_confidences_are_given_where_a_score_can_exceed_objectness(name, dialect):
    has_some = name.startswith("new coords, ")
    assert (CONFIDENCES in box_outputs(network(BODIES[name], SHAPE, dialect))) == has_some


@pytest.mark.parametrize(
    ("objectness", "score", "threshold", "count"),
    [(-1, -0.9, 0.5, 0), (0.3, 2.5, 0.5, 0), (0.3, 2.5, 0.25, 60), (0.6, 0.9, 0.5, 60)],
)
@pytest.mark.parametrize("head", ["boxes", "nms"])
def test_scores_pass_where_objectness_and_product_do(head, objectness, score, threshold, count):
    onnxruntime = pytest.importorskip("onnxruntime")
    body = CONV.format(n=6, act="linear") + "[yolo]\nclasses=1\nanchors=8,8\nnew_coords=1\n"
    net = network(body, SHAPE)
    arrays = {
        "0.weights": np.zeros((6, 3, 1, 1), np.float32),
        "0.biases": np.array([0.5, 0.5, 0.5, 0.5, objectness, score], np.float32),
    }
    model = dc.replace_arrays(random_model(net), arrays)
    proto = dc.to_onnx(model, head=head, threshold=threshold, nms=0, pixels=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    values = dict(
        zip(names, session.run(None, {"input": np.zeros((1, *SHAPE), "f4")}), strict=True)
    )
    passing = values["scores"] > np.float32(threshold)
    assert np.count_nonzero(passing) == count
    reported = values.get("confidences", values["scores"])[passing]
    np.testing.assert_allclose(reported, objectness * score, rtol=1e-6)


def test_a_graph_that_has_tested_objectness_takes_no_higher_threshold(tmp_path):
    pytest.importorskip("onnxruntime")
    from darkconv.backends.onnx import read_onnx, write_onnx

    model = random_model(network(BODIES["new coords, linear"], SHAPE))
    write_onnx(model, tmp_path / "net.onnx", head="nms", threshold=0.25)
    file = read_onnx(tmp_path / "net.onnx")
    FileEngine(file, 0.25)
    with pytest.raises(DarkconvError, match=r"expected 0.25, with which .* found 0.5"):
        FileEngine(file, 0.5)


def with_objects(model):
    """The model, with scores, and with boxes so large that rounding decides no overlap."""
    more = np.tile([0, 0, 3, 3, 1, 1, 1, 1], 2)
    biases = {key: array + more for key, array in model.arrays.items() if key.endswith("biases")}
    return dc.replace_arrays(model, biases)


@pytest.mark.parametrize("name", ["new coords", "new coords, linear", "new coords, mixed"])
@pytest.mark.parametrize("form", ["boxes", "nms", "nms --threshold-inputs", "nms --threshold 0.9"])
def test_verify_compares_what_objectness_lets_through(name, form, tmp_path):
    pytest.importorskip("onnxruntime")
    model = with_objects(random_model(network(BODIES[name], SHAPE), seed=3))
    net = [str(tmp_path / "net.cfg"), str(tmp_path / "net.weights")]
    dc.save(model, *net)
    file = str(tmp_path / "net.onnx")
    for words in (["convert", *net, "-o", file, "--head", *form.split()], ["verify", *net, file]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    moved = {key: array * np.float32(1.1) for key, array in model.arrays.items()}
    dc.save(dc.replace_arrays(model, moved), *net)
    assert CliRunner().invoke(main, ["verify", *net, file]).exit_code == 1
