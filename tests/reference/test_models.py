"""The real trained models: layers from stored inputs, detections from stored inputs and files."""

import json

import numpy as np
import pytest

import darkconv as dc
from darkconv.backends import spoke
from darkconv.detection.detect import detections
from darkconv.pictures.picture import PictureFit
from reference.collection import BACKENDS

MODES = {"letterbox": "letterbox", "resize": "stretch"}
# golden/models/README.md, for the stored inputs
HEAD_TOLERANCE = 1e-3
LAYER_TOLERANCE = 1e-3
SCORE_TOLERANCE = 1e-4
PIXEL_TOLERANCE = 0.05


class RealModel:
    """A model, what the C program made of it, and the pictures."""

    def __init__(self, folder, golden_dir, data_dir):
        name = folder.name
        self.folder = folder
        self.files = folder / f"{name}.cfg", folder / f"{name}.weights"
        self.model = dc.load(*self.files)
        stored = golden_dir / "models" / f"{name}.json"
        if not stored.is_file():
            pytest.skip(f"no stored results at {stored}")
        self.results = json.loads(stored.read_text())
        with np.load(stored.with_suffix(".npz")) as arrays:
            self.tensors = dict(arrays)
        shape = self.model.network.input_shape
        with np.load(golden_dir / "models" / f"inputs-{shape.w}x{shape.h}.npz") as arrays:
            self.inputs = dict(arrays)
        self.data_dir = data_dir

    def picture(self, name):
        found = sorted(self.data_dir.glob(f"**/{name}"))
        if not found:
            pytest.skip(f"no picture {name} in {self.data_dir}")
        return found[0]


@pytest.fixture(scope="module")
def model_case(request, golden_dir, data_dir):
    return RealModel(request.param, golden_dir, data_dir)


def test_files_are_written_byte_for_byte(model_case, tmp_path):
    for model in (model_case.model, dc.from_torch(dc.to_torch(model_case.model))):
        dc.save(model, tmp_path / "a.cfg", tmp_path / "a.weights")
        for name, original in zip(("a.cfg", "a.weights"), model_case.files, strict=True):
            assert (tmp_path / name).read_bytes() == original.read_bytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_layers_and_heads_have_the_numbers_of_c(model_case, backend):
    network = model_case.model.network
    checked = 0
    for key, x in model_case.inputs.items():
        layers = dc.trace(model_case.model, x, backend=backend)
        for name, places in model_case.tensors.items():
            if not name.startswith(f"{key}|"):
                continue
            what = name.removeprefix(f"{key}|")
            checked += 1
            if what.endswith("|idx"):
                values = layers[int(what[1:-4])].ravel()[places]
                close(values, model_case.tensors[name[:-3] + "val"], LAYER_TOLERANCE, name)
            elif what.endswith("|out_idx"):
                values = layers[int(what[4:-8])].ravel()[places]
                close(values, model_case.tensors[name[:-3] + "val"], HEAD_TOLERANCE, name)
            elif what.endswith("|raw"):
                head = network.layers[int(what[4:-4])]
                close(layers[head.sources[0]], places, HEAD_TOLERANCE, name)
    assert checked > 0


def close(found, expected, tolerance, what):
    error = np.abs(found - expected).max()
    assert error <= tolerance, f"{what}: off by {error:.2e}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_stored_inputs_give_the_stored_detections(model_case, backend):
    model, shape = model_case.model, model_case.model.network.input_shape
    run = spoke(backend).make_runner(model)
    for key, x in model_case.inputs.items():
        name, mode = key.split("|")
        if name not in model_case.results["images"]:
            continue
        result = model_case.results["images"][name]
        fit = PictureFit(
            (result["width"], result["height"]), (shape.w, shape.h), mode == "letterbox"
        )
        outputs = [value[0] for value in run(x[None])]
        plain = detections(model, outputs, fit, nms_kind="sort")
        same(plain, result[mode]["detections"])
        own = result[mode].get("detections_cfg_nms", result[mode]["detections"])
        same(detections(model, outputs, fit), own)


def same(found, expected):
    """One for one, best first."""
    assert len(found) == len(expected)
    for entry in expected:
        errors = {
            d: max(abs(a - b) for a, b in zip(d.box, corners(entry), strict=True))
            for d in found
            if d.class_id == entry["class_id"] and abs(d.score - entry["prob"]) <= SCORE_TOLERANCE
        }
        assert errors, f"not found: {entry}"
        assert min(errors.values()) <= PIXEL_TOLERANCE, f"moved: {entry}"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_picture_files_give_the_stored_detections(model_case, backend, mode):
    for name, result in model_case.results["images"].items():
        found = dc.detect(
            model_case.model,
            model_case.picture(name),
            resize=MODES[mode],
            nms_kind="sort",
            backend=backend,
            exact=True,
        )
        matches(found, result[mode]["detections"], iou=0.99, score=1e-3, slack=1e-3)


def matches(found, expected, *, iou, score, slack):
    """Each stored box is found and each found one stored.

    Within `slack` of the threshold an entry may come or go: DESIGN.md §6.
    """
    left = list(found)
    for entry in expected:
        box = corners(entry)
        near = [
            d
            for d in left
            if d.class_id == entry["class_id"]
            and overlap(d.box, box) >= iou
            and abs(d.score - entry["prob"]) <= score
        ]
        if near:
            left.remove(max(near, key=lambda d: overlap(d.box, box)))
        else:
            assert entry["prob"] - 0.25 <= slack, f"not found: {entry}"
    for extra in left:
        assert extra.score - 0.25 <= slack, f"not stored: {extra}"


def corners(entry):
    x, y, w, h = (entry[k] for k in "xywh")
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / (areas - width * height)
