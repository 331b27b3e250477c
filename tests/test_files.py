"""Writing files: links are followed, permissions kept, and all goes through darkconv.files."""

import ast
import os
import stat
import sys
from pathlib import Path

import pytest

import darkconv
from darkconv.errors import DarkconvError
from darkconv.files import filling_folder, replacing, write_bytes, write_together

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX's links and permissions")


def by_replacing(path):
    with replacing(path) as temporary:
        assert temporary.parent.resolve() == Path(path).resolve().parent
        temporary.write_bytes(b"new")


WRITERS = {
    "write_bytes": lambda path: write_bytes(path, [b"new"]),
    "write_together": lambda path: write_together({f"{path}.beside": [b"1"], path: [b"new"]}),
    "replacing": by_replacing,
}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield WRITERS[request.param]
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o664, 0o755])
def test_a_replaced_file_keeps_its_permissions(write, permissions):
    Path("x").write_bytes(b"old")
    Path("x").chmod(permissions)
    write("x")
    assert Path("x").read_bytes() == b"new"
    assert mode("x") == permissions


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_the_umask(write, mask):
    before = os.umask(mask)
    try:
        write("x")
    finally:
        os.umask(before)
    assert mode("x") == 0o666 & ~mask


def test_nobody_else_can_read_the_temporary_file_of_a_secret_one(tmp_path):
    target = tmp_path / "x"
    target.write_bytes(b"old")
    target.chmod(0o600)
    with replacing(target) as temporary:
        assert mode(temporary) == 0o600


def test_a_link_is_written_through(write):
    Path("far").mkdir()
    Path("far/x").write_bytes(b"old")
    Path("far/x").chmod(0o640)
    Path("near").symlink_to("far/x")
    Path("nearer").symlink_to("near")
    write("nearer")
    assert Path("nearer").readlink() == Path("near")
    assert Path("near").is_symlink()
    assert Path("far/x").read_bytes() == b"new"
    assert mode("far/x") == 0o640


def test_a_link_to_a_file_that_is_not_there_makes_it(write):
    Path("far").mkdir()
    Path("near").symlink_to("far/x")
    write("near")
    assert Path("near").is_symlink()
    assert Path("far/x").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("near", "Too many levels of symbolic links"),
        ("nowhere/x", "No such file or directory"),
        (".", "it is there, and is no file"),
        ("/dev/null", "it is there, and is no file"),
    ],
)
def test_a_link_that_leads_to_no_file_is_refused_and_stays(write, target, reason):
    Path("near").symlink_to(target)
    with pytest.raises(DarkconvError, match=reason):
        write("near")
    assert Path("near").readlink() == Path(target)
    assert sorted(os.listdir()) == ["near"]


def test_the_other_name_of_a_file_keeps_the_old_one(write):
    Path("x").write_bytes(b"old")
    os.link("x", "y")
    write("x")
    assert Path("x").read_bytes() == b"new"
    assert Path("y").read_bytes() == b"old"


def test_a_file_and_a_link_to_it_are_not_both_written(tmp_path):
    (tmp_path / "near").symlink_to("x")
    with pytest.raises(DarkconvError, match="is to be written twice"):
        write_together({tmp_path / "x": [b"1"], tmp_path / "near": [b"2"]})
    assert os.listdir(tmp_path) == ["near"]


def test_a_folder_to_fill_lies_beside_what_a_link_leads_to(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to("far/x")
    with filling_folder(tmp_path / "near") as folder:
        assert folder.parent == tmp_path / "far"


WRITING_NAMES = {
    "write_text", "mkdir", "mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile",
    "TemporaryFile", "copytree", "copyfile", "copy", "copy2", "symlink_to", "makedirs",
}  # fmt: skip
OWN = {"files/writing.py", "files/temporaries.py"}
ALLOWED = {
    ("zoo/download.py", "open"),  # the part of a download, with which the next run goes on
    ("detection/clip.py", "open"),  # PyAV's, of a temporary file of `replacing`
    ("backends/quiet.py", "open"),  # the null device
    ("exporting/eight_bits.py", "write_bytes"),  # into a scratch folder
    *(("exporting/kits/writing.py", name) for name in ("mkdir", "write_text")),
    ("exporting/kits/kit.py", "mkdir"),  # both into the new folder of `replacing_folder`
    *(("zoo/package.py", name) for name in ("mkdir", "write_bytes")),  # and so here
    ("backends/keras/files.py", "copyfile"),  # into a scratch folder
    ("backends/keras/files.py", "copytree"),  # into a temporary folder
    *(("dataset/write.py", name) for name in ("mkdir", "copyfile", "symlink_to", "write_bytes")),
    ("dataset/write.py", "write_text"),  # all into a temporary folder
    ("backends/keras/files.py", "open"),  # a member of an archive in a temporary file
}


def writing_calls(path):
    """Names of the calls in a module that would write past `darkconv.files`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        modes = [text for text in texts if isinstance(text, str) and len(text) <= 3]
        if name == "open" and any(set(text) & set("wax+") for text in modes):
            yield name
        if name == "write_bytes" and isinstance(node.func, ast.Attribute):
            yield name
        if name in WRITING_NAMES and not _is_a_copy_in_memory(node):
            yield name


def _is_a_copy_in_memory(node):
    return getattr(node.func, "attr", None) == "copy" and getattr(
        getattr(node.func, "value", None), "id", None
    ) not in ("shutil",)


def test_everything_is_written_by_the_files_module():
    package = Path(darkconv.__file__).parent
    found = {
        (path.relative_to(package).as_posix(), name)
        for path in package.rglob("*.py")
        if path.relative_to(package).as_posix() not in OWN
        for name in writing_calls(path)
    }
    assert found <= ALLOWED, found - ALLOWED
