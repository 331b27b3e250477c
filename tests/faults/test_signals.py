"""Commands that a signal ends: they leave no temporary file or folder."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from darkconv.assets import digits10_folder
from faults.processes import digests, kill_before, run

torch = pytest.importorskip("torch")
pytest.importorskip("onnx_ir")

MODEL = ("o.weights", "o.names", "o.cfg")
CASES = {
    "darknet": ("convert {0}.cfg {0}.weights -o out/o.cfg out/o.weights", MODEL),
    "onnx and data": (
        "convert {0}.cfg {0}.weights -o out/o.onnx --external",
        ("o.onnx.data", "o.onnx"),
    ),
}


def end_before(number, folder, sent, events):
    """Preparation: as `kill_before`, by another signal."""
    kill_before(number, folder, events, sent)


def scratch_in(folder, number, events):
    """Preparation: scratch folders lie in a folder, and SIGTERM comes at the n-th touch of it."""
    tempfile.tempdir = folder
    kill_before(number, folder, events, signal.SIGTERM)


def ignoring(number, sent, folder, events):
    """Preparation: as `end_before`, of a signal that is ignored, as nohup ignores SIGHUP."""
    signal.signal(sent, signal.SIG_IGN)
    kill_before(number, folder, events, sent)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("darknet", signal.SIGTERM),
        ("onnx and data", signal.SIGHUP),
        ("darknet", signal.SIGINT),
    ],
)
def test_a_signal_before_any_step_leaves_the_old_files_or_the_new(name, sent, folder):
    command, files = CASES[name]
    states = {}
    for model in ("other", "big"):
        (folder / "out").mkdir(exist_ok=True)
        assert run(command.format(model), folder)[0] == 0
        states[model] = digests(folder / "out")
        shutil.copytree(folder / "out", folder / model)
    seen = []
    for number in range(1, 100):
        shutil.rmtree(folder / "out")
        shutil.copytree(folder / "other", folder / "out")
        prepare = partial(end_before, number, str(folder / "out"), sent)
        status, text = run(command.format("big"), folder, prepare)
        assert "Traceback" not in text
        found = digests(folder / "out")
        assert found in states.values(), found.keys()
        assert set(found) == set(files)
        seen.append(found == states["big"])
        if status == 0 and number > 1:
            break
        assert status == (1 if sent == signal.SIGINT else 128 + sent), text
    assert seen == sorted(seen)
    assert {seen[0], seen[-1]} == {False, True}


def test_sigterm_leaves_no_scratch_folder(tmp_path, own_folder):
    pytest.importorskip("onnxruntime")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = "convert big.cfg big.weights -o o.onnx --fp16"
    for number in range(1, 100):
        status, text = run(command, own_folder, partial(scratch_in, str(scratch), number))
        assert not list(scratch.iterdir()), number
        if status == 0:
            break
        assert status == 128 + signal.SIGTERM, text
        assert text.endswith("ended by SIGTERM\n")
    assert number > 2


def test_a_signal_that_is_ignored_stays_ignored(folder):
    (folder / "out").mkdir()
    prepare = partial(ignoring, 1, signal.SIGHUP, str(folder / "out"))
    assert run(CASES["darknet"][0].format("big"), folder, prepare)[0] == 0


def run_code(code, folder):
    """Run a program in a process whose signals nobody has touched."""
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=folder, env={"PYTHONPATH": str(root)}
    )


def test_a_signal_that_somebody_swallowed_ends_the_next_step(tmp_path):
    run_code(
        "import contextlib, os, signal, time\n"
        "from darkconv.files.signals import Ended, end_if_asked, ending_in_order\n"
        "raised = False\n"
        "with ending_in_order():\n"
        "    with contextlib.suppress(Ended):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(60)\n"
        "    try:\n"
        "        end_if_asked()\n"
        "    except Ended:\n"
        "        raised = True\n"
        "assert raised\n"
        "end_if_asked()\n",
        tmp_path,
    )


def test_the_library_installs_no_handlers(tmp_path):
    run_code(
        "import signal\n"
        "before = [signal.getsignal(number) for number in signal.valid_signals()]\n"
        "import darkconv as dc, darkconv.cli\n"
        "from darkconv.assets import load_digits10\n"
        "model = load_digits10()\n"
        "dc.save(model, 'x.cfg', 'x.weights')\n"
        "assert before == [signal.getsignal(number) for number in signal.valid_signals()]\n",
        tmp_path,
    )


TRAINING = (
    "finetune digits10.cfg digits10.weights --data digits10.data --split valid --steps 4 --batch 2 "
    "--checkpoint-every 1 --workers 0 --device cpu --draw-every 0 -o a.cfg a.weights"
)


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_training_that_is_stopped_says_what_is_kept_and_goes_on(sent, tmp_path):
    pytest.importorskip("lightning")
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    checkpoints = tmp_path / "a.run/checkpoints"
    status, text = run(TRAINING, tmp_path, partial(at_checkpoint, str(checkpoints), 2, sent))
    assert status == 128 + sent, text
    assert "stopped at step 2 of 4; a.run/checkpoints/last.ckpt keeps step 1." in text
    assert text.endswith(f"To go on from there:\n  darkconv {TRAINING} --resume\n")
    assert not list(tmp_path.rglob(".*.tmp"))
    assert not (tmp_path / "a.weights").exists()
    status, text = run(TRAINING, tmp_path)
    assert status == 1
    assert "a.run: holds a run with a checkpoint of step 1, which this run would replace" in text
    assert run(f"{TRAINING} --resume", tmp_path)[0] == 0
    assert (tmp_path / "a.weights").exists()


def at_checkpoint(folder, number, sent, events):
    """Preparation: send a signal when the n-th checkpoint is begun."""
    seen = 0

    def hook(event, args):
        nonlocal seen
        if (
            event == "open"
            and str(args[0]).endswith("last.ckpt.0.tmp")
            and int(args[2]) & os.O_CREAT
        ):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), sent)

    sys.addaudithook(hook)


def test_resume_with_nothing_there_says_so(tmp_path):
    pytest.importorskip("lightning")
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    status, text = run(f"{TRAINING} --resume", tmp_path)
    assert status == 1
    assert text.startswith("error: a.run: holds no checkpoint to go on from\n  hint: without --res")
    assert not (tmp_path / "a.run").exists()
