"""Commands that are killed: the old result or the whole new one is there, and nothing else."""

import random
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from darkconv.assets import digits10_folder
from darkconv.training.history import read_history
from faults.processes import PATIENCE, digests, kill_before, run, start, tell_of_writing

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
pytest.importorskip("onnxruntime")

KILLED = -9


@dataclass(frozen=True)
class Case:
    """A command, and another one that has written the same files before.

    Attributes:
        name: of the case.
        command: `{}` is the name of the model that it reads.
        files: that it writes into `out`; the last one says what the others are.
        kills: at random moments, with --slow, as CI does.
        more: likewise with --full.
    """

    name: str
    command: str
    files: tuple[str, ...]
    kills: int = 8
    more: int = 60

    def __str__(self) -> str:
        return self.name


MODEL = ("o.weights", "o.names", "o.cfg")
CASES = [
    Case("darknet", "convert {0}.cfg {0}.weights -o out/o.cfg out/o.weights", MODEL, kills=20),
    Case("onnx", "convert {0}.cfg {0}.weights -o out/o.onnx", ("o.onnx",), kills=12),
    Case(
        "onnx and data",
        "convert {0}.cfg {0}.weights -o out/o.onnx --external",
        ("o.onnx.data", "o.onnx"),
        kills=20,
    ),
    Case("safetensors", "convert {0}.cfg {0}.weights -o out/o.safetensors", ("o.safetensors",)),
    Case("reclass", "reclass {0}.cfg {0}.weights --keep fox,cat -o out/o.cfg out/o.weights", MODEL),
    Case(
        "prune",
        "prune {0}.cfg {0}.weights --score l1 --ratio 0.9 -o out/o.cfg out/o.weights",
        MODEL,
    ),
    Case("profile", "profile {0}.cfg {0}.weights pics -o out/o.npz", ("o.npz",)),
]


SLOW = [
    Case("pt2", "convert {0}.cfg {0}.weights -o out/o.pt2", ("o.pt2",), more=15),
    Case("keras", "convert {0}.cfg {0}.weights -o out/o.keras", ("o.keras",), more=15),
]
"""Cases that take seconds to come to writing."""
TRAINING = (
    "finetune digits10.cfg digits10.weights --data digits10.data --split valid "
    "--valid digits10.data --workers 0 --device cpu -o {0}.cfg {0}.weights"
)
EVERY_STEP = "--steps 100 --batch 4 --checkpoint-every 1 --evaluate-every 1"
SOME_STEPS = "--steps 30 --batch 4 --evaluate-every 2 --lr 0.003"


@dataclass(frozen=True)
class Results:
    """What a case writes, whole.

    Attributes:
        folder: of the models.
        old, new: digests of the files of the two models.
        kept: a copy of the old files.
    """

    folder: Path
    old: dict[str, str]
    new: dict[str, str]
    kept: Path

    def restore(self) -> None:
        """Put the old files back."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        shutil.copytree(self.kept, self.folder / "out")

    def check(self, files: tuple[str, ...]) -> str:
        """Assert that the files are all old or all new, or lack the one that says what they are."""
        found = digests(self.folder / "out")
        left = found.keys() - set(files)
        tops = {Path(name).parts[0] for name in left}
        assert all(name.startswith(".") and name.endswith(".tmp") for name in tops), left
        now = {name: digest for name, digest in found.items() if name not in left}
        if now in (self.old, self.new):
            return "old" if now == self.old else "new"
        assert len(files) > 1
        assert files[-1] not in now
        assert all(digest in (self.old[name], self.new[name]) for name, digest in now.items())
        return "incomplete"


@pytest.fixture(params=[*CASES, *(pytest.param(c, marks=pytest.mark.slow) for c in SLOW)], ids=str)
def case(request):
    if request.param.name == "keras":
        pytest.importorskip("keras")
    return request.param


@pytest.fixture
def results(case, folder):
    """The case, done for both models: the other one's files are the old ones."""
    whole = {}
    for name in ("big", "other"):
        (folder / "out").mkdir()
        assert run(case.command.format(name), folder)[0] == 0
        whole[name] = digests(folder / "out")
        (folder / "out").rename(folder / f"whole-{name}")
    assert whole["big"].keys() == whole["other"].keys() == set(case.files)
    assert whole["big"] != whole["other"]
    return Results(folder, whole["other"], whole["big"], folder / "whole-other")


@pytest.mark.slow
def test_random_moments(case, results, pytestconfig):
    more = pytestconfig.getoption("--full")
    stream = random.Random(case.name)
    before, writing = measure(case, results)
    ends = set()
    for number in range(case.more if more else case.kills):
        results.restore()
        command = start(case.command.format("big"), results.folder, tell_of_writing)
        if number == 1:
            command.process.kill()  # before it writes, however busy the machine is
        elif number % 2:
            time.sleep(stream.uniform(0, before))
        elif command.events.poll(PATIENCE):
            time.sleep(stream.uniform(0, writing))
        command.process.kill()
        status, text = command.wait()
        assert status in (KILLED, 0), text
        ends.add(results.check(case.files))
    assert "old" in ends
    check_goes_on(case, results)


def measure(case, results):
    """Seconds until a command writes, and until it has written."""
    results.restore()
    start_time = time.perf_counter()
    command = start(case.command.format("big"), results.folder, tell_of_writing)
    assert command.events.poll(PATIENCE)
    before = time.perf_counter() - start_time
    status, text = command.wait()
    assert status == 0, text
    assert results.check(case.files) == "new"
    return before, time.perf_counter() - start_time - before


def test_before_every_step(case, results):
    folder = str(results.folder / "out")
    ends = []
    for number in range(1, 100):
        results.restore()
        prepare = partial(kill_before, number, folder)
        status, text = run(case.command.format("big"), results.folder, prepare)
        ends.append(results.check(case.files))
        if status != KILLED:
            break
    assert status == 0, text
    steps = sorted(ends, key=["old", "incomplete", "new"].index)
    assert ends == steps, "a file went back to what it was"
    assert ends[0] == "old"
    assert ends[-1] == "new"
    assert ("incomplete" in ends) == (len(case.files) > 1)
    check_goes_on(case, results)


def test_who_looks_meanwhile_sees_whole_files(case, results):
    results.restore()
    paths = [results.folder / "out" / name for name in case.files]
    allowed = {state(path) for path in paths}
    seen = set()
    command = start(case.command.format("big"), results.folder)
    while command.process.is_alive():
        seen |= {state(path) for path in paths}
    assert command.wait()[0] == 0
    allowed |= {state(path) for path in paths}
    if len(paths) > 1:
        allowed.add((case.files[-1], None))
    assert seen <= allowed


def state(path):
    """What tells a file from another one, and from itself once it was written to."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return path.name, None
    return path.name, found.st_ino, found.st_size, found.st_mtime_ns


def check_goes_on(case, results):
    """Assert that the command still works, and that it takes away what a killed one has left."""
    folder = str(results.folder / "out")
    results.restore()
    status, text = run(case.command.format("big"), results.folder, partial(kill_before, 2, folder))
    assert status == KILLED, text
    assert list((results.folder / "out").glob(".*.tmp"))
    status, text = run(case.command.format("big"), results.folder)
    assert status == 0, text
    assert digests(results.folder / "out") == results.new


@pytest.fixture
def digits(tmp_path):
    """A folder with the bundled model, to be trained at several input sizes."""
    pytest.importorskip("lightning")
    pytest.importorskip("faster_coco_eval")
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    cfg = tmp_path / "digits10.cfg"
    text = cfg.read_text()
    assert "random=0" in text
    cfg.write_text(text.replace("random=0", "random=1"))
    return tmp_path


@pytest.mark.slow
def test_training_goes_on_from_what_a_kill_leaves(digits):
    """See also tests/test_resume.py, which stops a training at every place within a row."""
    from darkconv.backends.torch import read_safetensors

    command = f"{TRAINING} {EVERY_STEP}"
    assert run(command.format("whole"), digits)[0] == 0
    checkpoint = digits / "killed.run/checkpoints/last.ckpt"
    stream, resumed = random.Random(0), ""
    for _ in range(4):
        before = state(checkpoint)
        started = start(f"{command.format('killed')}{resumed}", digits)
        while state(checkpoint) == before and started.process.is_alive():
            time.sleep(0.01)
        time.sleep(stream.uniform(0, 0.3))
        started.process.kill()
        status, text = started.wait()
        assert status == KILLED, text
        assert not (digits / "killed.weights").exists()
        assert torch.load(checkpoint, weights_only=True)["global_step"]
        if (digits / "killed.run/best.safetensors").exists():
            read_safetensors(digits / "killed.run/best.safetensors")
        resumed = " --resume"
    assert run(f"{command.format('killed')}{resumed}", digits)[0] == 0
    check_ended_alike(digits)


@pytest.mark.slow
def test_training_goes_on_from_every_place_around_an_evaluation(digits):
    command = f"{TRAINING} {SOME_STEPS}"
    assert run(command.format("whole"), digits)[0] == 0
    folder, goes_on = digits / "killed.run", []
    for number in (12, 20, 9, 11):  # files touched: a row takes about seven
        has_checkpoint = (folder / "checkpoints/last.ckpt").exists()
        resumed = " --resume" if has_checkpoint else " --overwrite"
        goes_on.append(has_checkpoint)
        prepare = partial(kill_before, number, str(folder))
        status, text = run(f"{command.format('killed')}{resumed}", digits, prepare)
        assert status == KILLED, text
    assert sum(goes_on) >= 2
    assert run(f"{command.format('killed')} --resume", digits)[0] == 0
    check_ended_alike(digits)


def check_ended_alike(folder):
    """Assert that the resumed training gave what the whole one gave, and left nothing else."""
    found = digests(folder)
    for name in ("{}.weights", "{}.run/best.safetensors"):
        assert found[name.format("killed")] == found[name.format("whole")], name
    ours, theirs = (
        read_history(folder / f"{name}.run/history.csv") for name in ("killed", "whole")
    )
    assert list(map(figures, ours)) == list(map(figures, theirs))
    assert min(row["pictures_per_second"] for row in ours) > 0.02
    assert not [name for name in found if Path(name).name.startswith(".")]


def figures(row):
    """A row of a history, but for how fast it was."""
    return {name: value for name, value in row.items() if name != "pictures_per_second"}
