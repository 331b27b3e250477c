"""The house rules: who imports whom, and what costs nothing to import."""

import ast
import configparser
import graphlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "darkconv"
FRAMEWORKS = {
    "torch",
    "keras",
    "tensorflow",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "PIL",
    "lightning",
    "yaml",
}

ROOMS = {
    "arguments": "errors",
    "assets": "core loading",
    "augmentation": "core dataset errors files pictures",
    "backends": (
        "arguments augmentation core darknet dataset encodings errors files layers libraries "
        "pictures private_names surgery"
    ),
    "boxes": "",
    "cli": (
        "backends console core darknet dataset demo detection dissection errors evaluation "
        "exporting files imports libraries loading options pictures profiling report surgery "
        "training verification zoo"
    ),
    "console": "core errors files libraries logs",
    "core": "arguments encodings errors files presentation",
    "darknet": "core encodings errors files layers libraries",
    "dataset": (
        "arguments boxes core darknet encodings errors files layers libraries pictures "
        "presentation report"
    ),
    "demo": (
        "assets console core darknet dataset detection dissection errors evaluation exporting "
        "files libraries loading pictures presentation report surgery training verification"
    ),
    "detection": (
        "arguments backends boxes core darknet dataset errors files layers libraries loading "
        "pictures presentation report"
    ),
    "dissection": (
        "arguments backends core darknet dataset detection errors evaluation files layers "
        "libraries loading logs pictures presentation profiling report surgery training "
        "verification"
    ),
    "encodings": "",
    "errors": "",
    "evaluation": (
        "arguments backends boxes core dataset detection encodings errors files libraries "
        "pictures presentation report"
    ),
    "exporting": (
        "arguments backends core dataset encodings errors files layers libraries loading "
        "pictures presentation verification"
    ),
    "files": "errors",
    "imports": "arguments backends core darknet errors files layers libraries loading verification",
    "layers": "core errors",
    "libraries": "errors",
    "loading": "arguments backends core darknet errors files",
    "logs": "errors",
    "options": (
        "backends console core darknet dataset detection errors exporting files imports loading "
        "logs profiling surgery"
    ),
    "pictures": "core darknet errors files libraries",
    "presentation": "errors",
    "private_names": "errors libraries",
    "profiling": "arguments backends core dataset detection errors files layers surgery",
    "report": "core errors files libraries pictures presentation",
    "surgery": "arguments core darknet errors files layers presentation report",
    "training": (
        "arguments augmentation backends core darknet dataset detection errors evaluation files "
        "layers pictures presentation private_names report surgery"
    ),
    "verification": (
        "arguments assets backends boxes core dataset detection errors evaluation files layers "
        "loading pictures presentation report"
    ),
    "zoo": "core darknet errors files layers libraries presentation",
}
"""For each room of the package, the rooms that it imports from."""
ALLOWED = {room: set(names.split()) for room, names in ROOMS.items()}


def modules(room):
    path = PACKAGE / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imports(path):
    """(module, at module level) of every import of a file."""
    tree = ast.parse(path.read_text())
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.If))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module, node not in inside
            if node.module.split(".")[0] == "darkconv":  # a name may be that of a module
                for alias in node.names:
                    yield f"{node.module}.{alias.name}", node not in inside


def rooms_imported_by(path):
    """The other rooms that a file imports from, wherever in it."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    parts = (name.split(".") for name, _ in imports(path))
    found = {part[1] for part in parts if part[0] == "darkconv" and len(part) > 1}
    return found & set(ALLOWED) - {own}


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_from_the_rooms_of_its_row(room):
    used = set()
    for path in modules(room):
        assert rooms_imported_by(path) <= ALLOWED[room], path
        used |= rooms_imported_by(path)
    assert used == ALLOWED[room], "the row allows more than the room needs"


def test_rooms_do_not_import_each_other_in_a_circle():
    assert set(graphlib.TopologicalSorter(ALLOWED).static_order()) == set(ALLOWED)


def test_every_room_has_a_row():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules("")}
    assert rooms - {"__init__", "__main__"} == set(ALLOWED)


def test_no_command_imports_a_command():
    from darkconv.cli import COMMANDS

    commands = {f"darkconv.cli.{name}" for name in COMMANDS}
    for path in modules("cli"):
        others = commands - {f"darkconv.cli.{path.stem}"}
        assert not others & {name for name, _ in imports(path)}, path


def test_no_spoke_imports_another():
    spokes = {"torch", "onnx", "keras"}
    for spoke in spokes:
        for path in modules(f"backends/{spoke}"):
            for name, _ in imports(path):
                other = name.removeprefix("darkconv.backends.").split(".")[0]
                assert not (name.startswith("darkconv.backends.") and other in spokes - {spoke})


def test_only_rooms_that_compute_import_frameworks_at_module_level():
    names = ("backends/torch", "backends/onnx", "backends/keras", "profiling", "training")
    rooms = [PACKAGE / room for room in names]
    for path in PACKAGE.rglob("*.py"):
        if any(path.is_relative_to(room) for room in rooms):
            continue
        for name, is_outside in imports(path):
            assert not (is_outside and name.split(".")[0] in FRAMEWORKS), f"{path} imports {name}"


@pytest.mark.parametrize(
    "code",
    [
        "import darkconv",
        "import darkconv; darkconv.load; darkconv.save; darkconv.reclass; darkconv.detect",
        "from darkconv.cli import main; main(['--help'], standalone_mode=False)",
        "from darkconv.cli import main; main(['info', 'yolov3-tiny'], standalone_mode=False)",
    ],
    ids=["import", "hub", "--help", "info"],
)
def test_no_framework_is_loaded_before_it_is_needed(code):
    script = f"import sys\n{code}\nprint(sorted({FRAMEWORKS!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_import_and_help_do_not_even_load_numpy():
    script = (
        "import sys, darkconv\nfrom darkconv.cli import main\n"
        "main(['--help'], standalone_mode=False)\nprint('numpy' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "False"


MAY_START = {"exporting/kits/ncnn.py": "pnnx is a program: its package has no other way in"}
"""The modules that start a program, and why."""


def test_no_module_starts_a_program():
    starts = {"subprocess", "webbrowser", "pty", "os.system", "os.popen", "os.startfile"}
    for path in PACKAGE.rglob("*.py"):
        names = {name for name, _ in imports(path)}
        names |= {
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
        }
        found = {name for name in names if name.startswith(("os.exec", "os.spawn", "os.posix_"))}
        found |= starts & names
        allowed = {"subprocess"} if path.relative_to(PACKAGE).as_posix() in MAY_START else set()
        assert found == allowed, path


@pytest.mark.parametrize("module", MAY_START)
def test_a_program_is_started_in_one_place_without_a_shell_and_with_an_end(module):
    tree = ast.parse((PACKAGE / module).read_text())
    used = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "subprocess"
    ]
    harmless = {"DEVNULL", "PIPE", "STDOUT", "TimeoutExpired"}
    assert [node.attr for node in used if node.attr not in harmless] == ["run"]
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "subprocess.run"
    )
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    assert {"timeout", "stdin", "stdout", "stderr"} <= given.keys()
    assert not {"shell", "executable", None} & given.keys()
    assert ast.unparse(call.args[0]) == "command"
    (command,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "command"
    )
    assert isinstance(command, ast.List)
    assert ast.unparse(command.elts[0]) == "str(_program())"


NAMED_AS_A_LAYER = {"Detection": "detection/detect.py"}
"""Public classes of `darkconv` whose name is also that of a layer type, and their modules."""


def column(path):
    """What a layer's module and its modules in the backends have in common; else the path itself.

    `layers/conv.py` and `backends/torch/conv.py` describe the same layer types, and
    `backends/keras/losses/yolo.py` and `backends/torch/losses/yolo.py` the same loss.
    """
    parts = path.relative_to(PACKAGE).parts
    if parts[0] == "layers":
        return parts[1:]
    if parts[0] == "backends" and parts[1] in {"torch", "keras", "onnx"}:
        return parts[2:]
    return parts[:-1], parts[-1]


def test_a_class_name_means_one_thing():
    places = {}
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef) or NAMED_AS_A_LAYER.get(node.name) == module:
                continue
            if not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path)
    assert len(places) > 300
    for name, paths in places.items():
        assert len({column(path) for path in paths}) == 1, f"{name}: {sorted(paths)}"
        assert len(set(paths)) == len(paths), f"{name} twice in a module: {sorted(paths)}"


@pytest.mark.parametrize(("name", "module"), NAMED_AS_A_LAYER.items())
def test_a_public_class_that_is_named_as_a_layer_exists(name, module):
    import darkconv
    from darkconv.layers import head

    path = Path(sys.modules[getattr(darkconv, name).__module__].__file__)
    assert path.relative_to(PACKAGE).as_posix() == module
    assert hasattr(head, name)


def test_no_test_has_a_deadline_of_its_own():
    hypothesis = pytest.importorskip("hypothesis")
    assert hypothesis.settings.default.deadline is None
    assert hypothesis.HealthCheck.too_slow in hypothesis.settings.default.suppress_health_check
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("settings"):
                assert not {"deadline"} & {keyword.arg for keyword in node.keywords}, path


def test_every_package_is_shipped():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert listed == found | {"darkconv.cfgs"}


def test_public_names_exist():
    import darkconv

    for name in darkconv.__all__:
        assert getattr(darkconv, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = darkconv.nothing


def test_tests_of_a_module_share_a_process(request):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("all tests share this process")
    assert request.node.nodeid.endswith(f"@{request.path.name}"), "pytest-xdist sees no groups"
