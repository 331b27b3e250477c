"""The map of commands, and what a shell completes."""

import shutil
import subprocess

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from darkconv.cli import TASKS, main


def completions(*words, incomplete=""):
    found = ShellComplete(main, {}, "darkconv", "_X").get_completions(list(words), incomplete)
    return [(item.type, item.value) for item in found]


def test_without_a_command_the_map_is_shown():
    alone, helped = (CliRunner().invoke(main, words) for words in ([], ["--help"]))
    assert alone.exit_code == 0
    assert alone.stdout == helped.stdout
    for task, commands in TASKS.items():
        _, _, rest = alone.stdout.partition(f"\n{task}:\n")
        lines = rest.partition("\n\n")[0].splitlines()
        assert [tuple(line.split(maxsplit=1)) for line in lines] == list(commands.items())


def test_commands_and_options_are_completed():
    assert completions(incomplete="re") == [("plain", "reclass")]
    assert ("plain", "--head") in completions("convert", incomplete="--h")
    found = completions("detect", "--backend", incomplete="")
    assert found == [("plain", "torch"), ("plain", "onnx"), ("plain", "keras")]


def test_models_are_files_or_bundled_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert completions("info", incomplete="") == [("file", "")]
    names = [("plain", "yolov3"), ("plain", "yolov3-spp"), ("plain", "yolov3-tiny")]
    assert completions("info", incomplete="yolov3") == names
    assert completions("info", incomplete="mine") == [("file", "mine")]
    (tmp_path / "yolov3-mine.cfg").touch()
    assert completions("info", incomplete="yolov3") == [("file", "yolov3")]
    assert completions("convert", "a.cfg", "-o", incomplete="b") == [("file", "b")]
    assert completions("finetune", "a.cfg", "--teacher", incomplete="b") == [("file", "b")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_calls_the_program(shell):
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("no bash")
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0, result.output
    assert f"_DARKCONV_COMPLETE={shell}_complete" in result.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.stdout, text=True, check=True)
