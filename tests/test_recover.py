"""dc.dissect beyond a cut: recovery by the uncut model, and the smallest model that will do."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")
pytest.importorskip("lightning")

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_unlabelled, load_digits10
from darkconv.dissection.search import shrunk, smallest_share
from darkconv.dissection.workplace import Workplace
from darkconv.report.curve import Point, curve
from darkconv.surgery.planning import Planning

KEPT = ["one", "seven", "four"]
FEW = {"images": sorted(digits10_unlabelled().iterdir())[:6], "device": "cpu"}
QUICK = dc.Recipe(steps=4, batch=2, workers=0, draw_every=0, checkpoint_every=1)
MODEL = "dissect digits10.cfg digits10.weights"


class StopError(Exception):
    """A stop in the middle."""


def stopping(task, count):
    """Progress that stops a job at some count of a task; what is done before is kept."""
    told = []

    def progress(name, done, total):
        told.append((name, done, total))
        if name == task and sum(one[0] == task for one in told) == count:
            raise StopError

    progress.told = told
    return progress


def assert_same(one, two):
    assert one.arrays.keys() == two.arrays.keys()
    for key, values in one.arrays.items():
        assert np.array_equal(values, two.arrays[key]), key


@pytest.fixture(scope="module")
def model():
    return load_digits10()


@pytest.fixture(scope="module")
def labelled(model):
    return dc.open_dataset(digits10_folder() / "digits10.data")


@pytest.fixture(scope="module")
def recovered(model, labelled):
    return dc.dissect(
        model, KEPT, **FEW, params=0.6, recover=True, recipe=QUICK, valid=labelled
    )  # fmt: skip


@pytest.fixture(scope="module")
def searched(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "run"
    return dc.dissect(model, KEPT, **FEW, max_loss=20, folder=folder)


def test_what_is_left_learns_and_every_state_is_measured(model, labelled, recovered):
    assert recovered.is_recovered
    assert list(recovered.quality) == ["uncut", "refitted", "recovered"]
    plain = dc.dissect(model, KEPT, **FEW, params=0.6)
    assert not np.array_equal(plain.model.arrays["2.weights"], recovered.model.arrays["2.weights"])
    for state, one in (("uncut", recovered.uncut), ("refitted", plain.model)):
        expected = dc.evaluate(one, labelled.keep_classes(KEPT), device="cpu")
        found = recovered.quality[state]
        assert found.ap == pytest.approx(expected.mean.ap, abs=1e-6)
        assert found.recall == {one.name: one.recall for one in expected.classes}
    assert recovered.quality["uncut"].agreement == 1
    assert recovered.quality["recovered"].ap != recovered.quality["refitted"].ap


def test_recovery_is_told_in_words_and_to_programs(recovered, tmp_path):
    found = json.loads(json.dumps(recovered.to_dict()))
    assert found["quality"]["recovered"]["recall"].keys() == set(KEPT)
    assert found["measured_on"] == "30 pictures, compared with their labels"
    assert "search" not in found
    assert "recall of seven: 100.0 -> " in repr(recovered)
    recovered.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Then the uncut model taught what was left." in page
    assert "refitted and taught by the uncut model." in page
    assert '<td class="name">recall of seven</td><td>100.0</td>' in page


def test_without_labels_models_are_compared_with_the_uncut_one(searched):
    uncut = searched.quality["uncut"]
    assert uncut.ap is None
    assert set(uncut.recall.values()) == {1.0}
    assert searched.measured_on == (
        "the 6 pictures that it was cut and refitted by, compared with what the uncut model finds"
    )
    assert searched.search.measure == "agreement"


def test_labels_of_merged_classes_count_under_their_new_name(model, labelled, caplog):
    done = dc.dissect(
        model, ["low=zero+one", "two"], images=labelled, limit=4, all_pictures=True, params=0.8,
        recover=True, labels=True, recipe=QUICK, device="cpu",
    )  # fmt: skip
    assert set(done.quality["uncut"].recall) == {"low", "two"}
    assert done.quality["recovered"].ap is not None


def test_the_smallest_model_that_loses_no_more_is_chosen(searched):
    search = searched.search
    assert [one.share for one in search.trials] == sorted(
        (one.share for one in search.trials), reverse=True
    )
    good = [one for one in search.trials if one.points_lost <= 20]
    assert good
    assert len(good) < len(search.trials)
    assert search.chosen is good[-1]
    assert search.chosen.parameters == searched.model.network.parameters
    last = searched.quality["refitted"]
    assert search.chosen.points_lost == pytest.approx(100 * (1 - last.agreement))
    assert all(one.milliseconds > 0 for one in (search.uncut, *search.trials))


def test_the_search_is_drawn_and_told(searched, tmp_path):
    found = json.loads(json.dumps(searched.to_dict()))["search"]
    assert found["chosen"] == searched.search.chosen.share
    assert len(found["trials"]) == len(searched.search.trials)
    assert "that loses at most 20 points of agreement loses" in repr(searched)
    searched.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    points = 1 + len(searched.search.trials)
    for what in ("parameters", "MACs", "time"):
        assert f'aria-label="agreement in % over {what}: {points} points"' in page
    assert page.count('<circle class="removed"') == 3
    assert page.count('<tr class="first">') == 1


@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on(model, searched, tmp_path):
    progress = stopping("refitting layers", 2 * 19 + 5)
    options = {**FEW, "max_loss": 20, "folder": tmp_path / "run"}
    with pytest.raises(StopError):
        dc.dissect(model, KEPT, **options, progress=progress)
    assert len(json.loads((tmp_path / "run/dissect.json").read_text())["ready"]) == 2
    rest = []
    done = dc.dissect(
        model, KEPT, **options, resume=True, progress=lambda *told: rest.append(told)
    )  # fmt: skip
    assert_same(done.model, searched.model)
    tries = len(searched.search.trials)
    assert rest.count(("refitting layers", 19, 19)) == tries - 2
    assert [one.quality for one in done.search.trials] == [
        one.quality for one in searched.search.trials
    ]
    again = dc.dissect(model, KEPT, **{**options, "max_loss": 100}, resume=True)
    assert again.search.chosen.parameters < done.search.chosen.parameters


def test_a_recovery_that_was_stopped_goes_on(model, tmp_path):
    options = {**FEW, "params": 0.6, "recover": True, "recipe": QUICK}
    whole = dc.dissect(model, KEPT, **options, folder=tmp_path / "whole")
    with pytest.raises(StopError):
        dc.dissect(
            model, KEPT, **options, folder=tmp_path / "run", progress=stopping("training steps", 3)
        )
    rest = []
    done = dc.dissect(
        model, KEPT, **options, folder=tmp_path / "run", resume=True,
        progress=lambda *told: rest.append(told),
    )  # fmt: skip
    assert_same(done.model, whole.model)
    assert len([one for one in rest if one[0] == "training steps"]) < 4


def test_a_folder_is_neither_lost_nor_taken_for_another(model, tmp_path):
    options = {**FEW, "params": 0.6, "recover": True, "recipe": QUICK, "folder": tmp_path}
    with pytest.raises(dc.DarkconvError, match="holds no dissection to go on with"):
        dc.dissect(model, KEPT, **options, resume=True)
    first = dc.dissect(model, KEPT, **options)
    with pytest.raises(dc.DarkconvError, match="holds a dissection that was begun"):
        dc.dissect(model, KEPT, **options)
    with pytest.raises(dc.DarkconvError, match="holds another dissection: classes was"):
        dc.dissect(model, KEPT[:2], **options, resume=True)
    with pytest.raises(dc.DarkconvError, match=r"another dissection: params was 0\.6, is 0\.7"):
        dc.dissect(model, KEPT, **{**options, "params": 0.7}, resume=True)
    assert_same(dc.dissect(model, KEPT, **options, resume=True).model, first.model)
    assert_same(dc.dissect(model, KEPT, **options, overwrite=True).model, first.model)
    (tmp_path / "dissect.json").write_text('{"settings": 5')
    with pytest.raises(dc.DarkconvError, match="is no state of a dissection"):
        dc.dissect(model, KEPT, **options, resume=True)


def test_a_search_without_a_good_model_is_refused(model):
    with pytest.raises(dc.PlanError, match="loses at most 0 points of agreement") as caught:
        dc.dissect(model, KEPT, **FEW, max_loss=0, params=0.5, reconstruct=False)
    assert "points lost by the largest" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 3}, "steps would do nothing: without recover=True"),
        ({"labels": True}, "labels would do nothing: without recover=True"),
        ({"recipe": QUICK}, "recipe would do nothing: without recover=True"),
        ({"recover": True, "recipe": QUICK, "steps": 3}, "steps would do nothing: the recipe"),
        ({"recover": True, "steps": 0}, "steps: expected 1 or more"),
        ({"valid": "images"}, "valid would do nothing: there is neither"),
        ({"folder": "here"}, "folder would do nothing: there is neither"),
        ({"recover": True, "resume": True}, "resume would do nothing: they are about folder="),
        ({"max_loss": -1.0}, "max_loss: expected points, 0 or more"),
        ({"max_loss": float("nan")}, "max_loss: expected points, 0 or more"),
        ({"max_loss": 1.0, "ratio": 0.5}, "max_loss makes budgets smaller"),
    ],
)
def test_options_that_mean_nothing_are_errors_before_anything_is_read(model, options, message):
    with pytest.raises(dc.DarkconvError, match=message):
        dc.dissect(model, images="nowhere", **options)


def test_levels_are_not_learned_from(model):
    pictures = [np.full((40, 40, 3), level, np.uint8) for level in (0, 200)]
    with pytest.raises(dc.PlanError, match="take pictures from files, not levels"):
        dc.dissect(model, images=pictures, recover=True, score="l1", device="cpu")


def test_pictures_in_which_nothing_is_found_are_no_measure(model, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "black.png")
    options = {"images": tmp_path, "params": 0.8, "device": "cpu"}
    done = dc.dissect(model, KEPT, **options, recover=True, recipe=QUICK)
    assert done.is_recovered
    assert not done.quality
    with pytest.raises(dc.DarkconvError, match="the uncut model finds nothing"):
        dc.dissect(model, KEPT, **options, max_loss=1)


@pytest.mark.parametrize("least", [0.03, 0.3, 0.52, 0.97])
def test_halving_finds_the_smallest_share(least):
    tried = []
    found = smallest_share(lambda share: tried.append(share) or share >= least)
    assert least <= found < least + 1 / 32
    assert len(tried) <= 6


def test_where_no_share_is_good_the_whole_is_tried_last():
    tried = []
    assert smallest_share(lambda share: tried.append(share) or False) is None
    assert tried[-1] == 1.0


def test_all_budgets_become_smaller():
    smaller = shrunk(Planning(params=0.5, size=1000), 0.25)
    assert smaller.amounts == {"params": 0.125, "size": 250}


def test_a_curve_of_one_height_is_drawn():
    drawn = curve("AP <of> it", [Point(1, 50, "a"), Point(2, 50, "b", True)], limit=50)
    assert "AP &lt;of&gt; it: 2 points" in drawn
    assert "nan" not in drawn
    assert drawn.count("<circle") == 2


def test_the_command_recovers_and_says_what_is_found(run):
    line = f"{MODEL} --keep three,seven --images unlabelled --limit 4 --params 0.6 --recover "
    line += "--steps 2 --valid digits10.data --device cpu --no-report -o s.cfg s.weights"
    said = run(line).stdout
    assert "per cent         uncut  refitted  recovered" in said
    assert "recall of three  100.0" in said
    assert "measured on 30 pictures, compared with their labels" in said
    assert dc.load("s.cfg", "s.weights").names == ("three", "seven")
    assert "--resume goes on with it" in run(line.replace("-o s.", "-o ./s."), status=1).stderr
    again = run(f"{line} --resume --json --overwrite")
    assert json.loads(again.stdout)["quality"]["uncut"]["ap"] == 1
    assert "training steps" not in again.stderr


def test_the_command_goes_on_with_a_search(run, tmp_path):
    line = f"{MODEL} --keep three,seven --images unlabelled --limit 4 --max-loss 30 --run place "
    line += "--device cpu -o s.cfg s.weights"
    first = run(line)
    assert "points of agreement loses" in first.stdout
    assert "try 1 of 5: " in first.stderr
    file = tmp_path / "d" / "place" / "dissect.json"
    state = json.loads(file.read_text())
    tries = len(state["ready"])
    lost = state["begun"][-1]
    del state["ready"][lost]
    file.write_text(json.dumps(state))
    weights = (tmp_path / "d" / "s.weights").read_bytes()
    again = run(f"{line} --resume --overwrite")
    assert first.stderr.count("refitting layers: 19 of 19") == tries
    assert again.stderr.count("refitting layers: 19 of 19") == 1
    assert (tmp_path / "d" / "s.weights").read_bytes() == weights


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--steps 3", "--steps would do nothing: they are about --recover"),
        ("--labels --max-loss 1", "--labels would do nothing"),
        ("--valid digits10.data", "--valid would do nothing: they are about --recover and"),
        ("--resume", "--resume would do nothing"),
        ("--run place", "--run would do nothing"),
        ("--max-loss -1", "--max-loss"),
    ],
)
def test_idle_options_of_the_command_are_wrong_usage(run, words, message):
    found = run(f"{MODEL} --images unlabelled -o s.cfg s.weights {words}", status=2)
    assert message in found.stderr


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_left_alone(overwrite, tmp_path):
    picture = tmp_path / "1" / "mine.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"as it was")
    with pytest.raises(
        dc.DarkconvError, match="is there already, and is no folder of a dissection"
    ):
        Workplace(tmp_path, {}, resume=False, overwrite=overwrite)
    assert picture.read_bytes() == b"as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
