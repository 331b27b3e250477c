"""dc.dissect: from a model and pictures to a smaller model, in one call or in two halves."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_unlabelled, load_digits10
from darkconv.dissection import examine
from darkconv.errors import DarkconvError, DatasetError, PlanError
from darkconv.logs import NOTE
from darkconv.surgery.planning import Planning

KEPT = ["one", "seven", "four"]


@pytest.fixture(scope="module")
def model():
    return load_digits10()


@pytest.fixture(scope="module")
def done(model):
    return dc.dissect(
        model, keep=KEPT, images=digits10_unlabelled(), params=0.5, macs=0.6, device="cpu"
    )


def test_several_budgets_hold_and_all_is_there(model, done):
    assert done.model.names == done.uncut.names == tuple(KEPT)
    assert done.whole is model
    assert done.plan.notes["params"] == 0.5
    uncut = done.uncut.network
    assert done.model.network.parameters <= 0.5 * uncut.parameters
    assert done.model.network.macs <= 0.6 * uncut.macs
    assert done.pruned.network.parameters == done.model.network.parameters
    assert not np.array_equal(done.pruned.arrays["2.weights"], done.model.arrays["2.weights"])
    assert done.profile.pictures == len(done.pictures.found) == 16
    assert set(done.seconds) == {"profile", "plan", "reconstruct"}


def test_it_is_told_in_words_and_to_programs(done, tmp_path):
    found = json.loads(json.dumps(done.to_dict()))
    assert found["pictures"] == {"profiled": 16, "found": 16}
    assert found["before"]["parameters"] == 158045
    assert found["after"]["parameters"] == done.model.network.parameters
    assert "kept 3 of 10 classes: one, seven, four" in repr(done)
    assert "profiled all 16 pictures" in repr(done)
    assert "<td style" in done._repr_html_()
    done.report(tmp_path / "page.html")
    assert "Kept 3 of 10 classes" in (tmp_path / "page.html").read_text()


def test_without_an_amount_a_quarter_of_each_layer_goes(model):
    pictures = [np.full((40, 40, 3), level, np.uint8) for level in (0, 90, 200)]
    steps = []
    done = dc.dissect(
        model,
        images=pictures,
        score="l1",
        reconstruct=False,
        device="cpu",
        progress=lambda task, count, total: steps.append((task, count, total)),
    )
    assert done.plan.notes["keep"] == 0.75
    assert done.model is done.pruned
    assert steps[-1] == ("pictures", 3, 3)
    assert done.model.names == model.names


def test_the_two_halves_are_the_whole(done, model):
    specimen = examine(model, KEPT, images=digits10_unlabelled())
    again = specimen.dissected(Planning(params=0.5, macs=0.6))
    other = specimen.dissected(Planning(ratio=0.5), reconstruct=False)
    for key, array in done.model.arrays.items():
        assert np.array_equal(array, again.model.arrays[key])
    assert other.model.network.parameters != again.model.network.parameters


def test_a_specimen_that_compares_serves_other_scores_too(model):
    labelled = dc.open_dataset(digits10_folder() / "digits10.data")
    specimen = examine(model, [*map(str, model.names[:9])], images=labelled, contrast=True)
    for score in ("contrast", "l1"):
        done = specimen.dissected(Planning(ratio=0.75, score=score), reconstruct=False)
        assert (done.against is not None) == (score == "contrast")


def test_the_seed_of_the_histograms_does_not_need_the_score_random(model):
    done = dc.dissect(
        model, images=digits10_unlabelled(), limit=4, seed=3, reconstruct=False, device="cpu"
    )
    assert done.planning.seed == 0
    assert done.plan.notes["score"] == "nll0"


def test_labels_choose_the_pictures(model, caplog):
    caplog.set_level(NOTE, "darkconv")
    kept = [name for name in model.names if name != "nine"]
    data = dc.open_dataset(digits10_folder() / "images", names=list(model.names))
    quick = {"score": "l1", "reconstruct": False, "device": "cpu"}
    done = dc.dissect(model, kept, images=data, **quick)
    assert 0 < len(done.pictures.chosen) < 30
    assert len(done.pictures.others) == 30 - len(done.pictures.chosen)
    assert f"profiling {done.pictures}" in [record.getMessage() for record in caplog.records]
    few = dc.dissect(model, kept, images=data, all_pictures=True, limit=5, **quick)
    assert few.profile.pictures == 5
    with pytest.raises(DatasetError, match="no picture shows nothing but nine"):
        dc.dissect(model, ["nine"], images=data, only_classes=[], **quick)
    with pytest.raises(PlanError, match="compares with pictures of other classes"):
        dc.dissect(model, kept, images=data, all_pictures=True, score="contrast")


def test_nothing_is_logged_as_a_warning(model, caplog):
    caplog.set_level(logging.WARNING, "darkconv")
    dc.dissect(model, images=digits10_unlabelled(), score="l1", reconstruct=False, device="cpu")
    assert not caplog.records


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 2.0}, "ratio: expected a share above 0 and up to 1, found 2"),
        ({"ratio": 0.5, "count": 3}, "expected one of ratio, count"),
        ({"multiple": 0}, "multiple: expected 1 or more channels"),
        ({"score": "best"}, "score: expected nll0"),
        ({"batch": 0}, "batch: expected a number from 1, found 0"),
        ({"device": "toaster"}, "device: expected auto, cpu, or cuda"),
        ({"resize": "crop"}, "found crop"),
        ({"keep": "one"}, "keep: expected a list of texts or whole numbers"),
        ({"only_classes": ["one"], "all_pictures": True}, "would do nothing beside all_pictures"),
    ],
)
def test_a_wrong_option_is_an_error_before_anything_is_read(model, options, message):
    with pytest.raises(DarkconvError, match=message):
        dc.dissect(model, **{"images": "nowhere", **options})


@pytest.mark.slow
def test_two_processes_dissect_as_one_does(tmp_path):
    folder = digits10_folder()
    kept = "zero,one,two,three,four,five,six,seven,eight"
    line = f"dissect {folder}/digits10.cfg {folder}/digits10.weights --keep {kept} --images "
    line += f"{folder}/images --limit 8 --score contrast --no-report --device cpu -o"
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(dc.__file__).parents[1])}
    for start, name in ((run, "two"), ([sys.executable], "one")):
        words = ["-m", "darkconv", *line.split(), f"{name}.cfg", f"{name}.weights"]
        done = subprocess.run(
            [*start, *words], check=True, capture_output=True, text=True, cwd=tmp_path,
            env=environment,
        )  # fmt: skip
        assert done.stderr.count("wrote") == done.stderr.count("profiling 8 of 8 pictures") == 1
    one, two = (dc.load(tmp_path / f"{n}.cfg", tmp_path / f"{n}.weights") for n in ("one", "two"))
    for key, array in one.arrays.items():
        assert np.abs(two.arrays[key] - array).max() <= 1e-6 * np.abs(array).max(), key


@pytest.mark.parametrize(
    ("reconstruct", "state", "said"),
    [
        (True, "refitted", "It is not trained yet: boxes that are missing here come back"),
        (False, "pruned", "Nothing has made up for the channels that are gone"),
    ],
)
def test_a_report_says_what_state_its_pictures_show(reconstruct, state, said, tmp_path):
    pytest.importorskip("torch")
    done = dc.dissect(
        load_digits10(), ["two", "six"], images=digits10_unlabelled(), limit=4, ratio=0.5,
        all_pictures=True, reconstruct=reconstruct, device="cpu",
    )  # fmt: skip
    done.report(tmp_path / "d.html")
    page = (tmp_path / "d.html").read_text()
    assert done.state == state
    assert said in page
    assert f"<h3>before</h3><h3>{state}</h3>" in page
