"""docs/json.md: what `--json` prints is what the page says."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from darkconv.assets import digits10_folder
from darkconv.cli import COMMANDS, main

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("onnxruntime")

PAGE = Path(__file__).resolve().parents[1] / "docs" / "json.md"
CASES = re.findall(r"^```sh\n(.*?)\n```\n\n```json\n(.*?)^```", PAGE.read_text(), re.M | re.S)
TYPES = {
    "text": str,
    "number": (int, float),
    "number or null": (int, float, type(None)),
    "text or null": (str, type(None)),
    "boolean": bool,
    "anything": object,
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each of the page's commands prints, in their order."""
    folder = tmp_path_factory.mktemp("json") / "digits"
    shutil.copytree(digits10_folder(), folder)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line, _ in CASES:
            program, *arguments = shlex.split(line)
            assert program == "darkconv"
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, result.output
            found[line] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    ("line", "shape"), CASES, ids=[line.split(maxsplit=1)[1] for line, _ in CASES]
)
def test_output_has_the_documented_form(outputs, line, shape):
    compare(outputs[line], json.loads(shape), "")


def compare(value, shape, place):
    if isinstance(shape, dict):
        assert isinstance(value, dict), place
        any_name = shape.get("...")
        if any_name is None:
            assert set(value) == set(shape), place
        for name, inner in value.items():
            compare(inner, shape.get(name, any_name), f"{place}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), place
        for inner in value:
            compare(inner, shape[0], f"{place}[]")
    else:
        kind = shape.partition(":")[0]
        assert isinstance(value, TYPES[kind]), f"{place}: {value!r} is no {kind}"
        assert kind in ("boolean", "anything") or not isinstance(value, bool), place


def test_every_command_with_json_is_on_the_page():
    documented = {line.split()[1] for line, _ in CASES} | {"dissect"}
    for name in COMMANDS:
        command = main.get_command(None, name)
        inner = getattr(command, "commands", {"": command}).values()
        if any("--json" in parameter.opts for one in inner for parameter in one.params):
            assert name in documented
