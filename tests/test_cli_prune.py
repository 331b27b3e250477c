"""`darkconv prune`, end to end on small files and the bundled model."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from networks import cfg_text, network, random_model

pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

NORMED = "[convolutional]\nfilters={}\nsize=3\npad=1\nbatch_normalize=1\nactivation=relu\n"
BODY = (
    NORMED.format(16) + NORMED.format(16) + "[shortcut]\nfrom=-2\nactivation=linear\n"
    + NORMED.format(24) + "[convolutional]\nfilters=16\nactivation=linear\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)  # fmt: skip
SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """net.cfg, net.weights, photos and p.npz; three channels of layer 3 are silent."""
    folder = tmp_path_factory.mktemp("prune")
    model = random_model(network(BODY, SHAPE), names=("cat", "dog", "fox"))
    scales, biases = (model.arrays[f"3.{name}"].copy() for name in ("scales", "biases"))
    scales[[1, 8, 9]], biases[[1, 8, 9]] = 0, -1
    model = dc.replace_arrays(model, {"3.scales": scales, "3.biases": biases})
    (folder / "net.cfg").write_text(cfg_text(BODY, SHAPE))
    dc.save(model, folder / "net.cfg", folder / "net.weights", names=folder / "net.names")
    (folder / "photos").mkdir()
    stream = np.random.default_rng(0)
    for number in range(5):
        levels = stream.integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(levels).save(folder / "photos" / f"{number}.png")
    photos = sorted((folder / "photos").glob("*.png"))
    dc.profile(model, photos).save(folder / "p.npz")
    dc.profile(model, photos[:2]).save(folder / "others.npz")
    return folder


@pytest.fixture
def run(files, monkeypatch, tmp_path):
    """Runs a line in a fresh folder; {} in it stands for the folder of the files."""
    monkeypatch.chdir(tmp_path)

    def invoke(line, status=0, command="prune {}/net.cfg {}/net.weights "):
        result = CliRunner().invoke(main, (command + line).replace("{}", str(files)).split())
        assert result.exit_code == status, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def filters(cfg):
    """Output channels of every layer of a cfg."""
    return [shape.c for shape in dc.load(cfg).network.shapes]


def test_half_of_the_channels_go(run):
    result = run("--profile {}/p.npz --ratio 0.5 --skip-first 0 -o s.cfg s.weights")
    assert filters("s.cfg") == [8, 8, 8, 16, 16, 16]  # 12 of 24, rounded up to a multiple of 8
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["layer", "type", "channels", "parameters", "MACs"]
    assert rows[1][:8] == ["0", "convolutional", "16", "->", "8", "496", "->", "248"]
    assert "parameters    6,816 -> 2,344 (34.4%)" in result.stdout
    assert "weights file  27.3 kB -> 9.4 kB (34.4%)" in result.stdout
    assert "3 constant channels folded at no cost" in result.stdout
    assert "wrote s.cfg (" in result.stderr
    assert Path("s.names").read_text() == "cat\ndog\nfox\n"


def test_pruned_files_load_and_the_spokes_agree(run):
    pytest.importorskip("onnxruntime")
    run("--profile {}/p.npz --ratio 0.5 -o s.cfg s.weights -o s.onnx -o s.safetensors")
    agree = "torch and onnx agree"
    assert agree in run("verify s.cfg s.weights", command="").stdout
    assert agree in run("verify s.safetensors", command="").stdout
    assert Path("s.onnx").is_file()


def test_keep_is_another_word_for_ratio(run):
    for name, word in (("a", "ratio"), ("b", "keep")):
        run(f"--score l1 --{word} 0.5 -o {name}.cfg {name}.weights")
    assert Path("a.weights").read_bytes() == Path("b.weights").read_bytes()


def test_silent_channels_go_first_and_change_nothing(run, files):
    run("--images {}/photos --ratio 1 --multiple 1 -o s.cfg s.weights")
    assert filters("s.cfg") == [16, 16, 16, 21, 16, 16]
    x = np.random.default_rng(1).random((2, *SHAPE), np.float32)
    before = dc.trace(dc.load(files / "net.cfg", files / "net.weights"), x)
    after = dc.trace(dc.load("s.cfg", "s.weights"), x)
    assert np.abs(before[-1] - after[-1]).max() <= 1e-5


@pytest.mark.parametrize("size", ["12kB", "0.012MB", "11.71875KiB", "12000"])
def test_a_file_size_is_met(run, size):
    run(f"--score l1 --skip-first 0 --multiple 1 --size {size} -o s.cfg s.weights")
    assert 11_000 < Path("s.weights").stat().st_size <= 12_000


@pytest.mark.parametrize("option", ["--params 0.5", "--macs 0.5"])
def test_a_share_is_met(run, option):
    key = {"--params": "parameters", "--macs": "macs"}[option.split()[0]]
    found = json.loads(run(f"--score l1 --skip-first 0 {option} --dry-run --json").stdout)
    assert found["after"][key] <= 0.5 * found["before"][key]


def test_guards_hold_and_can_be_given(run):
    run("--score l1 --count 1 -o s.cfg s.weights")
    assert filters("s.cfg") == [16, 16, 16, 8, 16, 16]
    options = "--skip-first 0 --min-keep 0.3 --multiple 1 --lock 003_conv*"
    run(f"--score l1 --count 1 {options} -o t.cfg t.weights")
    assert filters("t.cfg") == [5, 5, 5, 24, 16, 16]


def test_a_dry_run_writes_nothing(run, tmp_path):
    result = run("--profile {}/p.npz --ratio 0.5 --dry-run -o s.cfg s.weights")
    assert "parameters    6,816 -> " in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_clusters_that_are_not_there_are_told(run):
    result = run("--score random --cut auto --dry-run")
    assert result.stdout.startswith("nothing goes; `darkconv prune --explain LAYER`")
    assert "no two clusters of scores, so nothing goes, in layer 3" in result.stdout


def test_plans_are_saved_edited_and_carried_out(run):
    result = run("--profile {}/p.npz --ratio 0.5 --save-plan p.json")
    assert "wrote p.json" in result.stderr
    content = json.loads(Path("p.json").read_text())
    assert list(content["layers"]) == ["3"]
    content["layers"]["3"]["keep"] = [0, 2, 3, 4, 5]
    Path("p.json").write_text(json.dumps(content))
    result = run("--plan p.json --profile {}/p.npz -o s.cfg s.weights")
    assert filters("s.cfg") == [16, 16, 16, 5, 16, 16]
    assert "constant" not in result.stdout
    content["layers"]["3"]["keep"] = [0, 99]
    Path("p.json").write_text(json.dumps(content))
    error = run("--plan p.json -o t.cfg t.weights", status=1).stderr
    assert "error: p.json: layer 3 keep: expected channels from 0 to 23, found 99" in error
    assert not Path("t.cfg").exists()


def test_json_holds_plan_and_costs(run):
    found = json.loads(run("--score l1 --ratio 0.5 --skip-first 0 --dry-run --json").stdout)
    assert found["before"]["parameters"] == 6816
    assert found["layers"][0]["channels"] == [16, 8]
    assert len(found["plan"]["layers"]["0"]["keep"]) == 8


def test_compensation_can_be_left_out(run):
    for name, option in (("a", "--compensate"), ("b", "--no-compensate")):
        run(f"--profile {{}}/p.npz --ratio 0.4 {option} -o {name}.cfg {name}.weights")
    assert Path("a.cfg").read_bytes() == Path("b.cfg").read_bytes()
    a, b = (dc.load(f"{name}.cfg", f"{name}.weights").arrays for name in "ab")
    assert [key for key in a if not np.array_equal(a[key], b[key])] == ["4.biases"]


def test_contrast_compares_two_profiles(run):
    line = "--profile {}/p.npz --score contrast --ratio 0.5 --dry-run"
    assert "compares with a second profile" in run(line, status=1).stderr
    assert "24 -> 16" in run(f"{line} --against {{}}/others.npz").stdout
    said = run(f"{line} --against {{}}/p.npz", status=1).stderr
    assert "the two profiles are the same, so nothing tells channels apart" in said


def test_bonds_are_explained_without_weights(run):
    result = run("--explain 0 --explain 5", command="prune {}/net.cfg ")
    assert result.stdout.startswith(
        "layer 0 [convolutional]: 16 channels\n"
        "  channels 0-15 can go one by one, with the same channels of layer 1\n"
        "    layer 2 [shortcut] adds its sources channel by channel\n"
        "\nlayer 5 [yolo]: 16 channels\n  channels 0-15 cannot go: "
    )
    assert "expected a layer from 0 to 5, found 6" in run("--explain 6", status=1).stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-o s.cfg s.weights", "Nothing says how many channels to remove: give one of --ratio"),
        ("--ratio 0.5 --size 5MB --dry-run", "--ratio and --size exclude each other"),
        ("--ratio 0 --dry-run", "--ratio"),
        ("--ratio 1.5 --dry-run", "--ratio"),
        ("--count 0 --dry-run", "--count"),
        ("--params -1 --dry-run", "--params"),
        ("--size 5parsecs --dry-run", "is not a size such as 5MB"),
        ("--size 0 --dry-run", "is not a size such as 5MB"),
        ("--score best --ratio 0.5 --dry-run", "--score"),
        ("--cut deep --dry-run", "--cut"),
        ("--score l1 --ratio 0.5", "Missing option '-o'"),
        ("--plan p.json --ratio 0.5 --dry-run", "--plan says what goes, so --ratio does not"),
        ("--ratio 0.5 --dry-run --save-plan p.json", "--dry-run writes nothing"),
        ("--profile p.npz --images photos --ratio 0.5 --dry-run", "give one of them"),
        ("more --ratio 0.5 --dry-run", "unexpected extra argument (more)"),
    ],
)
def test_wrong_usage_exits_with_2(run, line, message):
    assert message in run(line, status=2).stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--ratio 0.5 --dry-run", "this score needs a profile"),
        ("--score l1 --size 1kB --dry-run", "1000 bytes is out of reach: the guards leave"),
        ("--score l1 --ratio 0.5 --lock yolov9 --dry-run", "lock 'yolov9' matches no layer"),
        ("--profile {}/net.cfg --ratio 0.5 --dry-run", "cannot be read as a profile"),
        ("--profile none.npz --ratio 0.5 --dry-run", "none.npz: cannot read: No such file"),
        ("--plan none.json --dry-run", "none.json: cannot read: No such file"),
        ("--plan {}/net.cfg --dry-run", "net.cfg:1: is not well-formed JSON"),
        ("--profile {}/p.npz --score taylor --ratio 0.5 --dry-run", "holds no gradients"),
    ],
)
def test_errors_are_one_clear_message(run, line, message):
    assert message in run(line, status=1).stderr


def test_a_profile_of_another_model_is_refused(run, files):
    model = dc.load(files / "net.cfg", files / "net.weights")
    dc.save(dc.replace_arrays(model, {"4.biases": np.ones(16, np.float32)}), "o.cfg", "o.weights")
    line = "prune o.cfg o.weights --profile {}/p.npz --ratio 0.5 --dry-run"
    assert "p.npz: is a profile of another model than o.cfg" in run(line, 1, command="").stderr


def test_the_bundled_model_shrinks_and_still_finds_digits(run):
    from darkconv.assets import digits10_folder, digits10_pictures

    root = digits10_folder()
    stem = f"prune {root}/digits10.cfg {root}/digits10.weights --images {root}/images"
    run(f"{stem} --params 0.8 -o s.cfg s.weights", command="")
    whole = dc.load(root / "digits10.cfg", root / "digits10.weights")
    small = dc.load("s.cfg", "s.weights")
    assert small.names == whole.names
    assert Path("s.weights").stat().st_size <= 0.8 * (root / "digits10.weights").stat().st_size + 20
    found = [[len(dc.detect(m, p)) for p in digits10_pictures()[:8]] for m in (whole, small)]
    assert sum(found[1]) > 0.5 * sum(found[0])


def test_refitted_weights_find_what_half_of_the_channels_lost(run):
    from darkconv.assets import digits10_folder, digits10_pictures

    root = digits10_folder()
    line = f"prune {root}/digits10.cfg {root}/digits10.weights --images {root}/images --ratio 0.6"
    run(f"{line} -o a.cfg a.weights", command="")
    run(f"{line} --reconstruct {root}/images -o b.cfg b.weights", command="")
    a, b = (dc.load(f"{name}.cfg", f"{name}.weights") for name in "ab")
    assert a.network.shapes == b.network.shapes
    found = [sum(len(dc.detect(m, p)) for p in digits10_pictures()[:10]) for m in (a, b)]
    assert found[1] > 2 * found[0] + 10


def test_several_budgets_hold_together(run):
    free = "--multiple 1 --skip-first 0 --min-keep 0"
    found = json.loads(run(f"--score l1 --params 0.7 --macs 0.6 {free} --dry-run --json").stdout)
    before, after = found["before"], found["after"]
    assert after["parameters"] <= 0.7 * before["parameters"]
    assert after["macs"] <= 0.6 * before["macs"]
    wrong = run("--score l1 --params 0.7 --count 3 --dry-run", status=2).stderr
    assert "or several of --params, --macs, --latency, --size" in wrong
