"""`darkconv weights` and `darkconv graft`, end to end on small files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli.graft import graft
from darkconv.cli.weights import weights
from networks import cfg_text, network, random_model

CONV = (
    "[convolutional]\nfilters={n}\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
)
HEAD = "[convolutional]\nfilters={n}\nactivation=linear\n[yolo]\nnum=1\nclasses={classes}\n"
SHAPE = (3, 16, 16)
TOOLS = ("fold", "average", "partial", "backbone", "swap-rgb", "stats", "diff")


def body(classes, middle=""):
    return (
        CONV.format(n=4) + middle + CONV.format(n=6) + HEAD.format(n=5 + classes, classes=classes)
    )


@pytest.fixture
def folder(tmp_path):
    """a.cfg with two trainings, three.cfg with other classes and nothing learned."""
    for name, seed, seen in (("a", 0, 64), ("b", 1, 128)):
        model = random_model(network(body(2), SHAPE), seed=seed, names=("cat", "dog"))
        model = replace(model, header=replace(model.header, seen=seen))
        dc.save(model, tmp_path / "a.cfg", tmp_path / f"{name}.weights", names=tmp_path / "a.names")
    (tmp_path / "three.cfg").write_text(cfg_text(body(3), SHAPE))
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def invoke(line, status=0):
        command, words = (graft, line) if line.startswith("graft") else (weights, line)
        words = words.removeprefix("graft").split()
        result = CliRunner().invoke(command, words)
        assert result.exit_code == status, result.output
        return result

    return invoke


@pytest.fixture
def fail(run):
    """The text of the error that a command ends with."""

    def invoke(line):
        error = run(line, status=1).exception
        assert isinstance(error, dc.DarkconvError)
        return str(error)

    return invoke


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_has_help_with_an_example(tool):
    text = " ".join(CliRunner().invoke(weights, [tool, "--help"]).output.split())
    assert f"Example: darkconv weights {tool} " in text
    assert f"  {tool} " in CliRunner().invoke(weights, ["--help"]).output


@pytest.mark.parametrize(("command", "words"), [(weights, "weights fold"), (graft, "graft")])
def test_the_commands_have_help_with_an_example(command, words):
    text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert f"Example: darkconv {words} " in text


def test_fold_writes_a_model_without_batch_norm(run, folder):
    result = run("fold a.cfg a.weights -o f.cfg f.weights")
    assert result.stdout == "folded the batch norm of 2 layers\n"
    assert "wrote f.cfg (" in result.stderr
    folded = dc.load(folder / "f.cfg", folder / "f.weights")
    assert folded.names == ("cat", "dog")
    assert not any("scales" in key for key in folded.arrays)
    again = run("fold f.cfg f.weights -o g.cfg g.weights")
    assert again.stdout == "folded the batch norm of 0 layers\n"
    assert (folder / "g.weights").read_bytes() == (folder / "f.weights").read_bytes()


def test_fold_names_what_it_leaves(run, folder):
    text = CONV.format(n=4) + "[batchnorm]\n"
    dc.save(random_model(network(text)), folder / "n.cfg", folder / "n.weights")
    output = run("fold n.cfg n.weights -o f.cfg f.weights").stdout
    assert output.splitlines()[0] == "folded the batch norm of 1 layer"
    assert output.splitlines()[1].startswith("left layer 1 [batchnorm]: it stands alone")


@pytest.mark.parametrize("words", ["a.cfg a.weights b.weights", "a.cfg a.weights a.cfg b.weights"])
def test_average_takes_weights_of_one_cfg(run, folder, words):
    result = run(f"average {words} -o m.cfg m.weights")
    assert result.stdout == "averaged 2 models; pictures seen: 128\n"
    a, b, mean = (dc.load(folder / "a.cfg", folder / f"{n}.weights") for n in ("a", "b", "m"))
    for key, array in mean.arrays.items():
        np.testing.assert_allclose(array, (a.arrays[key] + b.arrays[key]) / 2, atol=1e-7)


def test_average_takes_exported_files(run):
    pytest.importorskip("torch")
    dc_output = run("fold a.cfg a.weights -o a.safetensors")
    assert "wrote a.safetensors" in dc_output.stderr
    assert (
        "averaged 2 models" in run("average a.safetensors a.safetensors -o m.cfg m.weights").stdout
    )
    message = run("average a.safetensors a.weights -o m.cfg m.weights", status=2).stderr
    assert "a.weights needs a cfg in front of it" in message


def test_average_refuses_other_networks(fail, folder):
    dc.save(random_model(network(body(3), SHAPE)), folder / "c.cfg", folder / "c.weights")
    message = fail("average a.cfg a.weights c.cfg c.weights -o m.cfg m.weights")
    assert "layer 2 [convolutional]: not the same network as a.cfg: output" in message
    assert not (folder / "m.cfg").exists()


def test_partial_names_its_file_by_the_number_of_layers(run, folder):
    result = run("partial a.cfg a.weights --layers 2")
    assert "wrote a.conv.2 (" in result.stderr
    first = dc.load(folder / "a.cfg", folder / "a.conv.2")
    assert first.initial_layers == (2,)
    np.testing.assert_array_equal(
        first.arrays["1.weights"],
        dc.load(folder / "a.cfg", folder / "a.weights").arrays["1.weights"],
    )
    run("partial a.cfg a.conv.2 --layers 1")
    assert (folder / "a.conv.1").is_file()


def test_partial_takes_other_names_and_says_how_to_read_them(run, folder):
    result = run("partial a.cfg a.weights --layers 1 -o start.bin")
    assert "to read it, say --cutoff 1" in result.stderr
    assert dc.load(folder / "a.cfg", folder / "start.bin", cutoff=1).initial_layers == (1, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("partial a.cfg a.weights --layers 2 -o a.conv.3", "expected .conv.2, found .conv.3"),
        ("partial a.cfg a.weights --layers 9", "expected 1 to 4, found 9"),
        ("partial a.cfg --layers 2", "no weights given"),
        ("partial a.cfg none.weights --layers 2", "cannot read"),
        ("backbone a.cfg a.weights --layers 0", "expected 1 to 4, found 0"),
        ("swap-rgb three.cfg a.weights -o s.cfg s.weights", "ends in layer 2"),
        ("stats a.cfg", "no weights given"),
    ],
)
def test_bad_input_is_one_error_and_no_file(fail, folder, line, message):
    before = sorted(folder.iterdir())
    assert message in fail(line)
    assert sorted(folder.iterdir()) == before


def test_backbone_says_where_it_cuts_and_writes(run, folder):
    result = run("backbone a.cfg a.weights")
    assert result.stdout.splitlines() == [
        "backbone: the first 2 layers, 0 to 1",
        "the first head, layer 3 [yolo], decides on the arrays of layer 2 [convolutional]",
    ]
    assert "wrote a.conv.2 (" in result.stderr
    one = run("backbone a.cfg a.weights --layers 1")
    assert one.stdout == ""
    assert (folder / "a.conv.1").stat().st_size < (folder / "a.conv.2").stat().st_size


def test_backbone_of_a_cfg_alone_only_tells(run, folder):
    before = sorted(folder.iterdir())
    output = run("backbone yolov3").stdout
    assert "backbone: the first 74 layers, 0 to 73" in output
    assert "the residual blocks end with layer 74 [shortcut]" in output
    assert "layers up to 80 serve any classes too: --layers 81" in output
    assert sorted(folder.iterdir()) == before
    assert "give NET.weights" in run("backbone yolov3 -o y.conv.74", status=2).stderr


def test_cuts_behind_the_first_head_are_warned_about(run, caplog):
    with caplog.at_level("WARNING", logger="darkconv"):
        result = run("backbone a.cfg a.weights --layers 3")
    told = result.stderr + caplog.text
    assert "layer 2 [convolutional]: has rows for classes and boxes: the file" in told


def test_swap_rgb_twice_gives_the_file_back(run, folder):
    run("swap-rgb a.cfg a.weights -o s.cfg s.weights")
    assert (folder / "s.weights").read_bytes() != (folder / "a.weights").read_bytes()
    run("swap-rgb s.cfg s.weights -o t.cfg t.weights")
    for suffix in ("cfg", "weights", "names"):
        assert (folder / f"t.{suffix}").read_bytes() == (folder / f"a.{suffix}").read_bytes()


def test_stats_prints_a_row_for_each_array(run):
    header, first, *rest = run("stats a.cfg a.weights").stdout.splitlines()
    assert header.split()[:3] == ["array", "shape", "mean"]
    assert first.split()[:2] == ["0.biases", "4"]
    assert len(rest) == 11
    rows = json.loads(run("stats a.cfg a.weights --json").stdout)
    assert rows[4]["key"] == "0.weights"
    assert rows[4]["shape"] == [4, 3, 3, 3]


def test_stats_name_broken_arrays(run, folder):
    model = dc.load(folder / "a.cfg", folder / "a.weights")
    broken = dc.replace_arrays(model, {"2.biases": np.full(7, np.nan)})
    dc.save(broken, folder / "n.cfg", folder / "n.weights", allow_nonfinite=True)
    last = run("stats n.cfg n.weights").stdout.splitlines()[-1]
    assert last == "values that are not finite in: 2.biases"
    row = json.loads(run("stats n.cfg n.weights --json").stdout)[-2]
    assert (row["mean"], row["non_finite"]) == (None, 7)


def test_diff_shows_what_differs(run, folder):
    assert run("diff a.cfg a.weights a.weights").stdout == "12 of 12 arrays equal to the bit\n"
    header, *rows, last = run("diff a.cfg a.weights b.weights").stdout.splitlines()
    assert header.split() == ["array", "state", "max", "difference", "relative"]
    assert len(rows) == 12
    assert last == "0 of 12 arrays equal to the bit"
    run("fold a.cfg a.weights -o f.cfg f.weights")
    states = {r["key"]: r["state"] for r in json.loads(
        run("diff a.cfg a.weights f.cfg f.weights --json").stdout
    )}  # fmt: skip
    assert states["0.scales"] == "only first"
    assert states["2.biases"] == "equal"
    dc.save(random_model(network(body(3), SHAPE)), folder / "c.cfg", folder / "c.weights")
    table = run("diff a.cfg a.weights c.cfg c.weights --all").stdout
    assert "2.weights" in table
    assert "other shape: 7x6x1x1, 8x6x1x1" in table


@pytest.mark.parametrize("output", ["s.weights", "s.cfg s.weights"])
def test_graft_starts_a_detector_of_other_classes(run, folder, output):
    result = run(f"graft a.cfg a.weights three.cfg -o {output}")
    assert result.stdout.splitlines() == [
        "taken: 2 of 3 layers with arrays",
        "  donor 0-1 -> receiver 0-1",
        "fresh, keep the receiver's values: layers 2",
        "unused, of the donor: layers 2",
        "taken, but behind fresh ones: none",
    ]
    donor = dc.load(folder / "a.cfg", folder / "a.weights")
    model = dc.load(folder / "three.cfg", folder / "s.weights")
    assert model.dialect == donor.dialect
    np.testing.assert_array_equal(model.arrays["1.weights"], donor.arrays["1.weights"])
    assert (folder / "s.cfg").exists() == output.startswith("s.cfg")
    if output.startswith("s.cfg"):
        assert (folder / "s.cfg").read_bytes() == (folder / "three.cfg").read_bytes()


def test_graft_keeps_what_the_receiver_has(run, folder):
    receiver = random_model(network(body(3, CONV.format(n=4)), SHAPE), seed=5)
    dc.save(receiver, folder / "r.cfg", folder / "r.weights")
    line = "graft a.cfg a.weights r.cfg r.weights -o s.weights"
    assert json.loads(run(f"{line} --json").stdout) == {
        "taken": [[0, 0], [1, 2]],
        "fresh": [1, 3],
        "unused": [2],
        "behind_fresh": [2],
    }
    assert "  donor 0 -> receiver 0\n  donor 1 -> receiver 2\n" in run(line).stdout
    grafted = dc.load(folder / "r.cfg", folder / "s.weights")
    np.testing.assert_array_equal(grafted.arrays["1.weights"], receiver.arrays["1.weights"])
    assert json.loads(run(f"{line} --json --layers 1").stdout)["taken"] == [[0, 0]]


def test_graft_follows_the_donor_where_a_cfg_leaves_the_dialect_open(run, folder):
    model = random_model(network(body(2), SHAPE, "pjreddie"))
    dc.save(model, folder / "p.cfg", folder / "p.weights")
    run("graft p.cfg p.weights three.cfg -o s.weights")
    assert dc.load(folder / "three.cfg", folder / "s.weights").dialect.name == "pjreddie"
    run("graft a.cfg a.weights three.cfg --dialect pjreddie -o s.weights")
    assert dc.load(folder / "three.cfg", folder / "s.weights").dialect.name == "pjreddie"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("graft a.cfg a.weights three.cfg", "Missing option '-o'"),
        ("graft a.cfg a.weights", "Missing argument 'RECEIVER'"),
        ("graft a.cfg a.weights three.cfg b.weights c -o s.weights", "extra argument (c)"),
        ("graft a.cfg a.weights three.cfg -o s.cfg", "Darknet's format is two files"),
        ("fold a.cfg a.weights", "Missing option '-o'"),
        ("fold a.cfg a.weights b -o f.cfg f.weights", "extra argument (b)"),
        ("average a.cfg a.weights -o f.cfg f.weights", "give several weights files"),
        ("partial a.cfg a.weights", "Missing option '--layers'"),
        ("diff a.cfg a.weights", "Two models to compare are needed, 1 given"),
        ("stats", "Missing argument 'MODEL'"),
        ("stats a.safetensors --dialect alexeyab", "--dialect is about Darknet's files, not a.s"),
        ("diff a.keras b.keras --dialect alexeyab", "about Darknet's files, not a.keras"),
        ("graft a.keras b.keras -o s.weights --dialect alexeyab", "Darknet's files, not a.keras"),
    ],
)
def test_wrong_usage_is_status_2(run, line, message):
    assert message in " ".join(run(line, status=2).stderr.split())


@pytest.mark.parametrize("line", [
    "diff a.safetensors a.cfg a.weights", "diff a.cfg a.weights a.safetensors",
    "graft a.safetensors a.cfg -o s.weights", "graft a.cfg a.weights a.safetensors -o s.weights",
    "backbone a.safetensors",
])  # fmt: skip
def test_a_dialect_is_for_those_files_that_leave_it_open(run, folder, line):
    pytest.importorskip("safetensors")
    torch = pytest.importorskip("darkconv.backends.torch")
    model = dc.load("a.cfg", "a.weights", dialect="alexeyab")
    torch.write_safetensors(dc.to_torch(model), "a.safetensors")
    options = "" if line.startswith("backbone") else "--dialect alexeyab"
    run(f"{line} {options}")
    assert not list(folder.glob("*.safetensors.*"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("graft a.cfg three.cfg -o s.weights", "Missing argument"),
        ("graft a.cfg a.weights none.cfg -o s.weights", "none.cfg: cannot read"),
        ("graft a.cfg a.weights yolov3 -o s.weights", "no layer of a.cfg fits into"),
    ],
)
def test_graft_refuses_bad_input(run, folder, line, message):
    before = sorted(folder.iterdir())
    result = run(line, status=2 if "Missing" in message else 1)
    assert message in result.stderr + str(result.exception)
    assert sorted(folder.iterdir()) == before
