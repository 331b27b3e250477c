"""Files that a training goes on from, or learns from, which are damaged or of something else."""

import pickle
import shutil
import zipfile

import pytest

import darkconv as dc
from bad.catalogue import Refused, check, run
from bad.payload import Payload
from networks import cfg_text

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

TRAIN = (
    "finetune net.cfg net.weights --data net.data --split train --valid-split valid --batch 2 "
    "--workers 0 --device cpu -q"
)
OUT = "-o out.cfg out.weights"
RESUME = f"{TRAIN} --steps 3 {OUT} --resume"
LAST = "out.run/checkpoints/last.ckpt"
UNREAD = f"{LAST}: cannot be read as a checkpoint: "
AFRESH = "\n  hint: without --resume the run begins anew"
AS_BEGUN = (
    "\n  hint: --resume (in Python resume=True) wants what the run began with; without it the run "
    "begins anew"
)
GOES_ON = "\n  hint: without the file the run goes on too"


@pytest.fixture(scope="module")
def trained(good_files, tmp_path_factory):
    """The folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(good_files, folder, dirs_exist_ok=True)
    outcome = run(f"{TRAIN} --steps 2 {OUT}".split(), folder)
    assert outcome.status == 0, outcome.stderr
    return folder / "out.run"


@pytest.fixture
def folder(folder, trained):
    """The case's folder, with the run's."""
    shutil.copytree(trained, folder / "out.run")
    return folder


def written(content):
    return lambda folder: (folder / LAST).write_bytes(content)


def cut(folder):
    data = (folder / LAST).read_bytes()
    (folder / LAST).write_bytes(data[: len(data) // 2])


def checkpoint(edit):
    """A rule that changes what the checkpoint holds."""

    def make(folder):
        content = torch.load(folder / LAST, weights_only=True)
        edited = edit(content, folder)
        torch.save(content if edited is None else edited, folder / LAST)

    return make


def without(key):
    return checkpoint(lambda content, _: {k: v for k, v in content.items() if k != key})


def hostile(content, folder):
    content["loops"] = Payload(folder / "owned")


def old_pickle(folder):
    (folder / LAST).write_bytes(pickle.dumps(Payload(folder / "owned")))


def bomb(folder):
    """Arrays packed a thousandfold."""
    with zipfile.ZipFile(folder / LAST, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(300_000_000))


def another_shape(content, folder):
    content["state_dict"]["module.layers.0.conv.weight"] = torch.zeros(4, 3, 3, 3)


def another_layer(content, folder):
    content["state_dict"]["module.layers.7.conv.weight"] = torch.zeros(4)


def other_teacher(folder):
    """A teacher without one of the classes."""
    body = "[convolutional]\nfilters=14\nactivation=linear\n\n"
    head = "[yolo]\nclasses=2\nnum=2\nanchors=3,4,6,7\n"
    (folder / "t.cfg").write_text(cfg_text(body + head, (3, 16, 16)))
    (folder / "t.names").write_text("cat\ndog\n")
    dc.save(dc.load(folder / "t.cfg"), folder / "t.cfg", folder / "t.weights")


def history(text):
    return lambda folder: (folder / "out.run/history.csv").write_bytes(text)


CASES = [
    Refused(
        "a checkpoint cut in the middle",
        RESUME,
        UNREAD + "is no zip archive, or is cut short" + AFRESH,
        cut,
    ),
    Refused("an empty checkpoint", RESUME, UNREAD + "is empty" + AFRESH, written(b"")),
    Refused(
        "a text as checkpoint",
        RESUME,
        UNREAD + "is no zip archive, or is cut short" + AFRESH,
        written(b"epoch=3\n"),
    ),
    Refused(
        "an old pickle as checkpoint",
        RESUME,
        UNREAD + "is no zip archive, or is cut short" + AFRESH,
        old_pickle,
    ),
    Refused(
        "code in a checkpoint",
        RESUME,
        UNREAD + "it holds more than arrays and plain values" + AFRESH,
        checkpoint(hostile),
    ),
    Refused(
        "a checkpoint that unpacks to 300 MB",
        RESUME,
        UNREAD + "would take 300 MB unpacked, 292 kB is the limit" + AFRESH,
        bomb,
    ),
    Refused(
        "a checkpoint of weights alone",
        RESUME,
        UNREAD
        + "it is of another program or version, and has no pytorch-lightning_version"
        + AFRESH,
        checkpoint(lambda content, _: content["state_dict"]),
    ),
    Refused(
        "a checkpoint of an array",
        RESUME,
        UNREAD + "it is of another program" + AFRESH,
        checkpoint(lambda *_: torch.zeros(3)),
    ),
    Refused(
        "a checkpoint without loops",
        RESUME,
        UNREAD + "it is of another program or version, and has no loops" + AFRESH,
        without("loops"),
    ),
    Refused(
        "a checkpoint of another model",
        RESUME,
        f"{LAST}: is of another model: expected module.layers.0.conv.weight [8, 3, 3, 3], found "
        "[4, 3, 3, 3]" + AFRESH,
        checkpoint(another_shape),
    ),
    Refused(
        "a checkpoint with a layer more",
        RESUME,
        f"{LAST}: is of another model: expected module.layers.7.conv.weight nowhere, found [4]"
        + AFRESH,
        checkpoint(another_layer),
    ),
    Refused(
        "a checkpoint of another optimizer",
        f"{RESUME} --optimizer sgd",
        f"{LAST}: would not go on as it began: optimizer was adamw, is sgd" + AS_BEGUN,
    ),
    Refused(
        "a checkpoint of a run with other layers frozen",
        f"{RESUME} --freeze 1",
        f"{LAST}: would not go on as it began: freeze_first (--freeze) was 0, is 1" + AS_BEGUN,
    ),
    Refused(
        "a checkpoint whose optimizer is of other layers",
        RESUME,
        f"{LAST}: was made with another optimizer, or with other layers frozen" + AFRESH,
        checkpoint(lambda content, _: content["optimizer_states"].clear()),
    ),
    Refused(
        "a checkpoint that says nothing of its run",
        RESUME,
        UNREAD + "it is of another program or version, and has no darkconv_run" + AFRESH,
        without("darkconv_run"),
    ),
    Refused(
        "a checkpoint whose run has no steps",
        RESUME,
        UNREAD + "what it says of its run is no text, or lacks steps" + AFRESH,
        checkpoint(lambda content, _: content["darkconv_run"].update(steps="")),
    ),
    Refused(
        "a checkpoint whose run has steps without end",
        RESUME,
        UNREAD + "what it says of its run is no text, or lacks steps" + AFRESH,
        checkpoint(lambda content, _: content["darkconv_run"].update(steps="9" * 5000)),
    ),
    Refused(
        "a checkpoint that says anything of its run",
        RESUME,
        f"{LAST}: would not go on as it began: batch was \\x1b[2J, is 2; [net] was [[[[[[[[[[[[[[["
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[..., is {"
        '"B1": 0.9, "B2": 0.999, "adam": false, "adversarial_lr": 0,...' + AS_BEGUN,
        checkpoint(
            lambda content, _: content["darkconv_run"].update(
                {"batch": "\x1b[2J", "[net]": "[" * 99999}
            )
        ),
    ),
    Refused(
        "a history that is no table",
        RESUME,
        "out.run/history.csv: is no history of a run" + GOES_ON,
        history(b"step,loss\n1,\xff\xfe\n"),
    ),
    Refused(
        "a history with words for numbers",
        RESUME,
        "out.run/history.csv:2: is no history of a run" + GOES_ON,
        history(b"step,loss\n1,low\n"),
    ),
    Refused(
        "a teacher that lacks a class",
        f"{TRAIN} --teacher t.cfg t.weights {OUT} --run new",
        "t.cfg: the teacher does not know fox: expected the student's class names, found cat, dog\n"
        "  hint: cut or merge the teacher's classes alike with `darkconv reclass`",
        other_teacher,
    ),
    Refused(
        "a teacher that is not there",
        f"{TRAIN} --teacher none.safetensors {OUT} --run new",
        "none.safetensors: cannot read: No such file or directory",
    ),
    Refused(
        "a teacher without weights",
        f"{TRAIN} --teacher net.cfg {OUT} --run new",
        "net.cfg: no weights given\n  hint: a model is two files: net.cfg NET.weights",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case, folder):
    check(case, folder)
    assert not (folder / "owned").exists()


def test_a_sound_checkpoint_is_gone_on_from(folder):
    outcome = run([*RESUME.split(), "--json"], folder)
    assert outcome.status == 0, outcome.stderr
    assert '"step": 3' in outcome.stdout
    assert '"step": 1' not in outcome.stdout
