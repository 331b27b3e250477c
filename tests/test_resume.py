"""A training that was stopped goes on to what it would have been: weights, history and the best."""

import functools
from dataclasses import replace

import pytest

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.dataset import open_dataset

pytest.importorskip("lightning")
pytest.importorskip("faster_coco_eval")

from darkconv.training import job, saving, watching
from darkconv.training.history import History, read_history
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
    *(("several", *point) for point in POINTS),
    ("one", "report", 8, None),
    ("one", "count", 7, 1),
]


class StoppedError(Exception):
    """Stands for the end of the process."""


class Steps:
    """Counts steps, stops a run behind one, and is a clock on which each step takes a second.

    A new process's clock shows another time.
    """

    def __init__(self, monkeypatch, until=None, start=0):
        self.step, self.now, self.until = 0, start, until
        monkeypatch.setattr(watching.time, "perf_counter", lambda: self.now)
        for name, owner, method in (
            ("evaluate", watching.Watcher, "_evaluated"),
            ("save_best", job.Job, "_save_best"),
            ("checkpoint", saving.WholeCheckpoints, "save_checkpoint"),
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


@pytest.mark.parametrize(
    ("sizes", "what", "step", "every"),
    [
        *(("several", *point) for point in POINTS),
        ("one", "report", 8, None),
        ("one", "count", 7, 1),
    ],
)
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
    history = History(tmp_path / "history.csv")
    history.add({"step": 4, "epoch": 1.0, "loss": 60.71812438964844})
    history.add({"step": 8, "epoch": 2.0, "loss": 45.397, "AP": 1e-05})
    text = history.path.read_bytes()
    again = History(history.path, until=4)
    again.add({"step": 8, "epoch": 2.0, "loss": 45.397, "AP": 1e-05})
    assert history.path.read_bytes() == text
