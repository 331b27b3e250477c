"""Files that several processes write, and files that change while they are in use."""

import multiprocessing
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.errors import CfgError, WeightsError
from darkconv.files import write_bytes
from faults.processes import PRELOADED, digests, run, start

PARTS = ("cfg", "weights", "names")
TIMES = 30
HINT = "  hint: run the command again; a file that is renamed over it would not disturb\n"


def in_processes(*targets):
    """Run functions beside each other; each must end well."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    processes = [server.Process(target=target) for target in targets]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(targets)


def save_often(source, target):
    """Write a model again and again."""
    model = dc.load(f"{source}.cfg", f"{source}.weights")
    for _ in range(TIMES):
        dc.save(model, f"{target}.cfg", f"{target}.weights", names=f"{target}.names")


def load_often(sources, target):
    """Load what others write: each time it is one of the models, or refused."""
    models = [dc.load(f"{source}.cfg", f"{source}.weights") for source in sources]
    for _ in range(10 * TIMES):
        try:
            found = dc.load(f"{target}.cfg", f"{target}.weights")
        except (CfgError, WeightsError):
            continue
        anchors = found.network.heads[0].section.get("anchors")
        (same,) = [m for m in models if m.network.heads[0].section.get("anchors") == anchors]
        assert found.names == same.names
        assert np.array_equal(found.arrays["0.weights"], same.arrays["0.weights"])


@pytest.fixture
def big(own_folder, monkeypatch):
    monkeypatch.chdir(own_folder)
    return own_folder


def is_whole(folder, parts=PARTS):
    """Whether the files of `o` are those of one model."""
    now = {part: (folder / f"o.{part}").read_bytes() for part in parts}
    return now in [
        {part: (folder / f"{name}.{part}").read_bytes() for part in parts}
        for name in ("big", "other")
    ]


def test_of_two_that_write_the_same_files_one_wins_wholly(big):
    names = [str(big / name) for name in ("big", "other", "o")]
    in_processes(*(partial(save_often, name, names[2]) for name in names[:2]))
    assert is_whole(big)
    assert not list(big.glob(".*"))


def test_who_reads_meanwhile_gets_one_model_or_an_error(big):
    names = [str(big / name) for name in ("big", "other", "o")]
    shutil.copy(big / "big.cfg", big / "o.cfg")
    for part in PARTS:
        shutil.copy(big / f"big.{part}", big / f"o.{part}")
    writers = [partial(save_often, name, names[2]) for name in names[:2]]
    in_processes(*writers, partial(load_often, names[:2], names[2]))
    assert is_whole(big)


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", ["o.onnx", "o.onnx --external", "o.safetensors", "o.cfg o.weights"]
)
def test_two_commands_at_once(big, target):
    pytest.importorskip("torch")
    pytest.importorskip("onnx_ir")
    results = []
    for name in ("big", "other"):
        run(f"convert {name}.cfg {name}.weights -o {target}", big)
        results.append(outputs(big))
    assert results[0] != results[1]
    for _ in range(6):
        commands = [
            start(f"convert {name}.cfg {name}.weights -o {target}", big)
            for name in ("big", "other")
        ]
        assert [command.wait()[0] for command in commands] == [0, 0]
        assert outputs(big) in results


def outputs(folder):
    return {n: d for n, d in digests(folder).items() if n.startswith(("o.", "."))}


# a weights file that changes while it is mapped


def test_a_file_that_is_renamed_over_does_not_disturb(big):
    model = dc.load("big.cfg", "big.weights")
    before = Path("big.weights").read_bytes()
    write_bytes("big.weights", [Path("other.weights").read_bytes()])
    dc.save(model, "o.cfg", "o.weights")
    assert Path("o.weights").read_bytes() == before


def spoil(path):
    """Change a byte in place."""
    with open(path, "r+b") as file:
        file.seek(1000)
        file.write(b"\x01")


def test_a_file_that_was_written_to_is_not_saved(big):
    model = dc.load("big.cfg", "big.weights")
    spoil("big.weights")
    with pytest.raises(WeightsError, match="^big.weights: was overwritten while it was in use"):
        dc.save(model, "o.cfg", "o.weights")
    assert not list(big.glob("o.*"))
    assert not list(big.glob(".*"))


def spoil_when(trigger, action, weights, events):
    """Preparation: do something to the weights when a file is opened whose path ends so."""
    is_done = False

    def hook(event, args):
        nonlocal is_done
        if event == "open" and not is_done and str(args[0]).endswith(trigger):
            is_done = True
            action(weights)

    sys.addaudithook(hook)


def cut(path):
    os.truncate(path, 4096)


COMMANDS = [
    ("convert big.cfg big.weights -o o.cfg o.weights", ".o.cfg.0.tmp"),
    ("convert big.cfg big.weights -o o.onnx", ".o.onnx.0.tmp"),
    ("convert big.cfg big.weights -o o.onnx --external", ".o.onnx.0.tmp"),
    ("convert big.cfg big.weights -o o.onnx --in-place", ".o.onnx.0.tmp"),
    ("convert big.cfg big.weights -o o.safetensors", ".o.safetensors.0.tmp"),
    ("reclass big.cfg big.weights --keep dog -o o.cfg o.weights", ".o.cfg.0.tmp"),
    ("prune big.cfg big.weights --score l1 --ratio 0.9 -o o.cfg o.weights", ".o.weights.0.tmp"),
    ("profile big.cfg big.weights pics -o o.npz", "3.png"),
    ("weights fold big.cfg big.weights -o o.cfg o.weights", ".o.weights.0.tmp"),
    ("detect big.cfg big.weights pics", "3.png"),
    ("weights stats big.cfg big.weights", "big.names"),
]


@pytest.mark.parametrize(("command", "trigger"), COMMANDS, ids=[c for c, _ in COMMANDS])
def test_a_command_tells_that_its_weights_were_written_to(big, command, trigger):
    pytest.importorskip("torch")
    pytest.importorskip("onnx_ir")
    pytest.importorskip("PIL")
    status, text = run(command, big, partial(spoil_when, trigger, spoil, "big.weights"))
    assert f"error: big.weights: was overwritten while it was in use\n{HINT}" in text
    assert status == 1
    assert not outputs(big)


def replace_whole(path):
    shutil.copy("other.weights", "renamed")
    Path("renamed").rename(path)


def test_a_command_is_not_disturbed_by_a_file_renamed_over(big):
    expected = digests(big)["big.weights"]
    prepare = partial(spoil_when, ".o.cfg.0.tmp", replace_whole, "big.weights")
    status, text = run("convert big.cfg big.weights -o o.cfg o.weights", big, prepare)
    assert status == 0, text
    found = digests(big)
    assert found["o.weights"] == expected
    assert found["big.weights"] == found["other.weights"]


def test_a_file_that_is_cut_ends_the_command_with_nothing_written(big):
    prepare = partial(spoil_when, ".o.cfg.0.tmp", cut, "big.weights")
    status, _ = run("convert big.cfg big.weights -o o.cfg o.weights", big, prepare)
    assert status in (-signal.SIGBUS, 1)
    assert set(outputs(big)) <= {".o.cfg.0.tmp", ".o.weights.0.tmp", ".o.names.0.tmp"}


def test_training_has_its_own_copy(tmp_path):
    pytest.importorskip("lightning")
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    command = (
        "finetune digits10.cfg digits10.weights --data digits10.data --split valid --steps 2 "
        "--batch 2 --workers 0 --device cpu --draw-every 0 -o {0}.cfg {0}.weights"
    )
    prepare = partial(spoil_when, "history.csv.0.tmp", spoil, "digits10.weights")
    kept = (tmp_path / "digits10.weights").read_bytes()
    assert run(command.format("a"), tmp_path, prepare)[0] == 0
    assert (tmp_path / "digits10.weights").read_bytes() != kept
    (tmp_path / "digits10.weights").write_bytes(kept)
    assert run(command.format("b"), tmp_path)[0] == 0
    found = digests(tmp_path)
    assert found["a.weights"] == found["b.weights"]
