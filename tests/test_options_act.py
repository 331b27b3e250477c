"""An option that is accepted acts, or is an error: every option of every command.

A setting is a command line that works. Each option of its command is added, with a value that is
not the default: then what is printed or written differs, or the option is refused by its name. What
differs between two equal runs, such as times, does not count.
"""

import hashlib
import shutil
from pathlib import Path

import click
import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.cli import COMMANDS, main
from darkconv.exporting.formats import OPTIONS_BY_SUFFIX
from darkconv.exporting.writing import OF_INT8
from effort import one_in

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("lightning")

MODEL = "digits10.cfg digits10.weights"
SMALL = "p.cfg p.weights"
TWO = "images/000.jpg images/001.jpg"
QUICK = "--steps 2 --batch 2 --workers 0 --device cpu"
CONV = (
    "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n\n"
)
CLASSIFIER = (
    f"[net]\nwidth=24\nheight=24\nchannels=3\n\n{CONV}{CONV}"
    "[convolutional]\nfilters=3\nsize=1\nactivation=linear\n\n[avgpool]\n\n[softmax]\n\n[cost]\n"
)
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}

SETTINGS = {
    "info": f"info {MODEL}",
    "info/cfg": "info digits10.cfg --json",
    "info/safetensors": "info m.safetensors --json",
    "convert/raw": f"convert {MODEL} -o o.onnx",
    "convert/boxes": f"convert {MODEL} -o o.onnx --head boxes",
    "convert/nms": f"convert {MODEL} -o o.onnx --head nms",
    "convert/efficientnms": f"convert {MODEL} -o o.onnx --head nms --layout efficientnms",
    "convert/fp16": f"convert {MODEL} -o o.onnx --fp16",
    "convert/int8": f"convert {MODEL} -o o.onnx --int8 --min-agreement 0 --calibrate images "
    "--limit 3 --json",
    "convert/int8/agreement": f"convert {MODEL} -o o.onnx --int8 --calibrate images --limit 3 "
    "--json",
    "convert/kit": f"convert {MODEL} --for triton -o o",
    "convert/safetensors": f"convert {MODEL} -o o.safetensors",
    "convert/pt2": f"convert {MODEL} -o o.pt2",
    "convert/darknet": f"convert {MODEL} -o o.cfg o.weights",
    "convert/back": "convert m.safetensors -o o.cfg o.weights",
    "convert/import": "convert digits10.cfg theirs.pt -o o.cfg o.weights",
    "verify": f"verify {MODEL}",
    "verify/json": f"verify {MODEL} --json",
    "verify/file": f"verify {SMALL} boxes.onnx",
    "fetch": "fetch",
    "detect": f"detect {SMALL} {TWO} -o drawn --json --threshold 0.02",
    "detect/boxes": f"detect boxes.onnx {TWO} --json --threshold 0.02",
    "detect/nms": f"detect nms.onnx {TWO} --json",
    "eval": f"eval {SMALL} --data digits10.data --limit 20 --json",
    "eval/output": f"eval {SMALL} --data digits10.data --limit 20 -o found",
    "eval/numbered": f"eval {SMALL} --data images --limit 20 --data-names digits10.names --json",
    "eval/boxes": "eval boxes.onnx --data digits10.data --limit 20 --json",
    "eval/nms": "eval nms.onnx --data digits10.data --limit 20 --json",
    "eval/classifier": "eval c.cfg c.weights --data photos --json",
    "reclass": f"reclass {MODEL} --keep zero,five -o o.cfg o.weights",
    "reclass/add": f"reclass {MODEL} --add ten -o o.cfg o.weights",
    "reclass/mean": f"reclass {MODEL} --add ten --init mean -o o.cfg o.weights",
    "reclass/to names": f"reclass {MODEL} --to-names other.names -o o.cfg o.weights",
    "reclass/same names": f"reclass {MODEL} --to-names digits10.names -o o.cfg o.weights",
    "reclass/onnx": f"reclass {MODEL} --keep zero,five -o o.onnx",
    "dissect": f"dissect {MODEL} --keep zero,one,two,three,four,five --images digits10.data "
    "--limit 30 -o o.cfg o.weights --no-report --json",
    "dissect/unlabelled": f"dissect {MODEL} --images unlabelled --params 0.6 -o o.cfg o.weights "
    "--no-report",
    "dissect/recover": f"dissect {MODEL} --images digits10.data --params 0.6 --recover --steps 1 "
    "--limit 4 -o o.cfg o.weights --no-report",
    "dissect/random": f"dissect {MODEL} --images unlabelled --score random -o o.cfg o.weights "
    "--no-report",
    "profile": f"profile {MODEL} images --limit 4 -o o.npz",
    "profile/merged": f"profile {MODEL} p.npz -o o.npz",
    "prune": f"prune {MODEL} --profile p.npz --ratio 0.6 -o o.cfg o.weights",
    "prune/images": f"prune {MODEL} --images images --limit 4 --ratio 0.6 -o o.cfg o.weights",
    "prune/l1": f"prune {MODEL} --score l1 --ratio 0.6 -o o.cfg o.weights",
    "prune/random": f"prune {MODEL} --score random --ratio 0.6 -o o.cfg o.weights",
    "prune/refitted": f"prune {MODEL} --profile p.npz --ratio 0.6 --reconstruct images --limit 4 "
    "-o o.cfg o.weights",
    "prune/plan": f"prune {MODEL} --plan p.json -o o.cfg o.weights",
    "prune/explain": f"prune {MODEL} --explain 2",
    "finetune": f"finetune {MODEL} --data digits10.data {QUICK} -o o.cfg o.weights",
    "finetune/valid": f"finetune {MODEL} --data digits10.data --valid digits10.data --limit 4 "
    f"{QUICK} -o o.cfg o.weights",
    "finetune/teacher": f"finetune {SMALL} --data unlabelled --teacher {MODEL} {QUICK} "
    "-o o.cfg o.weights",
    "finetune/overfit": f"finetune {MODEL} --data digits10.data --overfit 1 --steps 2 "
    "--workers 0 --device cpu -o o.cfg o.weights",
    "finetune/classifier": f"finetune c.cfg c.weights --data photos {QUICK} -o o.cfg o.weights",
    "graft": f"graft {MODEL} digits10.cfg -o o.cfg o.weights",
    "data check": "data check digits10.data",
    "data convert": "data convert digits10.data -o elsewhere --to coco",
    "data check/sheet": "data check digits10.data -o sheet.png",
    "data check/broken": "data check broken",
    "data check/json": "data check digits10.data --json",
    "anchors": "anchors --data digits10.data",
    "weights average": f"weights average {MODEL} digits10.weights -o o.cfg o.weights",
    "weights backbone": f"weights backbone {MODEL}",
    "weights backbone/cfg": "weights backbone digits10.cfg",
    "weights diff": f"weights diff {MODEL} digits10.weights",
    "weights diff/json": f"weights diff {MODEL} digits10.weights --json",
    "weights fold": f"weights fold {MODEL} -o o.cfg o.weights",
    "weights partial": f"weights partial {MODEL} --layers 4",
    "weights stats": f"weights stats {MODEL}",
    "weights swap-rgb": f"weights swap-rgb {MODEL} -o o.cfg o.weights",
}
"""Command lines that work, by the command's words, a slash and a word of their own."""

VALUES = {
    "--accumulate": "2",
    "--add": "ten",
    "--allocation": "measured",
    "--against": "q.npz",
    "--at": "0.7",
    "--backbone": "p.cfg p.weights",
    "--backend": "keras",
    "--batch": "3",
    "--bn-epsilon": "0.001",
    "--calibrate": "unlabelled",
    "--calibration": "minmax",
    "--checkpoint-every": "1",
    "--class-weights": "zero=5",
    "--clip": "0.001",
    "--count": "5",
    "--cut": "auto",
    "--cutoff": "3",
    "--data": "images",
    "--data-images": "unlabelled",
    "--data-names": "other.names",
    "--device": "cuda",
    "--devices": "2",
    "--dialect": "pjreddie",
    "--draw-every": "0",
    "--dynamic": "none",
    "--ema": "0",
    "--epochs": "0.5",
    "--evaluate-every": "1",
    "--every": "2",
    "--explain": "3",
    "--feature-layers": "2",
    "--feature-weight": "1",
    "--font": "font.ttf",
    "--for": "opencv",
    "--freeze": "2",
    "--head": "boxes",
    "--image": "images/000.jpg",
    "--images": "unlabelled",
    "--init": "like:one",
    "--input": "uint8-nhwc",
    "--input-size": "96x128",
    "--keep": "one,two",
    "--layers": "3",
    "--layout": "ultralytics",
    "--limit": "2",
    "--lr": "0.3",
    "--lock": "*_convolutional",
    "--macs": "0.4",
    "--max-detections": "1",
    "--max-loss": "90",
    "--min-agreement": "0",
    "--min-keep": "0.8",
    "--momentum": "0.1",
    "--multiple": "3",
    "--names": "other.names",
    "--names-encoding": "utf-16",
    "--nms": "0",
    "--nms-kind": "obj",
    "--nms-op": "tensorrt",
    "--only-classes": "zero,one,two,three",
    "--opset": "17",
    "--optimizer": "sgd",
    "--ort-web": "ort",
    "--output": "o2",
    "--overfit": "1",
    "--int8-form": "symmetric",
    "--iou": "0.9",
    "--latency": "0.9",
    "--params": "0.4",
    "--plan": "p.json",
    "--plot": "o.png",
    "--port": "0",
    "--precision": "bf16",
    "--profile": "p.npz",
    "--ratio": "0.4",
    "--reconstruct": "unlabelled",
    "--rename": "zero=one",
    "--reorg": "reorg3d",
    "--report": "o.html",
    "--resize": "letterbox",
    "--rule": "darknet",
    "--runtime": "openvino",
    "--run": "elsewhere",
    "--save-plan": "o.json",
    "--schedule": "cfg",
    "--score": "mean_abs",
    "--seed": "7",
    "--size": "90kB",
    "--skip-first": "5",
    "--split": "train",
    "--steps": "1",
    "--teacher": "p.cfg p.weights",
    "--threads": "1",
    "--threshold": "0.97",
    "--to-names": "other.names",
    "--url": "file:///nowhere",
    "--to": "yolo",
    "--valid": "digits10.data",
    "--valid-split": "valid",
    "--weight-decay": "0.7",
    "--workers": "1",
}
"""A value for each option: not its default."""

MESSAGES = {"--quiet", "--verbose", "--debug"}
"""Options about messages alone; tests of their own are below."""
PERMISSIONS = {
    "--allow-nonfinite", "--outside", "--overwrite", "--no-check", "--data-images",
}  # fmt: skip
"""Options that let happen what is refused otherwise: they act where something is refused."""
MEANS = {
    "--batch", "--devices", "--workers", "--compile", "--device", "--threads", "--view", "--show",
}  # fmt: skip
"""Options that say how something is done, and not what: the result is the same by any of them."""
NO_EFFECT = {
    ("prune/l1", "--no-compensate"): "there are no means",
    ("prune/random", "--no-compensate"): "there are no means",
    ("prune/refitted", "--no-compensate"): "all layers of this network are refitted",
    ("dissect", "--no-compensate"): "all layers of this network are refitted",
    ("dissect", "--rename"): "both classes are kept",
    ("dissect/unlabelled", "--no-compensate"): "all layers of this network are refitted",
    ("dissect/unlabelled", "--data-names"): "there are no labels",
    ("dissect/unlabelled", "--all-pictures"): "there are no labels",
    ("dissect/random", "--no-compensate"): "all layers of this network are refitted",
    ("dissect/random", "--data-names"): "there are no labels",
    ("dissect/random", "--all-pictures"): "there are no labels",
    ("prune/plan", "--profile"): "this plan has means of all channels that go",
    ("convert/kit", "--head"): "it is the kit's own",
    ("convert/import", "--reorg"): "the network has no [reorg]",
    ("eval/classifier", "--backend"): "six pictures of three colours, told apart alike",
    ("eval/classifier", "--dialect"): "six pictures of three colours, told apart alike",
    ("eval/classifier", "--exact"): "its pictures are no JPEG files",
    ("eval/classifier", "--input-size"): "six pictures of three colours, told apart alike",
    ("data check", "--all"): "nothing is wrong",
    ("data check/sheet", "--all"): "nothing is wrong",
    ("prune/explain", "--input-size"): "lets a cfg be read whose own size is impossible",
    ("weights backbone", "--input-size"): "lets a cfg be read whose own size is impossible",
    ("weights backbone/cfg", "--input-size"): "lets a cfg be read whose own size is impossible",
    ("weights diff", "--input-size"): "lets a cfg be read whose own size is impossible",
    ("weights diff/json", "--input-size"): "lets a cfg be read whose own size is impossible",
    ("weights partial", "--input-size"): "lets a cfg be read whose own size is impossible",
    ("weights stats", "--input-size"): "lets a cfg be read whose own size is impossible",
}
"""(setting, option) of what is rightly without effect here, and why."""


def commands():
    """Every command by its words."""
    found = {}
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        if isinstance(command, click.Group):
            found |= {f"{name} {word}": one for word, one in command.commands.items()}
        else:
            found[name] = command
    return found


ALL = commands()
SLOW = ("finetune", "dissect", "convert/int8")
"""Commands that take long enough to be tried with --slow only."""


def long_form(option):
    return max(option.opts, key=len)


def words_of(option):
    """What is added to a command line, so that the option says something else than by default."""
    if not option.is_flag:
        return f"{long_form(option)} {VALUES.get(long_form(option))}"
    says_no_anyway = option.default is False or "[default: no " in (option.help or "")
    says_yes_anyway = option.secondary_opts and not says_no_anyway
    return option.secondary_opts[0] if says_yes_anyway else long_form(option)


def additions():
    """(setting, words) of all that is tried."""
    for setting, line in SETTINGS.items():
        for option in ALL[setting.partition("/")[0]].params:
            if not isinstance(option, click.Option) or set(option.opts) & set(line.split()):
                continue
            if {long_form(option)} & (MESSAGES | PERMISSIONS | MEANS):
                continue
            slow = pytest.mark.slow if setting.startswith(SLOW) else ()
            yield pytest.param(setting, words_of(option), marks=slow)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with all that the settings name."""
    folder = tmp_path_factory.mktemp("options") / "place"
    shutil.copytree(digits10_folder(), folder)
    names = (folder / "digits10.names").read_text().split()
    (folder / "other.names").write_text("".join(f"{name}\n" for name in [*names[::-1][:9], "ten"]))
    (folder / "c.cfg").write_text(CLASSIFIER)
    (folder / "c.names").write_text("".join(f"{name}\n" for name in COLOURS))
    dc.save(dc.load(folder / "c.cfg"), folder / "c.cfg", folder / "c.weights")
    stream = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(2):
            noise = stream.integers(-40, 40, (30, 34, 3))
            levels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(levels).save(folder / "photos" / name / f"{number}.png")
    shutil.copy(
        Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "STIXGeneral.ttf", folder / "font.ttf"
    )
    (folder / "broken").mkdir()
    for number in range(12):
        (folder / "broken" / f"{number}.jpg").write_bytes(b"no picture")
    state = dc.to_torch(dc.load(folder / "digits10.cfg", folder / "digits10.weights")).state_dict()
    torch.save(state, folder / "theirs.pt")
    for line in (
        f"convert {MODEL} -o m.safetensors",
        f"profile {MODEL} images --limit 10 -o p.npz",
        f"profile {MODEL} unlabelled -o q.npz",
        f"prune {MODEL} --profile p.npz --ratio 0.7 --save-plan p.json -o {SMALL}",
        f"convert {SMALL} -o boxes.onnx --head boxes",
        f"convert {SMALL} -o nms.onnx --head nms",
    ):
        assert outcome(folder, line)["status"] == 0
    return folder


def outcome(folder, line):
    """What a command line leaves and says, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(main, line.split())
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    found = {"status": result.exit_code, "stderr": result.stderr}
    for stream in ("stdout", "stderr"):
        lines = enumerate(getattr(result, stream).splitlines())
        found |= {f"{stream} {number}": text for number, text in lines}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(folder))] = digest, path.is_symlink(), path.stat().st_nlink
    return found


@pytest.fixture(scope="session")
def run(place, tmp_path_factory):
    """Run a command line in a copy of the place."""

    def invoke(line):
        folder = tmp_path_factory.mktemp("run") / "place"
        shutil.copytree(place, folder, symlinks=True)
        found = outcome(folder, line)
        shutil.rmtree(folder)
        return found

    return invoke


@pytest.fixture(scope="session")
def plain(run):
    """The outcome of a setting by itself, without what differs from run to run."""
    known = {}

    def stable(setting):
        if setting not in known:
            first, second = (run(SETTINGS[setting]) for _ in range(2))
            assert first["status"] == 0, first["stderr"]
            same = {key: first[key] for key in first if second.get(key) == first[key]}
            known[setting] = same, first.keys() | second.keys()
        return known[setting]

    return stable


@pytest.mark.parametrize(("setting", "words"), one_in(12, additions()))
def test_an_option_acts_or_is_refused(plain, run, setting, words):
    before, known = plain(setting)
    after = run(f"{SETTINGS[setting]} {words}")
    if after["status"] != 0:
        assert words.split()[0] in after["stderr"] or after["status"] == 1, after["stderr"]
        return
    changes = [key for key, value in before.items() if after.get(key) != value]
    changes += sorted(after.keys() - known)
    is_known = (setting, words.split()[0]) in NO_EFFECT
    assert bool(changes) != is_known, changes or "accepted, and does nothing"


OF_NMS = ("--pixels", "--threshold-inputs", "--max-detections", "--nms-op")
MIXED = {
    "onnx": ("o.safetensors", "o.cfg o.weights"),
    "keras": ("o.pt2", "o.onnx"),
}
"""Other outputs beside one of a format: what the first heeds and they do not is said."""


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        pytest.param(first, second, words_of(option), id=f"{first}-{second}-{option.name}")
        for first, others in MIXED.items()
        for second in others
        for option in ALL["convert"].params
        if option.name in OPTIONS_BY_SUFFIX[f".{first}"]
        and option.name not in (*OF_INT8, "data", "in_place")
    ],
)
def test_an_option_that_one_of_several_outputs_does_not_have_is_said(run, first, second, words):
    if first == "keras":
        pytest.importorskip("keras")
    more = " --min-agreement 0 --calibrate images --limit 2" if words == "--int8" else ""
    more += " --head nms" if words.split()[0] in OF_NMS else ""
    line = f"convert {MODEL} -o o.{first} -o {second} {words}{more}"
    after = run(line)
    if after["status"] != 0:
        assert words.split()[0] in after["stderr"]
        return
    suffix = second.split()[0].partition(".")[2]
    name = words.split()[0].removeprefix("--").replace("-", "_")
    has_it = name in OPTIONS_BY_SUFFIX.get(f".{suffix}", ())
    told = [line for line in after["stderr"].splitlines() if f"warning: o.{suffix}: --" in line]
    assert any(words.split()[0] in line for line in told) != has_it, after["stderr"]


WITH_MODEL = {
    setting: line
    for setting, line in SETTINGS.items()
    if "/" not in setting and (MODEL in line or SMALL in line)
}
WITH_ARRAYS = [
    setting
    for setting in WITH_MODEL
    if any("--allow-nonfinite" in option.opts for option in ALL[setting].params)
]


@pytest.fixture(scope="session")
def odd_place(place, tmp_path_factory):
    """The place, with a cfg that gives a warning and weights with a value that is not finite."""
    folder = tmp_path_factory.mktemp("odd") / "place"
    shutil.copytree(place, folder)
    for name in ("digits10", "p"):
        cfg, weights = folder / f"{name}.cfg", folder / f"{name}.weights"
        (folder / "whole.weights").write_bytes(weights.read_bytes())
        content = bytearray(weights.read_bytes())
        content[-4:] = np.float32(np.nan).tobytes()
        weights.write_bytes(content)
        cfg.write_text(cfg.read_text().replace("[net]", "[net]\nunheard_of=1", 1))
    return folder


@pytest.mark.parametrize("setting", one_in(8, WITH_ARRAYS))
def test_allow_nonfinite_lets_weights_pass_that_are_refused(odd_place, setting):
    refused = outcome(odd_place, SETTINGS[setting])
    assert refused["status"] == 1
    assert "--allow-nonfinite uses it all the same" in refused["stderr"]
    allowed = outcome(odd_place, f"{SETTINGS[setting]} --allow-nonfinite")
    assert "--allow-nonfinite" not in allowed["stderr"]


@pytest.mark.parametrize("setting", one_in(8, WITH_MODEL))
def test_quiet_leaves_warnings_out_and_verbose_says_more(odd_place, setting):
    line = (
        f"{WITH_MODEL[setting]} --allow-nonfinite"
        if setting in WITH_ARRAYS
        else WITH_MODEL[setting]
    )
    plain, quiet, verbose = (outcome(odd_place, f"{line}{more}") for more in ("", " -q", " -v"))
    assert "unheard_of" in plain["stderr"]
    assert "unheard_of" not in quiet["stderr"]
    assert f"darkconv {dc.__version__}" not in plain["stderr"]
    assert f"darkconv {dc.__version__}, Python" in verbose["stderr"]


@pytest.mark.parametrize("command", ALL)
def test_quiet_and_verbose_exclude_each_other(place, command):
    if "--quiet" in {word for option in ALL[command].params for word in option.opts}:
        assert outcome(place, f"{command} -q -v")["status"] == 2


@pytest.mark.parametrize("setting", WITH_MODEL)
def test_debug_shows_the_traceback(tmp_path, monkeypatch, setting):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, f"{WITH_MODEL[setting]} --debug".split())
    assert isinstance(result.exception, dc.DarkconvError)


SHARES = ("threshold", "nms", "at", "iou", "overlap", "min_agreement")


@pytest.mark.parametrize("value", ["25", "-0.1", "nan", "inf"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (command, option.name)
        for command, one in ALL.items()
        for option in one.params
        if option.name in SHARES and command not in ("prune", "dissect")
    ],
)
def test_shares_are_within_0_and_1(place, command, option, value):
    found = outcome(place, f"{command} {MODEL} --{option.replace('_', '-')} {value}")
    assert found["status"] == 2
    assert f"--{option.replace('_', '-')}" in found["stderr"]


@pytest.mark.parametrize("value", ["nan", "inf", "x"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (command, long_form(option))
        for command, one in ALL.items()
        for option in one.params
        if isinstance(option.type, click.types.FloatParamType)
    ],
)
def test_numbers_are_finite(place, command, option, value):
    found = outcome(place, f"{command} {MODEL} {option} {value}")
    assert found["status"] == 2
    assert option in found["stderr"]


def test_every_command_has_a_setting_and_every_option_a_value():
    others = {"demo", "completion", "serve"}
    assert {setting.partition("/")[0] for setting in SETTINGS} == set(ALL) - others
    options = [one for command in ALL.values() for one in command.params]
    valued = {
        long_form(one) for one in options if isinstance(one, click.Option) and not one.is_flag
    }
    assert valued == set(VALUES)
