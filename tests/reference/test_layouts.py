"""The layouts of labelling tools, made of photographs: the same AP of a real model for each."""

import functools
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.dataset import open_dataset
from darkconv.dataset.classes import matched
from darkconv.detection.engine import make_engine
from darkconv.evaluation.comparison import Comparison, rule_of
from layouts import SCRIPT
from test_layouts import NAMED, NUMBERED, stem

MODEL = "mobilenetv2-yolo-fastest-voc-v2"
WHOLE, HALF, TWO = 0.5069175045641173, 0.511649426915309, 0.6666666666666666
OTHER_SPELLINGS = {
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}


@pytest.fixture(scope="module")
def layouts(data_dir, tmp_path_factory):
    """All layouts, of the photographs that the script is written for."""
    if not (data_dir / "indoor85").is_dir():
        pytest.skip(f"no data set at {data_dir / 'indoor85'}")
    root = tmp_path_factory.mktemp("photographs")
    (root / "cases/datasets").mkdir(parents=True)
    (root / "data").symlink_to(data_dir)
    script = root / "cases/datasets" / SCRIPT.name
    script.write_bytes(SCRIPT.read_bytes())
    subprocess.run([sys.executable, str(script), str(root / "made")], check=True)
    return root / "made"


@pytest.fixture(scope="module")
def found_in(models_dir):
    """What the model finds in a picture, looked for once."""
    cfg = models_dir / MODEL / f"{MODEL}.cfg"
    if not cfg.is_file():
        pytest.skip(f"no model {MODEL} in {models_dir}")
    model = dc.load(cfg, cfg.with_suffix(".weights"))
    detector = make_engine(model, threshold=0.005)
    known = {}

    def find(image):
        key = image.read_bytes()
        if key not in known:
            x, fit = detector.prepare(image)
            known[key] = detector.find([v[0] for v in detector.run(x)], fit)
        return known[key]

    find.names = model.names
    return find


def average_precision(found_in, dataset):
    dataset, _ = matched(dataset, found_in.names)
    classes = [name for name in found_in.names if any(name in s.names for s in dataset.samples)]
    found = [found_in(sample.image) for sample in dataset.samples]
    return Comparison.of(found, dataset, classes, rule_of("voc", 0.5)).figures(0.25)[1].ap


@pytest.fixture(scope="module")
def ap(found_in):
    return functools.partial(average_precision, found_in)


@pytest.mark.parametrize("name", [*NUMBERED, *NAMED])
def test_every_layout_has_the_same_ap(layouts, ap, name):
    dataset = open_dataset(layouts / name)
    dataset = dc.Dataset(
        tuple(sorted(dataset.samples, key=stem)), dataset.names, dataset.source
    )  # equal scores count in the order of the pictures
    assert ap(dataset) == pytest.approx(WHOLE, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("half_voc", HALF),
        ("half_coco/result.json", HALF),
        ("half_yolo", HALF),
        ("over_voc", WHOLE),
        ("over_yolo", WHOLE),
    ],
)
def test_boxes_of_another_size_and_beyond_the_edge(layouts, ap, name, expected):
    assert ap(open_dataset(layouts / name)) == pytest.approx(expected, abs=1e-12)


def test_a_split_is_measured_alone(layouts, ap):
    assert ap(open_dataset(layouts / "rf_darknet", split="valid")) == pytest.approx(TWO, abs=1e-12)
    assert ap(open_dataset(layouts / "rf_v5/data.yaml", split="val")) == pytest.approx(TWO)


def test_other_spellings_are_the_same_classes(layouts, ap):
    dataset = open_dataset(layouts / "voc_ref", rename=OTHER_SPELLINGS)
    assert ap(dataset) == pytest.approx(WHOLE, abs=1e-12)


def test_coco128_is_evaluated_by_its_own_file(data_dir, models_dir, monkeypatch):
    folder, model = data_dir / "coco128", models_dir / "yolov3-tiny/yolov3-tiny"
    if not folder.is_dir() or not model.with_suffix(".cfg").is_file():
        pytest.skip("no coco128, or no yolov3-tiny")
    monkeypatch.chdir(folder)
    words = ["eval", f"{model}.cfg", f"{model}.weights", "--data", "config.yaml"]
    result = CliRunner().invoke(main, [*words, "--split", "train", "--limit", "16", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["left_out"] == []
    assert found["coco50"] > 0.3


def test_coco128_is_read_as_it_came(data_dir):
    folder = data_dir / "coco128"
    if not folder.is_dir():
        pytest.skip(f"no data set at {folder}")
    for source in (folder, folder / "config.yaml", folder / "images/train2017"):
        found = open_dataset(source)
        assert len(found) == 128
        assert sum(len(sample.names) for sample in found.samples) == 929
        assert len(found.names) == 80
