"""dc.evaluate: the result, its page and its view, and what is said of what does not count."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.assets import digits10_folder, load_digits10
from darkconv.cli import main
from darkconv.dataset import ClassifiedDataset
from darkconv.evaluation.evaluate import evaluate

pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(digits10):
    return digits10


@pytest.fixture(scope="module")
def result():
    pytest.importorskip("faster_coco_eval")
    return dc.evaluate(load_digits10(), digits10_folder() / "digits10.data")


def figures(result):
    """All but the seconds."""
    return {key: value for key, value in result.to_dict().items() if key != "seconds"}


def test_the_mean_and_every_class_have_the_same_figures(result):
    assert isinstance(result, dc.Evaluation)
    assert [one.name for one in result.classes] == list(load_digits10().names)
    for one in (*result.classes, result.mean):
        shares = (one.ap, one.ap11, one.coco50, one.coco)
        assert all(0.5 < share <= 1 for share in shares)
        assert one.boxes > 0
    assert result.mean.ap == pytest.approx(sum(one.ap for one in result.classes) / 10)
    assert result.mean.boxes == sum(one.boxes for one in result.classes)
    assert result.mean.top1 is None


def test_the_dictionary_is_what_the_command_prints(result, folder):
    line = "eval digits10.cfg digits10.weights --data digits10.data --json"
    found = json.loads(CliRunner().invoke(main, line.split()).stdout)
    own = json.loads(json.dumps(result.to_dict()))
    assert set(found) == set(own)
    for key in set(own) - {"seconds"}:
        assert found[key] == own[key], key
    assert own["mean"]["ap"] == result.mean.ap


def test_it_shows_itself_in_a_line_and_as_a_table(result):
    assert repr(result).startswith("Evaluation of digits10: 30 pictures of digits10.data, 10 cl")
    assert len(repr(result)) < 200
    assert result._repr_html_().count("<tr>") == 12


def test_a_page_is_written(result, tmp_path):
    result.report(tmp_path / "page.html")
    assert "Evaluation of digits10" in (tmp_path / "page.html").read_text()


def test_coco_is_not_measured_where_nobody_asks(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    found = dc.evaluate(load_digits10(), digits10_folder() / "digits10.data", coco=False)
    assert found.mean.coco is None
    assert found.mean.ap > 0.99
    with pytest.raises(dc.MissingDependencyError, match="COCO's average precision"):
        dc.evaluate(load_digits10(), digits10_folder() / "digits10.data")


def test_a_data_set_and_an_exported_file_do_as_well(result, folder):
    pytest.importorskip("onnxruntime")
    dc.export(load_digits10(), "m.onnx", head="boxes")
    found = dc.evaluate(Path("m.onnx"), dc.open_dataset("digits10.data"))
    assert found.model == "m"
    assert found.runner == "onnxruntime"
    assert found.mean.ap == pytest.approx(result.mean.ap, abs=1e-3)


def test_left_out_classes_and_unread_pictures_stand_in_the_result_and_on_the_page(folder, caplog):
    names = (folder / "digits10.names").read_text().replace("seven", "sevn")
    (folder / "digits10.names").write_text(names)
    broken = sorted((folder / "images").glob("*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:-900])
    with caplog.at_level(logging.WARNING, "darkconv"):
        found = dc.evaluate(load_digits10(), "digits10.data", coco=False)
    assert [one.name for one in found.left_out] == ["sevn"]
    assert found.left_out[0].nearest == ("seven",)
    (unread,) = found.unread
    assert Path(unread.picture).name == broken.name
    assert found.to_dict()["unread"] == [{"picture": unread.picture, "reason": unread.reason}]
    assert sum("sevn=seven counts them" in text for text in caplog.messages) == 1
    assert any("1 of 30 pictures could not be read" in text for text in caplog.messages)
    assert "not read" in repr(found)
    assert "left out sevn" in repr(found)
    found.report("page.html")
    page = Path("page.html").read_text()
    assert "Classes of the labels that the model does not have" in page
    assert '<td class="name">sevn</td>' in page
    assert broken.name in page.split("Pictures that could not be read")[1]


def test_the_first_broken_picture_ends_it_where_that_is_wanted(folder):
    broken = sorted((folder / "images").glob("*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:-900])
    with pytest.raises(dc.DatasetError, match=broken.name):
        dc.evaluate(load_digits10(), "digits10.data", coco=False, unreadable="raise")


def test_spellings_of_the_models_classes_count(folder):
    plain = dc.evaluate(load_digits10(), "digits10.data", coco=False)
    names = (folder / "digits10.names").read_text().replace("seven", "Se-ven")
    (folder / "digits10.names").write_text(names)
    other = dc.evaluate(load_digits10(), dc.open_dataset("digits10.data"), coco=False)
    assert other.mean.ap == plain.mean.ap
    assert not other.left_out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rule": "pascal"}, "rule"),
        ({"iou": 50}, "iou"),
        ({"batch": 0}, "batch"),
        ({"at": -1.0}, "at"),
        ({"unreadable": "ignore"}, "unreadable"),
    ],
)
def test_wrong_options_are_told_before_anything_runs(options, text):
    with pytest.raises(dc.DarkconvError, match=text):
        evaluate(load_digits10(), "no such data", **options)


def test_a_detector_needs_boxes():
    dataset = ClassifiedDataset(((Path("a.png"), 0),), ("a",), "photos")
    with pytest.raises(dc.DatasetError, match="a detector is measured on pictures with boxes"):
        dc.evaluate(load_digits10(), dataset, coco=False)


CLASSIFIER = (
    "[net]\nwidth=16\nheight=16\nchannels=3\n\n[convolutional]\nfilters=3\nsize=3\nstride=2\n"
    "activation=leaky\n\n[avgpool]\n\n[softmax]\n"
)
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


@pytest.fixture
def classifier(tmp_path, monkeypatch):
    """A network that learned nothing, and pictures of three colours."""
    monkeypatch.chdir(tmp_path)
    Path("net.cfg").write_text(CLASSIFIER)
    Path("net.names").write_text("".join(f"{name}\n" for name in COLOURS))
    for number, (name, colour) in enumerate(COLOURS.items()):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for place in range(number + 2):
            Image.new("RGB", (20, 18), colour).save(tmp_path / "photos" / name / f"{place}.png")
    return dc.load("net.cfg")


def test_a_classifier_is_measured_by_the_share_that_is_right(classifier):
    found = dc.evaluate(classifier, "photos", batch=2)
    taken = {one.name: one.taken_for or one.name for one in found.classes}
    assert [one.pictures for one in found.classes] == [2, 3, 4]
    assert all(one.top1 == (taken[one.name] == one.name) for one in found.classes)
    assert found.mean.top1 == sum(one.top1 * one.pictures for one in found.classes) / 9
    assert found.mean.top5 == 1
    assert found.mean.ap is None
    own = found.to_dict()
    assert (own["pictures"], own["top1"], own["mean"]["top1"]) == (9, *[found.mean.top1] * 2)
    assert set(own["seconds"]) == {"reading", "network"}
    assert "top-1" in repr(found)
    found.report("page.html")
    assert "top-1" in Path("page.html").read_text()


def test_a_classifiers_file_does_as_its_model(classifier):
    pytest.importorskip("onnxruntime")
    dc.export(classifier, "net.onnx")
    file, model = dc.evaluate("net.onnx", "photos"), dc.evaluate(classifier, "photos")
    assert file.to_dict()["confusion"] == model.to_dict()["confusion"]
    with pytest.raises(dc.DarkconvError, match=r"net\.onnx runs by itself"):
        dc.evaluate("net.onnx", "photos", backend="torch")


def test_options_about_boxes_are_refused_for_a_classifier(classifier):
    with pytest.raises(dc.DarkconvError, match="rule and nms would do nothing"):
        dc.evaluate(classifier, "photos", rule="darknet", nms=0.3)
    with pytest.raises(dc.DatasetError, match="come from one source"):
        dc.evaluate(classifier, ["photos", "photos"])


def test_a_cfg_alone_has_learned_nothing_and_is_refused(classifier):
    with pytest.raises(dc.DarkconvError, match=r"net\.cfg: cannot be run by itself"):
        dc.evaluate("net.cfg", "photos")


TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SCRIPT = """
import json, os, sys
import darkconv as dc
from darkconv.assets import digits10_folder, load_digits10

found = dc.evaluate(load_digits10(), digits10_folder() / "digits10.data")
with open(f"{sys.argv[1]}/rank{os.environ['RANK']}.json", "w") as file:
    json.dump(found.to_dict(), file)
"""


@pytest.mark.slow
def test_two_processes_measure_what_one_measures(result, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [*TORCHRUN, tmp_path / "script.py", tmp_path]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ})
    for rank in range(2):
        found = json.loads((tmp_path / f"rank{rank}.json").read_text())
        found.pop("seconds")
        assert found == json.loads(json.dumps(figures(result)))


@pytest.fixture
def worse(folder):
    """A model that finds half of what there is, so that AP has digits."""
    pytest.importorskip("faster_coco_eval")
    model = load_digits10()
    model = dc.replace_arrays(model, {key: 0.8 * values for key, values in model.arrays.items()})
    dc.save(model, folder / "worse.cfg", folder / "worse.weights", names=folder / "worse.names")
    return model


def command(line):
    found = CliRunner().invoke(main, line.split())
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_model_file_module_and_command_have_one_ap(worse, folder):
    pytest.importorskip("lightning")
    pytest.importorskip("onnxruntime")
    from darkconv.training.validation import evaluate_module

    data = dc.open_dataset("digits10.data")
    mean = dc.evaluate(worse, data).mean
    assert 0.4 < mean.ap < 0.7
    letterbox = worse.network.options.letterboxes
    assert evaluate_module(dc.to_torch(worse), worse, data, letterbox=letterbox).mean.ap == mean.ap
    assert command("eval worse.cfg worse.weights --data digits10.data --json")["ap"] == mean.ap
    dc.export(worse, "worse.onnx")
    found = command("eval worse.onnx --data digits10.data --json")
    assert found["mean"]["ap"] == pytest.approx(mean.ap, abs=1e-3)
    assert dc.evaluate(worse, data, batch=1, coco=False).mean.ap == mean.ap


TRAINING = """
import json, os
import darkconv as dc
from darkconv.evaluation import detectors

looked_at = []
prepare = detectors.prepare_item

def noted(engine, item):
    looked_at.append(item.index)
    return prepare(engine, item)

detectors.prepare_item = noted
model = dc.load("worse.cfg", "worse.weights")
recipe = dc.Recipe(steps=2, batch=4, workers=0, evaluate_every=2, rate=1e-3, averaging=0)
run = dc.finetune(
    model, "digits10.data", valid="digits10.data", recipe=recipe, device="cpu", folder="run"
)
with open(f"rank{os.environ['RANK']}.json", "w") as file:
    json.dump({"looked_at": sorted(looked_at), "rows": run.history}, file)
"""


@pytest.mark.slow
def test_processes_share_the_pictures_that_training_is_measured_on(worse):
    pytest.importorskip("lightning")
    Path("script.py").write_text(TRAINING)
    subprocess.run([*TORCHRUN, "script.py"], check=True, capture_output=True, text=True)
    first, second = (json.loads(Path(f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["looked_at"] == [*range(8), *range(16, 24)]
    assert second["looked_at"] == [*range(8, 16), *range(24, 30)]
    (ap,) = {row["AP"] for row in (*first["rows"], *second["rows"]) if "AP" in row}
    assert 0.1 < ap < 0.99
    assert dc.evaluate("run/best.safetensors", "digits10.data").mean.ap == ap


def test_what_training_prints_is_what_eval_measures(worse):
    pytest.importorskip("lightning")
    data = "--data digits10.data --valid digits10.data"
    quick = "--steps 3 --batch 4 --workers 0 --device cpu --evaluate-every 1 --lr 1e-4"
    run = command(f"finetune worse.cfg worse.weights {data} {quick} -o out.cfg out.weights --json")
    best = max(row["AP"] for row in run["rows"])
    assert 0.2 < best < 1
    assert command("eval out.cfg out.weights --data digits10.data --json")["mean"]["ap"] == best


def test_a_data_set_shows_itself_in_a_line_and_as_a_table():
    data = dc.open_dataset(digits10_folder() / "digits10.data")
    assert "30 pictures" in repr(data)
    assert len(repr(data)) < 300
    found = data.to_dict()
    assert data._repr_html_().count("<tr>") == 11
    assert sum(one["boxes"] for one in found["classes"]) == found["boxes"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.slow
def test_under_torchrun_the_command_prints_once(result, folder):
    line = "eval digits10.cfg digits10.weights --data digits10.data --json -o found --no-plots"
    found = subprocess.run(
        [*TORCHRUN, "-m", "darkconv", *line.split()], check=True, capture_output=True, text=True
    )
    assert json.loads(found.stdout)["mean"] == result.to_dict()["mean"]
    assert found.stderr.count("wrote found") == 1
    assert len(list(Path("found").glob("*.txt"))) == 30


def test_a_sheet_of_predictions_is_without_broken_pictures(folder, caplog):
    pytest.importorskip("lightning")
    from darkconv.training.validation import write_sheet

    model, data = load_digits10(), dc.open_dataset("digits10.data")
    sizes = []
    for broken in (0, 1, 6):
        for sample in data.samples[:broken]:
            sample.image.write_bytes(b"")
        write_sheet(dc.to_torch(model), model, data.samples, folder / "s.jpg", letterbox=False)
        with Image.open(folder / "s.jpg") as sheet:
            sizes.append(sheet.height)
    assert min(sizes[:2]) > 500
    assert sizes[2] == 1
    assert not caplog.messages
