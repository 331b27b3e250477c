"""A training that was stopped goes on to what it would have been: weights, history and the best."""

import functools
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.dataset import open_dataset

pytest.importorskip("lightning")
pytest.importorskip("faster_coco_eval")

from darkconv.training import callbacks, checkpoints, job
from darkconv.training.history import TrainingHistory, read_history
from effort import few, one_in
from trainings import beginning

STEPS, ROW = 12, 2
EVERY = {"evaluate_every": 2, "draw_every": 0}
POINTS = [
    ("count", 3, None),  # in the second row
    ("count", 7, 1),  # within a row, from the checkpoint of the step before
    ("count", 7, 5),
    ("count", 8, 1),  # before a row and its evaluation
    ("evaluate", 8, None),
    ("save_best", 4, None),  # the best is written, its row is not
    ("report", 8, None),  # the row is written, no checkpoint knows of it
    ("report", 10, 1),  # a row without an evaluation
    ("checkpoint", 8, 4),
    ("count", 9, None),
    ("count", STEPS, 5),
    ("checkpoint", STEPS, None),
]
"""After what a run is stopped, at which step, and after how many steps it writes checkpoints."""
CASES = [
    ("one", "report", 8, None),
    ("one", "count", 7, 1),
    *(("several", *point) for point in POINTS),
]


class StoppedError(Exception):
    """Stands for the end of the process."""


class Steps:
    """Counts steps, stops a run behind one, and is a clock on which each step takes a second.

    A new process's clock shows another time.
    """

    def __init__(self, monkeypatch, until=None, start=0):
        self.step, self.now, self.until = 0, start, until
        monkeypatch.setattr(callbacks.time, "perf_counter", lambda: self.now)
        for name, owner, method in (
            ("evaluate", callbacks.Watcher, "_judged"),
            ("save_best", job.Job, "_save_best"),
            ("checkpoint", checkpoints.WholeCheckpoints, "save_checkpoint"),
        ):
            monkeypatch.setattr(owner, method, self._stopping(name, getattr(owner, method)))

    def _stopping(self, name, method):
        def call(*args, **options):
            result = method(*args, **options)
            self.reached(name)
            return result

        return call

    def count(self, step):
        self.step = step
        self.now += 1
        self.reached("count")

    def report(self, row):
        self.reached("report")

    def reached(self, name):
        if (name, self.step) == self.until:
            raise StoppedError


def train(folder, steps, sizes, *, resume=False, **options):
    model, _ = beginning(taught=True)
    if sizes == "several":
        config = model.network.config
        place = len(config.sections) - 1
        network = model.network.with_config(config.with_section(place, {"random": 1}))
        model = replace(model, network=network)
    data = open_dataset(digits10_folder() / "digits10.data", split="valid")
    few = replace(data, samples=data.samples[: 4 * ROW])
    recipe = dc.Recipe(steps=STEPS, batch=4, workers=0, rate=3e-3, **EVERY, **options)
    return dc.finetune(
        model, few, None, recipe, few, "cpu",
        folder=folder, resume=resume, progress=steps.count, report=steps.report,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Trainings that nothing stops, by how many input sizes they have."""

    @functools.cache
    def trained(sizes):
        with pytest.MonkeyPatch.context() as patch:
            return train(tmp_path_factory.mktemp("whole"), Steps(patch), sizes)

    return trained


@pytest.mark.parametrize(("sizes", "what", "step", "every"), few(CASES))
def test_a_resumed_run_ends_as_the_unbroken_one(sizes, what, step, every, whole, tmp_path):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        train(tmp_path, Steps(patch, until=(what, step)), sizes, checkpoint_every=every)
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch, start=1e6)
        resumed = train(tmp_path, steps, sizes, resume=True, checkpoint_every=every)
    assert_same(resumed, whole(sizes))


def assert_same(resumed, whole):
    for name in ("history.csv", "best.safetensors"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert resumed.best_epoch == whole.best_epoch
    assert resumed.history == whole.history
    for ours, theirs in ((resumed.model, whole.model), (resumed.last, whole.last)):
        assert ours.header == theirs.header
        for key, array in theirs.arrays.items():
            assert ours.arrays[key].tobytes() == array.tobytes(), key


@pytest.mark.parametrize("sizes", ["one", "several"])
def test_the_unbroken_run_is_worth_comparing_with(sizes, whole):
    rows = read_history(whole(sizes).folder / "history.csv")
    assert [row["step"] for row in rows] == list(range(ROW, STEPS + 1, ROW))
    evaluated = [row["AP"] for row in rows if "AP" in row]
    assert len(evaluated) == 3
    assert len(set(evaluated)) > 1
    assert {row["pictures_per_second"] for row in rows} == {4.0}


def test_a_history_is_written_as_it_was_read(tmp_path):
    history = TrainingHistory(tmp_path / "history.csv")
    history.add({"step": 4, "epoch": 1.0, "loss": 60.71812438964844})
    history.add({"step": 8, "epoch": 2.0, "loss": 45.397, "AP": 1e-05})
    text = history.path.read_bytes()
    again = TrainingHistory(history.path, until=4)
    again.add({"step": 8, "epoch": 2.0, "loss": 45.397, "AP": 1e-05})
    assert history.path.read_bytes() == text


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The folder of a run of six steps."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    run(folder)
    return folder


def labelled():
    data = open_dataset(digits10_folder() / "digits10.data", split="valid")
    return replace(data, samples=data.samples[:8])


def run(folder, *, model=None, data=None, valid=None, teacher=None, resume=False, **made):
    recipe = {"steps": 6, "batch": 4, "rate": 1e-3, "workers": 0, "draw_every": 0} | made
    return dc.finetune(
        model or beginning(taught=False)[0],
        data or labelled(),
        teacher,
        dc.Recipe(**recipe),
        valid or labelled(),
        "cpu",
        labels=teacher is not None,
        folder=folder,
        resume=resume,
    )


def with_option(section, **options):
    """The model with other options in a section of its cfg, counted from [net]."""
    model, _ = beginning(taught=False)
    config = model.network.config
    place = section % len(config.sections)
    return replace(model, network=model.network.with_config(config.with_section(place, options)))


def other_labels():
    first, *rest = labelled().samples
    return replace(labelled(), samples=(replace(first, boxes=first.boxes + 1), *rest))


def fewer(count=4):
    return replace(labelled(), samples=labelled().samples[:count])


def reordered():
    return replace(labelled(), samples=labelled().samples[::-1])


def elsewhere(folder):
    """The data set with its pictures in another folder."""
    shutil.copytree(digits10_folder(), folder / "moved")
    data = open_dataset(folder / "moved" / "digits10.data", split="valid")
    return replace(data, samples=data.samples[:8])


def seen_before():
    model, _ = beginning(taught=False)
    return replace(model, header=replace(model.header, seen=model.header.seen + 64))


def renamed():
    model, _ = beginning(taught=False)
    return replace(model, names=(*model.names[:-1], "last"))


CHANGES = {
    "batch": ({"batch": 2}, "batch was 4, is 2"),
    "accumulate": ({"accumulate": 2}, "accumulate was 1, is 2"),
    "rate": ({"rate": 2e-3}, r"rate \(--lr\) was 0.001, is 0.002"),
    "schedule": (
        {"rate": None, "schedule": "cfg"},
        r"schedule was cosine, is cfg; rate \(--lr\) was 0.001, is the default",
    ),
    "optimizer": ({"optimizer": "sgd"}, "optimizer was adamw, is sgd"),
    "momentum": ({"momentum": 0.1}, "momentum was 0.9, is 0.1"),
    "decay": ({"decay": 0.5}, r"decay \(--weight-decay\) was 0.0005, is 0.5"),
    "frozen": ({"freeze_first": 1}, r"freeze_first \(--freeze\) was 0, is 1"),
    "backbone": ({"freeze_backbone": True}, "freeze_backbone was false, is true"),
    "norms": ({"freeze_norms": True}, "freeze_norms was false, is true"),
    "averaging": ({"averaging": 0.9}, r"averaging \(--ema\) was 0.998, is 0.9"),
    "no averaging": ({"averaging": 0.0}, r"averaging \(--ema\) was 0.998, is 0"),
    "clip": ({"clip": 0.0}, "clip was 10, is 0"),
    "precision": ({"precision": "bf16"}, "precision was 32, is bf16"),
    "augment": ({"augment": False}, "augment was true, is false"),
    "multi_scale": ({"multi_scale": False}, "multi_scale was true, is false"),
    "letterbox": ({"letterbox": True}, "letterbox was false, is true"),
    "rule": ({"rule": "darknet"}, "rule was default, is darknet"),
    "class_weights": ({"class_weights": {"zero": 2}}, r"class_weights was \[\], is {\"zero\": 2}"),
    "seed": ({"seed": 1}, "seed was 0, is 1"),
    "several": ({"seed": 1, "batch": 2}, "batch was 4, is 2; seed was 0, is 1"),
}
"""Other options than those of a run that was begun, and what is said of them."""


@pytest.mark.parametrize("change", one_in(7, CHANGES))
def test_a_run_does_not_go_on_with_another_recipe(change, begun):
    made, message = CHANGES[change]
    assert_refused(begun, message, **made)


def assert_refused(begun, message, **changes):
    before = {file: file.read_bytes() for file in begun.rglob("*") if file.is_file()}
    with pytest.raises(dc.DarkconvError, match=f"would not go on as it began: {message}"):
        run(begun, resume=True, **changes)
    assert {file: file.read_bytes() for file in begun.rglob("*") if file.is_file()} == before


PICTURES = {
    "fewer": (
        {"data": fewer},
        r"data was 8 pictures \(\w+\), is 4 pictures \(\w+\); labels of data was",
    ),
    "in another order": ({"data": reordered}, r"data was 8 pictures \(\w+\), is 8 pictures"),
    "with other labels": ({"data": other_labels}, r"labels of data was \d+ objects"),
    "evaluated on others": ({"valid": fewer}, "valid was 8 pictures"),
    "with a teacher": (
        {"teacher": lambda: beginning(taught=True)[0]}, r"teacher was none, is a model \(\w+\)"
    ),
    "by another cfg": (
        {"model": lambda: with_option(-1, ignore_thresh=0.3)},
        r"layer 18 \[yolo\] ignore_thresh was 0.\d+, is 0.3",
    ),
    "at another size": (
        {"model": lambda: with_option(0, width=192)}, r"\[net\] .*width was \d+, is 192"
    ),
    "with another colour": ({"model": lambda: with_option(0, hue=0.4)}, r"\[net\] hue was"),
    "with other names": ({"model": renamed}, ".*class names was"),
    "from more pictures": ({"model": seen_before}, r"pictures seen before was \d+, is \d+"),
}  # fmt: skip


@pytest.mark.parametrize("change", one_in(5, PICTURES))
def test_a_run_does_not_go_on_with_other_pictures_or_models(change, begun):
    made, message = PICTURES[change]
    assert_refused(begun, message, **{name: make() for name, make in made.items()})


@pytest.mark.parametrize("change", ["another size", "another byte"])
def test_a_run_does_not_go_on_with_pictures_whose_contents_have_changed(change, begun, tmp_path):
    data = elsewhere(tmp_path)
    file = data.samples[5].image
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content + bytes(change == "another size"))
    message = r"contents of data was files \(\w+\), is files \(\w+\)\n"
    assert_refused(begun, message, data=data)


@pytest.mark.parametrize(
    "made",
    [
        {"draw_every": 3, "evaluate_every": 2, "checkpoint_every": 5, "workers": 1},
        {"steps": None, "epochs": 3},
        {"clip": np.float32(10), "batch": np.int64(4), "decay": 0.0005, "momentum": 0.9},
        {"data": elsewhere},
        {"model": lambda _: with_option(0, max_batches=9, batch=2, policy="steps", decay=0.0005)},
    ],
    ids=["when what is written", "epochs", "written otherwise", "moved", "unread options"],
)
def test_what_changes_no_step_may_change(made, begun, tmp_path, caplog):
    shutil.copytree(begun, tmp_path / "run")
    changes = {k: make(tmp_path) if callable(make) else make for k, make in made.items()}
    done = run(tmp_path / "run", resume=True, **changes)
    assert done.history[-1]["step"] == 6
    assert "the run is already at step 6 of 6, so nothing is left to train" in caplog.text


@pytest.mark.slow
def test_a_run_beyond_the_steps_asked_for_is_refused(begun):
    with pytest.raises(dc.DarkconvError) as caught:
        run(begun, resume=True, steps=5)
    assert (
        "last.ckpt: the run is already at step 6: expected steps beyond that, such as the 6 "
        in (str(caught.value))
    )
    assert caught.value.found == "5 steps"


@pytest.mark.slow
def test_more_steps_go_on_along_the_new_schedule_which_is_told(begun, tmp_path, caplog):
    shutil.copytree(begun, tmp_path / "run")
    with caplog.at_level(logging.WARNING, "darkconv"):
        done = run(tmp_path / "run", resume=True, steps=8)
    assert [row["step"] for row in done.history] == [2, 4, 6, 8]
    assert (
        "the run began with 6 steps and has 8: the rate goes on along the schedule of 8, from step "
        "7 with 5.9e-05 in place of 1e-05, and does not end as a run of 8 from the start"
    ) in caplog.text
