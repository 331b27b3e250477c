"""The command line, end to end on small files."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import COMMANDS, main
from darkconv.console.pairs import join_pairs
from darkconv.console.table import format_table
from darkconv.demo import FILES, RECOVERY
from darkconv.exporting.formats import WRITERS
from darkconv.loading.formats import CHECKPOINT_SUFFIXES
from darkconv.presentation.numerals import format_large
from networks import cfg_text, network, random_model

BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=16\nactivation=linear\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\nscale_x_y=1.1\n"
)


@pytest.fixture
def folder(tmp_path):
    """net.cfg, net.weights, net.names and a picture."""
    image_module = pytest.importorskip("PIL.Image")
    model = random_model(network(BODY, (3, 16, 16)), names=("cat", "dog", "fox"))
    (tmp_path / "net.cfg").write_text(cfg_text(BODY, (3, 16, 16)))
    dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights", names=tmp_path / "net.names")
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    image_module.fromarray(levels).save(tmp_path / "a.png")
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def invoke(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def test_help_lists_every_command():
    result = CliRunner().invoke(main, ["--help"])
    assert all(f"  {name} " in result.output for name in COMMANDS)


def test_help_names_every_format():
    assert COMMANDS["convert"] == "Write a model as ONNX, Keras, LiteRT, PyTorch or Darknet files."
    text = " ".join(CliRunner().invoke(main, ["convert", "--help"]).output.split())
    assert COMMANDS["convert"] in text
    assert all(suffix in text for suffix in WRITERS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert f"Example: darkconv {name}" in " ".join(result.output.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_no_bounds_that_are_not_there(name):
    assert "None" not in CliRunner().invoke(main, [name, "--help"]).output


def test_version_is_the_packages():
    assert CliRunner().invoke(main, ["--version"]).output == f"darkconv {dc.__version__}\n"


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["info", "--help"]])
def test_what_cannot_be_printed_is_said_in_a_line(words):
    command = [sys.executable, "-m", "darkconv", *words]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 1
    assert result.stderr == "error: standard output: cannot write: No space left on device\n"


@pytest.mark.parametrize(
    "option", ["--keep zero --keep one", "--overwrite --init mean --init mean"]
)
def test_an_option_of_one_value_is_given_once(run, option):
    """Of two, one would be lost."""
    line = f"reclass digits10.cfg digits10.weights {option} -o small.safetensors"
    assert "takes one value, and is given 2 times" in run(line, status=2).stderr


def test_info_shows_layers_and_totals(run):
    output = run("info net.cfg net.weights").stdout
    assert ["2", "yolo", "16x8x8", "16x8x8"] in [line.split() for line in output.splitlines()]
    assert "3 layers, 392 parameters, 22 k MACs" in output
    assert "layer 2 [yolo]: 3 classes (cat, dog, fox)" in output


def test_info_takes_a_cfg_alone_and_bundled_names(run):
    assert "392 parameters" in run("info net.cfg").stdout
    assert "62,001,757 parameters" in run("info yolov3").stdout


def test_info_gives_json(run):
    found = json.loads(run("info net.cfg net.weights --json --input-size 32x16").stdout)
    assert found["input"] == [3, 16, 32]
    assert found["parameters"] == 392
    assert found["heads"] == [{"layer": 2, "type": "yolo", "classes": 3}]
    assert [layer["type"] for layer in found["layers"]] == ["convolutional"] * 2 + ["yolo"]


def test_convert_writes_every_format_and_reads_back(run, folder):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    result = run(
        "convert net.cfg net.weights -o a.onnx -o a.safetensors -o a.pt2 -o b.cfg b.weights"
    )
    assert "wrote a.onnx (" in result.stderr
    assert result.stdout == ""
    run("convert a.safetensors -o c.cfg c.weights")
    for name in ("b", "c"):
        assert (folder / f"{name}.weights").read_bytes() == (folder / "net.weights").read_bytes()
        assert (folder / f"{name}.cfg").read_bytes() == (folder / "net.cfg").read_bytes()
        assert (folder / f"{name}.names").read_text() == "cat\ndog\nfox\n"


def test_verify_compares_the_spokes(run):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    text = run("verify net.cfg net.weights").stdout
    assert "torch and onnx agree: worst layer" in text
    assert "wrong" not in text
    run("verify net.cfg net.weights --report nowhere/v.html", status=1)
    layers = json.loads(run("verify net.cfg net.weights --json --image a.png").stdout)["rows"]
    assert [entry["error"] for entry in layers] == sorted(
        (e["error"] for e in layers), reverse=True
    )


def test_verify_fails_where_they_disagree(run, folder, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from darkconv.backends.onnx import activation

    monkeypatch.setitem(activation.FORMULAS, "leaky", activation.FORMULAS["relu"])
    text = run("verify net.cfg net.weights --report v.html", status=1).stdout
    assert "torch and onnx DISAGREE" in text
    assert text.count("first wrong") == 2
    assert text.endswith("\nfirst wrong: 000 convolutional\n")
    assert "first wrong: 0 convolutional" in (folder / "v.html").read_text()
    layers = json.loads(run("verify net.cfg net.weights --json", status=1).stdout)["rows"]
    assert [entry["layer"] for entry in layers if entry["first_wrong"]] == [0]
    assert all(entry["wrong"] == (entry["error"] > entry["allowed"]) for entry in layers)


def test_verify_takes_what_is_no_number_for_wrong(run, monkeypatch):
    pytest.importorskip("torch")
    from darkconv.verification import layers

    whole = layers.trace

    def trace(model, x, *, backend="torch", **_):
        return [a * np.nan if backend == "onnx" else a for a in whole(model, x)]

    monkeypatch.setattr(layers, "trace", trace)
    assert "first wrong: 000" in run("verify net.cfg net.weights", status=1).stdout


def test_detect_prints_a_table_and_draws(run, folder):
    pytest.importorskip("torch")
    result = run("detect net.cfg net.weights a.png --threshold 0.3 -o drawn")
    first, header, *rows = result.stdout.splitlines()
    assert first == f"a.png: {len(rows)} found"
    assert header.split() == ["class", "score", "x0", "y0", "x1", "y1"]
    assert (folder / "drawn" / "a.png").is_file()
    run("detect net.cfg net.weights a.png -o one.jpg")
    assert (folder / "one.jpg").read_bytes().startswith(b"\xff\xd8")


def test_detect_gives_json_for_folders(run, folder):
    pytest.importorskip("torch")
    (folder / "pictures").mkdir()
    (folder / "a.png").rename(folder / "pictures" / "a.png")
    result = run("detect net.cfg net.weights pictures --json --threshold 0.3 --nms-kind obj")
    ((picture),) = json.loads(result.stdout)
    assert picture["image"] == "pictures/a.png"
    assert set(picture["detections"][0]) == {"class_id", "name", "score", "box"}


def test_detect_goes_on_past_broken_pictures(run, folder):
    pytest.importorskip("torch")
    (folder / "b.png").write_bytes(b"no picture")
    result = run("detect net.cfg net.weights b.png a.png")
    assert result.stderr == (
        "warning: b.png: is a text file, not a picture: skipped\n"
        "warning: 1 of 2 pictures could not be read\n"
    )
    assert "a.png:" in result.stdout
    found = json.loads(run("detect net.cfg net.weights b.png a.png --json").stdout)
    assert [set(one) - {"image"} for one in found] == [{"detections", "hidden"}, {"error"}]
    assert found[1] == {"image": "b.png", "error": "b.png: is a text file, not a picture"}


def test_detect_never_overwrites_its_input(run, folder):
    pytest.importorskip("torch")
    before = (folder / "a.png").read_bytes()
    assert "would be replaced" in run("detect net.cfg net.weights a.png -o .", status=1).stderr
    assert (folder / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("keep", "names"),
    [
        ("--keep fox,cat", "fox\ncat\n"),
        ("--keep 1", "dog\n"),
        ("--keep hidden.names", "cat\nfox\n"),
        ("--keep list.txt", "fox\ndog\n"),
        ("--names hidden.names", "cat\nfox\n"),
    ],
)
def test_reclass_writes_all_three_files(run, folder, keep, names):
    (folder / "hidden.names").write_text("cat\ndont_show dog\nfox\n")
    (folder / "list.txt").write_text("fox\ndog\n")
    result = run(f"reclass net.cfg net.weights {keep} -o s.cfg s.weights")
    count = names.count("\n")
    assert f"kept {count} of 3 classes" in result.stdout
    assert (folder / "s.names").read_text() == names
    small = dc.load(folder / "s.cfg", folder / "s.weights")
    assert small.names == tuple(names.split())
    assert small.network.heads[0].spec.classes == count


def test_info_shows_the_version_and_the_pictures_seen_of_the_weights(run, folder):
    (folder / "seen.weights").write_bytes(
        np.array([0, 2, 5], "<i4").tobytes()
        + np.array([32_013_312], "<i8").tobytes()
        + (folder / "net.weights").read_bytes()[20:]
    )
    (folder / "seen.names").write_text("")
    line = "info net.cfg seen.weights --dialect alexeyab"
    assert "(version 0.2.5, 32,013,312 images seen)" in run(line).stdout
    found = json.loads(run(f"{line} --json").stdout)
    assert (found["weights_version"], found["images_seen"]) == ("0.2.5", 32_013_312)
    assert "images seen" not in run("info net.cfg").stdout
    found = json.loads(run("info net.cfg --json").stdout)
    assert (found["weights_version"], found["images_seen"]) == (None, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("info", "Missing argument 'MODEL'"),
        ("info a b c", "unexpected extra argument (c)"),
        ("convert net.cfg net.weights", "Missing option '-o'"),
        ("convert net.cfg net.weights -o b.weights", "Darknet's format is two files"),
        ("detect net.cfg net.weights", "Missing argument 'SOURCE'"),
        ("info net.cfg --input-size 4", "is not a size such as 416x416"),
        ("nothing", "No such command 'nothing'."),
        ("convrt", "No such command 'convrt'. Did you mean convert?"),
        ("DETECT", "No such command 'DETECT'. Did you mean detect?"),
        ("weights fld", "No such command 'fld'. Did you mean fold?"),
        ("data chek", "No such command 'chek'. Did you mean check?"),
        ("info net.cfg --jsn", "No such option"),
        ("export net.cfg", "No such command 'export'. Did you mean convert?"),
        ("train net.cfg", "No such command 'train'. Did you mean finetune?"),
        ("map net.cfg", "No such command 'map'. Did you mean eval?"),
        ("partial net.cfg", "No such command 'partial'. Did you mean weights?"),
        ("convert net.cfg net.weights -o a.onnx --half", "'--half'. Did you mean '--fp16'?"),
        ("detect net.cfg net.weights a.png --conf-thres 1", "Did you mean '--threshold'?"),
        ("detect net.cfg net.weights a.png --iou_thresh 1", "Did you mean '--nms'?"),
        ("detect net.cfg net.weights a.png -thresh 1", "'-thresh'. Did you mean '--threshold'?"),
        ("detect net.cfg net.weights a.png -x", "No such option '-x'."),
        ("eval net.cfg net.weights --data d --imgsz 1", "Did you mean '--input-size'?"),
        ("info net.cfg --jsn", "--json"),
        ("convert net.cfg net.weights -o a.onnx --head box", "is not one of"),
    ],
)
def test_wrong_usage_is_status_2(run, line, message):
    assert message in " ".join(run(line, status=2).stderr.split())


@pytest.mark.parametrize(
    "words",
    [["info", ""], ["convert", "net.cfg", "net.weights", "-o", ""], ["detect", "", "a.png"]],
)
def test_an_empty_word_names_no_file(words):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "an empty word names no file" in result.stderr


def test_wrong_usage_leaves_the_log_as_it_was(run):
    """In a program that runs commands, as these tests do."""
    log = logging.getLogger("darkconv")
    before = list(log.handlers), log.propagate, log.level
    run("info net.cfg -q -v", status=2)
    assert (list(log.handlers), log.propagate, log.level) == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("info yolov3-tny", "hint: did you mean yolov3-tiny"),
        ("info none.cfg", "error: none.cfg: cannot read: No such file or directory"),
        ("info YOLOv3", "hint: did you mean yolov3"),
        ("convert net.cfg net.weights -o a.onxx", "hint: did you mean .onnx?"),
        ("convert net.cfg net.weights -o a.h5", "hint: .keras is the format of Keras 3"),
        ("convert net.cfg net.weights -o a.engine", "hint: TensorRT builds its engine from .onnx"),
        ("convert net.cfg -o a.onnx", "error: net.cfg: no weights given"),
        ("convert net.cfg net.cfg -o a.onnx", "error: net.cfg: is a cfg, not a weights file"),
        ("convert net.cfg net.weights -o a.caffemodel", "error: a.caffemodel: unknown format"),
        ("reclass net.cfg net.weights -o s.cfg s.weights", "error: no class to keep"),
        ("reclass net.cfg net.weights --keep cow -o s.cfg s.weights", "unknown class 'cow'"),
        ("convert net.cfg net.weights -o no/a.cfg no/a.weights", "cannot write: No such file"),
    ],
)
def test_bad_input_is_one_message_and_status_1(run, folder, line, message):
    before = sorted(p.name for p in folder.iterdir())
    result = run(line, status=1)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert sorted(p.name for p in folder.iterdir()) == before


def test_debug_shows_where_an_error_comes_from(folder):
    line = ["info", str(folder / "none.cfg"), "--debug"]
    assert isinstance(CliRunner().invoke(main, line).exception, dc.DarkconvError)


def test_warnings_go_to_stderr_unless_quiet(run, folder):
    (folder / "odd.cfg").write_text(cfg_text(BODY.replace("num=2", "num=2\nnothing=1")))
    assert "warning: odd.cfg:19: layer 2 [yolo] nothing" in run("info odd.cfg").stderr
    assert run("info odd.cfg -q").stderr == ""


def test_two_words_behind_o_are_one_output():
    words = "x -o a.cfg a.weights b --output=c.cfg c.weights -o d.onnx e -o f.cfg g"
    assert join_pairs(words.split(), dict.fromkeys(("-o", "--output"), (".weights",))) == [
        "x",
        "-o",
        "a.cfg\0a.weights",
        "b",
        "--output=c.cfg\0c.weights",
        "-o",
        "d.onnx",
        "e",
        "-o",
        "f.cfg",
        "g",
    ]


@pytest.mark.parametrize("second", ["b.weights", "b.pth", "b.CKPT", "b.h5", "b.index"])
@pytest.mark.parametrize("form", ["--teacher big.cfg {}", "--teacher=big.cfg {}"])
def test_an_option_that_is_a_model_takes_another_tools_checkpoint(form, second):
    ends = {"--teacher": (".weights", *CHECKPOINT_SUFFIXES), "-o": (".weights",)}
    words = [*form.format(second).split(), "-o", "c.cfg", "b.pth"]
    joined = join_pairs(words, ends)
    assert f"big.cfg\0{second}" in " ".join(joined)
    assert joined[-3:] == ["-o", "c.cfg", "b.pth"]


def test_tables_align():
    text = format_table(("a", "name"), [(1, "x"), (100, "long")], left=(1,))
    assert text.splitlines()[1:] == ["  1  x", "100  long"]
    assert [format_large(v) for v in (5, 1500, 2_500_000, 65.86e9)] == [
        "5",
        "1.5 k",
        "2.5 M",
        "65.86 G",
    ]


def test_demo_shows_the_main_job(run, folder, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("darkconv.demo.story.STEPS", 20)
    output = run("demo -o demo").stdout
    assert "back to Darknet's .weights: equal byte for byte" in output
    assert "PyTorch and ONNX agree on all 19 layers" in output
    count = output.split(" detections of these digits")[0].split()[-3:]
    assert count[0] == count[2]
    assert f"pictures: {folder / 'demo' / 'before-and-after.png'}" in output
    assert "onnxruntime gives the model's numbers" in output
    report = (folder / "demo" / "demo.html").read_text()
    assert f"report:   {folder / 'demo' / 'demo.html'}" in output
    assert 'href="dissection.html"' in report
    assert (folder / "demo" / "dissection.html").is_file()
    found = {path.name for path in (folder / "demo").iterdir()}
    assert found == {*FILES, RECOVERY}, "files that are not held against those that are there"
    assert report.count("data:image/jpeg") == 12
    small = dc.load(folder / "demo" / "digits4.cfg", folder / "demo" / "digits4.weights")
    assert small.names == ("two", "four", "seven", "nine")
    assert (folder / "demo" / "before-and-after.png").read_bytes().startswith(b"\x89PNG")
