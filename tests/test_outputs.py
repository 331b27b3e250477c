"""Outputs are held against inputs and each other before a command works: a walk over all."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.console.files import ReadType, WrittenType
from darkconv.errors import DarkconvError
from darkconv.files import write_bytes
from darkconv.files.outputs import (
    check_outputs,
    guarding_files,
    note_input,
    note_output,
    note_pictures,
)
from darkconv.options.command import ModelCommand
from faults.processes import digests
from networks import cfg_text, network, random_model

BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=16\nactivation=linear\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)
NOT_FILES = {
    "names_encoding", "dynamic", "only_classes", "split", "valid_split", "rename", "class_weights",
    "add", "init", "lock", "name", "url",
    "keep",  # a names file is read, and noted, by read_names
}  # fmt: skip
"""Options of any text: it names no file. What is not listed here has a type that says which."""


def commands(group=main, path=""):
    """Every command with the words that call it."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS = dict(commands())
OUTPUTS = {
    (name, parameter.opts[-1])
    for name, command in COMMANDS.items()
    for parameter in command.params
    if isinstance(parameter.type, WrittenType)
}


@dataclass(frozen=True)
class Case:
    """A command whose output is one of its inputs.

    Attributes:
        command: that calls it.
        option: of the output.
        words: behind the command.
        may_be_asked: `--overwrite` lets it replace the input.
        needs: a library.
    """

    command: str
    option: str
    words: str
    may_be_asked: bool = False
    needs: str = "numpy"

    def __str__(self):
        return f"{self.command} {self.option}"


MODEL = "net.cfg net.weights"
ITSELF = f"{MODEL} -o {MODEL}"
CASES = [
    Case("convert", "--output", ITSELF, may_be_asked=True),
    Case("verify", "--report", f"{MODEL} --report net.weights"),
    Case(
        "fetch",
        "--output",
        "yolov3-tiny --url {here}/yolov3-tiny.weights --overwrite",
        needs="requests",
    ),
    Case("detect", "--output", f"{MODEL} pics/0.png -o pics", needs="PIL"),
    Case("eval", "--output", f"{MODEL} --data pics -o pics --no-plots", needs="torch"),
    Case("eval", "--report", f"{MODEL} --data pics --report net.names"),
    Case("reclass", "--output", f"{ITSELF} --keep cat,fox", may_be_asked=True),
    Case("dissect", "--output", f"{ITSELF} --images pics"),
    Case("dissect", "--report", f"{MODEL} --images pics -o s.cfg s.weights --report net.cfg"),
    Case("dissect", "--run", f"{MODEL} --images pics --recover --run pics -o s.cfg s.weights"),
    Case("profile", "--output", f"{MODEL} p.npz pics -o p.npz"),
    Case("profile", "--report", f"{MODEL} pics/0.png -o q.npz --report pics/0.png", needs="PIL"),
    Case("prune", "--output", f"{ITSELF} --score l1 --ratio 0.2 --multiple 1", may_be_asked=True),
    Case("prune", "--save-plan", f"{MODEL} --plan p.json --save-plan p.json"),
    Case("finetune", "--output", f"{ITSELF} --data pics --steps 1"),
    Case("finetune", "--run", "run/best.safetensors --data pics --run run -o s.cfg s.weights"),
    Case("graft", "--output", f"{MODEL} net.cfg -o {MODEL}", may_be_asked=True),
    Case("data check", "--output", "pics -o pics/0.png", needs="PIL"),
    Case("data convert", "--output", "pics -o pics --to yolo", needs="PIL"),
    Case("anchors", "--plot", "--data pics -n 1 --plot pics/0.png", needs="PIL"),
    Case("weights fold", "--output", ITSELF, may_be_asked=True),
    Case("weights average", "--output", f"{MODEL} net.weights -o {MODEL}", may_be_asked=True),
    Case(
        "weights partial",
        "--output",
        f"{MODEL} --layers 1 -o net.weights",
        may_be_asked=True,
    ),
    Case("weights backbone", "--output", f"{MODEL} -o net.weights", may_be_asked=True),
    Case("weights swap-rgb", "--output", ITSELF, may_be_asked=True),
    Case("demo", "--output", "-o demo"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of a model, pictures with labels, and others that only have the right names."""
    monkeypatch.chdir(tmp_path)
    model = random_model(network(BODY, (3, 16, 16)), names=("cat", "dog", "fox"))
    Path("net.cfg").write_text(cfg_text(BODY, (3, 16, 16)))
    dc.save(model, "net.cfg", "net.weights", names="net.names")
    for name in ("pics", "run", "demo"):
        Path(name).mkdir()
    for name in ("p.npz", "p.json", "run/best.safetensors", "demo/back.cfg", "yolov3-tiny.weights"):
        Path(name).write_bytes(b"as it was")
    return tmp_path


@pytest.fixture
def pictures(folder):
    """A picture in each of three folders, two of them of one name, with labels."""
    image_module = pytest.importorskip("PIL.Image")
    for place in ("pics/0", "a/x", "b/x"):
        Path(place).parent.mkdir(exist_ok=True)
        image_module.new("RGB", (30, 20), (200, 30, 30)).save(f"{place}.png")
        Path(f"{place}.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    return folder


def run(line, status=0):
    result = CliRunner().invoke(main, line.split())
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    return result.stderr


def test_every_command_holds_its_files_against_each_other():
    assert not [name for name, command in COMMANDS.items() if not isinstance(command, ModelCommand)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_whether_it_names_a_file_to_read_or_to_write(name):
    for parameter in COMMANDS[name].params:
        if isinstance(parameter.type, ReadType | WrittenType):
            continue
        assert not isinstance(parameter.type, click.Path | click.File), parameter.opts
        if parameter.type is click.STRING:
            assert parameter.name in NOT_FILES, f"{parameter.opts}: give it a type of file_types"


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_that_write_have_overwrite(name):
    has_use = any(
        isinstance(parameter.type, WrittenType) and parameter.type.has_overwrite
        for parameter in COMMANDS[name].params
    )
    has_option = any("--overwrite" in parameter.opts for parameter in COMMANDS[name].params)
    assert has_option == has_use


def test_every_output_option_has_a_case():
    assert {(case.command, case.option) for case in CASES} == OUTPUTS


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_output_that_is_an_input_is_refused(case, pictures):
    pytest.importorskip(case.needs)
    before = digests(pictures)
    words = case.words.format(here=pictures.as_uri())
    text = run(f"{case.command} {words}", status=1)
    assert "would be replaced" in text or "is there already" in text or "would replace" in text
    assert digests(pictures) == before


@pytest.mark.parametrize("case", [case for case in CASES if case.may_be_asked], ids=str)
def test_overwrite_replaces_an_input(case, pictures):
    before = digests(pictures)
    text = run(f"{case.command} {case.words} --overwrite")
    assert "wrote net." in text
    after = digests(pictures)
    assert after.keys() == before.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"net.cfg", "net.weights", "net.names"}
    if "net.cfg" in case.words.partition(" -o ")[2]:
        dc.load("net.cfg", "net.weights")


@pytest.mark.parametrize(
    "line",
    [
        f"detect {MODEL} pics/0.png -o pics --overwrite",
        f"eval {MODEL} --data pics -o pics --no-plots --overwrite",
        f"convert {MODEL} -o net.onnx --in-place -o net.cfg net.weights --overwrite",
    ],
)
def test_pictures_labels_and_arrays_in_place_are_never_replaced(line, pictures):
    pytest.importorskip("torch")
    pytest.importorskip("onnx_ir")
    before = digests(pictures)
    assert "such a file is never replaced" in run(line, status=1)
    assert digests(pictures) == before


@pytest.mark.parametrize(
    "line",
    [
        f"convert {MODEL} -o x.onnx -o ./x.onnx",
        f"convert {MODEL} -o x.onnx -o link.onnx",
        f"convert {MODEL} -o s.cfg s.weights -o s.cfg t.weights",
        f"convert {MODEL} -o x.savedmodel -o x.savedmodel/y.onnx",
        f"profile {MODEL} pics -o q.npz --report q.npz",
        f"prune {MODEL} --score l1 --ratio 0.2 -o s.cfg s.weights --save-plan s.names",
        f"dissect {MODEL} --images pics -o s.cfg s.weights --report s.cfg",
        f"finetune {MODEL} --data pics --run s.cfg -o s.cfg s.weights",
        f"finetune {MODEL} --data pics --run run2 -o run2/best.safetensors",
        f"eval {MODEL} --data pics -o found --report found",
        f"detect {MODEL} a/x.png b/x.png -o out",
        f"eval {MODEL} --data a --data b -o out --no-plots",
    ],
)
def test_outputs_that_are_one_file_are_refused(line, pictures):
    pytest.importorskip("torch")
    Path("link.onnx").symlink_to("x.onnx")
    for name in ("x.savedmodel", "run2"):
        Path(name).mkdir()
    Path("x.savedmodel/saved_model.pb").touch()
    before = digests(pictures)
    assert "is to be written twice" in run(line, status=1)
    assert digests(pictures) == before


@pytest.mark.parametrize("name", ["./pics/../net.weights", "soft.weights", "hard.weights"])
def test_another_name_of_an_input_is_known(name, folder):
    Path("soft.weights").symlink_to("net.weights")
    os.link("net.weights", "hard.weights")
    before = digests(folder)
    text = run(f"weights fold {MODEL} -o new.cfg {name}", status=1)
    assert f"{Path(name)}: is read by this run" in text
    assert digests(folder) == before


@pytest.mark.parametrize("output", ["other.cfg net.weights", "net.cfg other.weights"])
def test_halves_of_two_models_are_not_mixed(output, folder):
    for suffix in ("cfg", "weights"):
        Path(f"third.{suffix}").write_bytes(Path(f"net.{suffix}").read_bytes())
    before = digests(folder)
    run(f"weights fold {MODEL} -o {output}", status=1)
    text = run(f"weights fold third.cfg third.weights -o {output}", status=1)
    assert "belongs to net." in text
    assert digests(folder) == before
    run(f"weights fold third.cfg third.weights -o {output} --overwrite")


@pytest.mark.parametrize(
    ("line", "file"),
    [
        (f"convert {MODEL} -o s.cfg s.weights", "s.names"),
        (f"reclass {MODEL} --keep cat --data net.data -o s.cfg s.weights", "s.data"),
        (f"dissect {MODEL} --images pics -o s.cfg s.weights", "s.html"),
    ],
)
def test_a_file_that_no_output_has_made_is_not_replaced_beside_one(line, file, pictures):
    Path("net.data").write_text("classes = 3\n")
    Path(file).write_text("somebody's")
    before = digests(pictures)
    text = run(line, status=1)
    assert f"{file}: would be written beside s.cfg, but is there already, without it" in text
    assert digests(pictures) == before


def test_drawings_replace_drawings_and_nothing_else(pictures):
    pytest.importorskip("torch")
    line = f"detect {MODEL} a/x.png -o out"
    run(line)
    run(line)
    foreign = Path("b/x.png").read_bytes()
    Path("out/x.png").write_bytes(foreign)
    assert "out/x.png: is there already, and was not made by darkconv" in run(line, status=1)
    assert Path("out/x.png").read_bytes() == foreign
    run(f"{line} --overwrite")
    assert Path("out/x.png").read_bytes() != foreign
    run(f"detect {MODEL} a/x.png a a/../a/x.png -o out")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a/x.png b/x.png -o out.png", "out.png: is the name of one picture, for 2 drawings"),
        ("a/x.png -o out.bmp", "out.bmp: pictures are drawn into pictures: expected a folder"),
        ("a/x.png -o out.mp4", "out.mp4: pictures are drawn into pictures: expected a folder"),
    ],
)
def test_folders_do_not_get_the_name_of_a_picture_or_a_video(line, message, pictures):
    assert message in run(f"detect {MODEL} {line}", 1)
    assert not list(Path().glob("out*"))


@pytest.mark.parametrize(
    "line",
    [f"detect {MODEL} a/x.png", f"prune {MODEL} --explain 1", f"eval {MODEL} --data pics", "fetch"],
)
def test_overwrite_without_an_output_is_refused(line, pictures):
    assert "--overwrite would do nothing" in run(f"{line} --overwrite", 2)


def test_detections_replace_detections_and_nothing_else(pictures):
    pytest.importorskip("torch")
    pytest.importorskip("faster_coco_eval")
    line = f"eval {MODEL} --data pics --threshold 0.01 -o out --no-plots"
    run(line)
    run(line)
    Path("out/0.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    assert "out/0.txt: is there already, and was not made by darkconv" in run(line, status=1)
    assert Path("out/0.txt").read_text() == "0 0.5 0.5 0.2 0.4\n"
    run(f"{line} --overwrite")


@pytest.mark.skipif(sys.platform == "win32", reason="root and permissions are POSIX's")
@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() == 0, reason="root may write all")
def test_a_file_that_is_closed_to_writing_is_not_replaced(folder):
    Path("s.weights").touch(0o444)
    assert "s.weights: cannot write: Permission denied" in run(
        f"weights fold {MODEL} -o s.cfg s.weights", status=1
    )


def test_the_check_serves_programs_too(folder):
    check_outputs(["new.onnx"], ["net.cfg", "net.weights"])
    check_outputs(["net.weights"], ["net.cfg", "net.weights"], overwrite=True)
    with pytest.raises(DarkconvError, match=r"net.weights: is read by this run, as \./net"):
        check_outputs(["net.weights"], ["./net.weights"])
    with pytest.raises(DarkconvError, match="is to be written twice, also as x.onnx"):
        check_outputs(["x.onnx", "./x.onnx"])


def test_files_may_be_told_of_in_any_order(folder):
    with guarding_files():
        note_output("net.weights")
        with pytest.raises(DarkconvError, match="is read by this run"):
            note_input("net.weights")
    with guarding_files(overwrite=True):
        note_input("./p.npz")
        note_output("p.npz")
        with pytest.raises(DarkconvError, match="never replaced"):
            note_pictures(["p.npz"])


def test_a_writer_that_nobody_told_of_does_not_replace_an_input(folder):
    with guarding_files():
        note_input("net.weights")
        write_bytes("new", [b"1"])
        write_bytes("new", [b"2"])
        note_input("new")  # what the run has made is no input of its own
        write_bytes("new", [b"3"])
        with pytest.raises(DarkconvError, match="net.weights: is read by this run"):
            write_bytes("net.weights", [b"lost"])
    assert Path("net.weights").read_bytes() != b"lost"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.onnx",), "x.onnx: save writes Darknet's own files: expected a name that ends in .cfg"),
        (("x.onnx", None), "dc.export writes other formats"),
        (("x.cfg", "x.onnx"), "expected a name that ends in .weights"),
        (("x.weights", "x.cfg"), "expected a name that ends in .cfg"),
        (("only.cfg",), "weights=None writes the cfg alone"),
        (("no/x.cfg", "x.weights"), "no/x.cfg: cannot write: No such file or directory"),
    ],
)
def test_save_writes_what_is_asked_for_or_nothing(arguments, message, folder):
    model = dc.load("net.cfg", "net.weights")
    before = digests(folder)
    with pytest.raises(DarkconvError) as caught:
        dc.save(model, *arguments)
    assert message in str(caught.value)
    assert digests(folder) == before


def test_save_writes_a_cfg_alone_where_that_is_said(folder):
    model = dc.load("net.cfg", "net.weights")
    dc.save(model, "only.cfg", None)
    assert Path("only.cfg").read_bytes() == Path("net.cfg").read_bytes()
    assert not Path("only.weights").exists()


def test_save_refuses_one_file_for_two(folder):
    model = dc.load("net.cfg", "net.weights")
    with pytest.raises(DarkconvError, match="is to be written twice"):
        dc.save(model, "s.cfg", "s.weights", names="./s.cfg")
