"""Profiles and plans that are damaged, hostile, or of another model."""

import io
import json
import pickle
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from bad.catalogue import Refused, check
from bad.payload import Payload
from networks import network, random_model
from plans import unguarded_plan

INFO = "prune net.cfg net.weights --profile p.npz --ratio 0.5 --dry-run"
CARRY_OUT = "prune net.cfg net.weights --plan p.json -o out.cfg out.weights"
FITS = "\n  hint: it fits only the network, input size and weights that it was made with"


@pytest.fixture(scope="module")
def sound(good_files, tmp_path_factory):
    """A profile and a plan of the good model."""
    folder = tmp_path_factory.mktemp("sound")
    model = dc.load(good_files / "net.cfg", good_files / "net.weights")
    profile = dc.profile(model, sorted(good_files.glob("pics/*.png")))
    profile.save(folder / "p.npz")
    unguarded_plan(model, profile, keep=0.5).save(folder / "p.json")
    return folder


@pytest.fixture
def folder(folder, sound):
    """The case's folder, with p.npz and p.json."""
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    return folder


# --- Rules that spoil p.npz


def written(content):
    """A rule that writes p.npz."""
    return lambda folder: (folder / "p.npz").write_bytes(content)


def cut(share):
    """A rule that cuts p.npz short."""

    def make(folder):
        data = (folder / "p.npz").read_bytes()
        (folder / "p.npz").write_bytes(data[: int(share * len(data))])

    return make


def flipped(folder):
    """Another byte in the middle of the last layer's counts."""
    data = bytearray((folder / "p.npz").read_bytes())
    with zipfile.ZipFile(folder / "p.npz") as archive:
        start = archive.getinfo("2.histogram.npy").header_offset
    data[start + 80] ^= 0xFF
    (folder / "p.npz").write_bytes(data)


def arrays(**changes):
    """A rule that changes arrays of p.npz by `layer_name`; None takes one out."""

    def make(folder):
        with np.load(folder / "p.npz") as old:
            content = dict(old)
        for name, change in changes.items():
            key = name.removeprefix("layer").replace("_", ".") if name != "profile" else name
            value = change(content[key]) if callable(change) else change
            content[key] = value
        kept = {key: value for key, value in content.items() if value is not None}
        np.savez(folder / "p.npz", allow_pickle=True, **kept)

    return make


def head(**changes):
    """A rule that changes what p.npz says of itself."""

    def edit(text):
        return np.array(json.dumps({**json.loads(str(text)), **changes}))

    return arrays(profile=edit)


def member(name, content, declared=None):
    """A rule that adds a member to p.npz, which may say that it is longer than it is."""

    def make(folder):
        with zipfile.ZipFile(folder / "p.npz", "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
            if declared:
                archive.getinfo(name).file_size = declared

    return make


def bomb(folder):
    """2.mean inflates to 2 GB, and does not say so."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 26)) for _ in range(32)) + packer.flush()
    with zipfile.ZipFile(folder / "p.npz") as old:
        content = {name: old.read(name) for name in old.namelist()}
    said = len(content.pop("2.mean.npy"))
    with zipfile.ZipFile(folder / "p.npz", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.writestr("2.mean.npy", packed)
        info = archive.getinfo("2.mean.npy")
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, said
    data = (folder / "p.npz").read_bytes()
    local = data.index(b"PK\x03\x04", info.header_offset)
    method = struct.pack("<H", zipfile.ZIP_DEFLATED)
    (folder / "p.npz").write_bytes(data[: local + 8] + method + data[local + 10 :])


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def endless_array(folder):
    """An array whose header promises 8 TB."""
    data = npy(np.zeros(8)).replace(b"(8,), }" + b" " * 12, b"(1000000000000,), }")
    assert b"1000000000000" in data
    with zipfile.ZipFile(folder / "p.npz") as old:
        content = {name: old.read(name) for name in old.namelist()} | {"0.mean.npy": data}
    with zipfile.ZipFile(folder / "p.npz", "w") as archive:
        for name, one in content.items():
            archive.writestr(name, one)


def as_folder(folder):
    (folder / "p.npz").unlink()
    (folder / "p.npz").mkdir()


def bare_pickle(folder):
    (folder / "p.npz").write_bytes(pickle.dumps(Payload(folder / "owned")))


def objects_inside(folder):
    arrays(layer0_mean=np.array([Payload(folder / "owned")] * 8))(folder)


def other_body(folder):
    text = (folder / "net.cfg").read_text().replace("filters=8", "filters=10")
    (folder / "other.cfg").write_text(text)
    model = dc.load(folder / "other.cfg")
    dc.save(model, folder / "other.cfg", folder / "other.weights")


def claiming_model(**parts):
    """A rule: a profile of another network that claims to be of this one."""

    def make(folder):
        shape = parts.get("shape", (3, 16, 16))
        other = random_model(network(parts["body"], shape))
        pixels = np.zeros((16, 16, 3), np.uint8)
        own = dc.Profile.load(folder / "p.npz").model
        dc.profile(other, [pixels]).save(folder / "p.npz")
        head(model=own)(folder)

    return make


SMALLER = "[convolutional]\nfilters=4\nactivation=leaky\n"
NARROWER = (
    "[convolutional]\nfilters=4\nstride=2\nactivation=leaky\n"
    "[convolutional]\nfilters=16\nactivation=linear\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)

PROFILES = [
    Refused("an empty profile", INFO, "p.npz: cannot be read as a profile: is empty", written(b"")),
    Refused(
        "a text as profile",
        INFO,
        "p.npz: cannot be read as a profile: is no zip archive, or is cut short",
        written(b"mean,variance\n0.1,0.2\n"),
    ),
    Refused(
        "a profile cut in the middle",
        "profile net.cfg net.weights p.npz -o q.npz",
        "p.npz: cannot be read as a profile: is no zip archive, or is cut short",
        cut(0.5),
    ),
    Refused(
        "a profile without its last bytes",
        INFO,
        "p.npz: cannot be read as a profile: is no zip archive, or is cut short",
        cut(0.999),
    ),
    Refused(
        "a profile with a flipped byte",
        INFO,
        "p.npz: cannot be read as a profile: its member 2.histogram.npy is damaged",
        flipped,
    ),
    Refused("a folder as profile", INFO, "p.npz: cannot read: Is a directory", as_folder),
    Refused(
        "no profile at all",
        "profile net.cfg net.weights none.npz -o q.npz",
        "none.npz: cannot read: No such file or directory",
    ),
    Refused(
        "a pickle as profile",
        INFO,
        "p.npz: cannot be read as a profile: is no zip archive, or is cut short",
        bare_pickle,
    ),
    Refused(
        "Python objects in a profile",
        INFO,
        "p.npz: cannot be read as a profile: its array 0.mean holds Python objects, which are "
        "never unpickled",
        objects_inside,
    ),
    Refused(
        "a profile of another model",
        "prune other.cfg other.weights --profile p.npz --ratio 0.5 -o out.cfg out.weights",
        "p.npz: is a profile of another model than other.cfg" + FITS,
        other_body,
    ),
    Refused(
        "a profile of another input size",
        "profile net.cfg net.weights p.npz --input-size 32x32 -o q.npz",
        "p.npz: is a profile of another model than net.cfg" + FITS,
    ),
    Refused(
        "a second profile of another model",
        "prune other.cfg other.weights --images pics --against p.npz --score contrast --ratio 0.5 "
        "-o out.cfg out.weights",
        "p.npz: is a profile of another model than other.cfg" + FITS,
        other_body,
    ),
    Refused(
        "a profile with a layer too few that claims to fit",
        INFO,
        "p.npz: the profile is not one of net.cfg: expected layers 0 to 2, found 1 layers",
        claiming_model(body=SMALLER),
    ),
    Refused(
        "a profile with other channels that claims to fit",
        "profile net.cfg net.weights p.npz -o q.npz",
        "p.npz: layer 0 [convolutional]: the profile is not one of net.cfg: expected 8 channels, "
        "found 4",
        claiming_model(body=NARROWER),
    ),
    Refused(
        "a member that is no statistic",
        INFO,
        "p.npz: is not a profile: found a member '../../evil.npy'",
        member("../../evil.npy", b"x"),
    ),
    Refused(
        "a member of an absolute path",
        INFO,
        "p.npz: is not a profile: found a member '/etc/passwd'",
        member("/etc/passwd", b"x"),
    ),
    Refused(
        "a member that says it has 20 GB",
        INFO,
        "p.npz: cannot be read as a profile: would take 20 GB unpacked, 537 MB is the limit",
        member("3.mean.npy", b"x", declared=20 * 10**9),
    ),
    Refused(
        "a member that inflates to 2 GB",
        INFO,
        "p.npz: cannot be read as a profile: its member 2.mean.npy is damaged",
        bomb,
    ),
    Refused(
        "an array that says it has 8 TB",
        INFO,
        "p.npz: cannot be read as a profile: its array 0.mean of float64 (1000000000000,) has 64 "
        "bytes",
        endless_array,
    ),
    Refused(
        "an array too few",
        INFO,
        "p.npz: layer 1 deviations: is missing",
        arrays(layer1_deviations=None),
    ),
    Refused(
        "an array of another shape",
        INFO,
        "p.npz: layer 1 histogram: expected int64 (16, 80), found int64 (15, 80)",
        arrays(layer1_histogram=lambda old: old[1:]),
    ),
    Refused(
        "an array of another type",
        INFO,
        "p.npz: layer 0 mean: expected float64 (8,), found float32 (8,)",
        arrays(layer0_mean=lambda old: old.astype(np.float32)),
    ),
    Refused(
        "a mean that is no number",
        INFO,
        "p.npz: layer 0 mean: expected finite numbers, found nan",
        arrays(layer0_mean=lambda old: old + [0, np.nan] * 4),
    ),
    Refused(
        "a negative variance",
        INFO,
        "p.npz: layer 1 deviations: expected 0 or more, found -2.0",
        arrays(layer1_deviations=lambda old: np.full_like(old, -2)),
    ),
    Refused(
        "a count of nothing",
        INFO,
        "p.npz: layer 1 count: expected 1 or more, found 0",
        arrays(layer1_count=np.array(0)),
    ),
    Refused("no head", INFO, "p.npz: is not a profile: it has no head", arrays(profile=None)),
    Refused(
        "a head that is no JSON",
        INFO,
        "p.npz: profile: is not well-formed JSON",
        arrays(profile=np.array("{")),
    ),
    Refused(
        "a head of a newer format",
        INFO,
        "p.npz: profile: expected format 1, found 2\n  hint: a newer darkconv wrote it",
        head(format=2),
    ),
    Refused(
        "a head with a number as model",
        INFO,
        "p.npz: profile: model: expected a text, found 7",
        head(model=7),
    ),
    Refused(
        "a profile of no pictures",
        INFO,
        "p.npz: profile: pictures: expected a number above 0, found -4",
        head(pictures=-4),
    ),
]


# --- Rules that spoil p.json


def text(content):
    """A rule that writes p.json."""
    return lambda folder: (folder / "p.json").write_bytes(content)


def edited(edit):
    """A rule that changes what p.json says."""

    def make(folder):
        content = json.loads((folder / "p.json").read_text())
        edit(content)
        (folder / "p.json").write_text(json.dumps(content))

    return make


def kept(channels, layer="0"):
    return edited(lambda plan: plan["layers"][layer].update(keep=channels))


def huge_file(folder):
    """300 MB, of which the disk holds nothing."""
    with (folder / "p.json").open("r+b") as file:
        file.truncate(300_000_000)


PLANS = [
    Refused(
        "an empty plan", CARRY_OUT, "p.json:1: is not well-formed JSON: Expecting value", text(b"")
    ),
    Refused(
        "a plan cut short",
        CARRY_OUT,
        "p.json:3: is not well-formed JSON: Expecting ',' delimiter",
        text(b'{"darkconv_plan": 1,\n "model": "a"\n'),
    ),
    Refused("a picture as plan", CARRY_OUT, "p.json: is no text", text(b"\x89PNG\r\n\x1a\n")),
    Refused("a plan of 300 MB", CARRY_OUT, "p.json: is no plan: it has 300 MB", huge_file),
    Refused(
        "deep nesting in a plan",
        CARRY_OUT,
        "p.json: is not well-formed JSON: nested too deeply",
        text(b'{"notes": ' + b"[" * 100_000),
    ),
    Refused(
        "a number of 5000 digits in a plan",
        CARRY_OUT,
        "p.json: has a number of 5000 digits",
        text(b'{"darkconv_plan": ' + b"9" * 5000 + b"}"),
    ),
    Refused(
        "a list as plan", CARRY_OUT, "p.json: expected an object in braces, found []", text(b"[]")
    ),
    Refused(
        "another program's JSON",
        CARRY_OUT,
        "p.json: is not a plan: it has no darkconv_plan",
        text(b'{"plan": "lunch"}'),
    ),
    Refused(
        "a plan of a newer format",
        CARRY_OUT,
        "p.json: darkconv_plan: expected format 1, found 3\n  hint: a newer darkconv wrote it",
        edited(lambda plan: plan.update(darkconv_plan=3)),
    ),
    Refused(
        "a plan of another model",
        "prune other.cfg other.weights --plan p.json -o out.cfg out.weights",
        "p.json: the plan is for another model than other.cfg" + FITS,
        other_body,
    ),
    Refused(
        "a plan with a layer that is not there",
        CARRY_OUT,
        "p.json: layer 9: net.cfg has no such layer: expected a layer from 0 to 2",
        edited(lambda plan: plan["layers"].update({"9": {"keep": [0]}})),
    ),
    Refused(
        "a plan with a layer of a name",
        CARRY_OUT,
        'p.json: layers: expected numbers as keys, found "first"',
        edited(lambda plan: plan["layers"].update(first={"keep": [0]})),
    ),
    Refused(
        "a channel that is not there",
        CARRY_OUT,
        "p.json: layer 0 keep: expected channels from 0 to 7, found 8",
        kept([0, 1, 8]),
    ),
    Refused(
        "a channel below 0",
        CARRY_OUT,
        "p.json: layer 0 keep: expected channels from 0 to 7, found -1",
        kept([-1, 1]),
    ),
    Refused(
        "a channel of 30 digits where the plan claims as many",
        CARRY_OUT,
        "p.json: layer 0 keep: expected channels from 0, found " + "9" * 30,
        edited(
            lambda plan: plan["layers"]["0"].update(keep=[int("9" * 30)], channels=int("9" * 31))
        ),
    ),
    Refused(
        "a channel twice",
        CARRY_OUT,
        "p.json: layer 0 [convolutional]: channels are listed more than once: found 2",
        kept([1, 2, 2, 3]),
    ),
    Refused(
        "a plan that empties a layer",
        CARRY_OUT,
        "p.json: layer 0 [convolutional]: the plan empties it: expected at least one channel",
        kept([]),
    ),
    Refused(
        "channels as text",
        CARRY_OUT,
        'p.json: layer 0 keep: expected a list of channels, found "0-3"',
        kept("0-3"),
    ),
    Refused(
        "half a channel",
        CARRY_OUT,
        "p.json: layer 0 keep: expected channels from 0 to 7, found 1.5",
        kept([0, 1.5]),
    ),
    Refused(
        "a mean beyond any number",
        CARRY_OUT,
        "p.json: layer 0 means: expected a number for channel 1, found Infinity",
        edited(lambda plan: plan["means"].update({"0": {"1": float("inf")}})),
    ),
    Refused(
        "a layer twice",
        CARRY_OUT,
        'p.json: has "0" twice in one place',
        text(b'{"darkconv_plan": 1, "layers": {"0": {"keep": [1]}, "0": {"keep": [2]}}}'),
    ),
    Refused(
        "a plan that cuts what the head needs",
        CARRY_OUT,
        "p.json: layer 1 [convolutional]: channels 14-15 cannot go: they are the network's result "
        "(layer 2 [yolo])",
        edited(lambda plan: plan["layers"].update({"1": {"keep": list(range(14))}})),
    ),
]


@pytest.mark.parametrize("case", PROFILES, ids=str)
def test_profile(case, folder):
    check(case, folder)
    assert not (folder / "owned").exists()


@pytest.mark.parametrize("case", PLANS, ids=str)
def test_plan(case, folder):
    check(case, folder)


def test_a_plan_that_is_not_sorted_is_carried_out_as_a_sorted_one(folder):
    edited(lambda plan: plan["layers"]["0"]["keep"].reverse())(folder)
    model = dc.load(folder / "net.cfg", folder / "net.weights")
    plan = dc.PrunePlan.load(folder / "p.json")
    small = dc.prune(model, plan)
    order = np.sort(plan.keep[0])
    assert not np.array_equal(order, plan.keep[0])
    assert np.array_equal(small.arrays["0.weights"], model.arrays["0.weights"][order])


def test_the_payload_of_these_tests_does_write_its_file(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "owned")))
    assert (tmp_path / "owned").exists()


def test_profiles_of_other_layers_are_not_merged(folder):
    path = Path(folder / "p.npz")
    first = dc.Profile.load(path)
    claiming_model(body=SMALLER)(folder)
    with pytest.raises(dc.DarkconvError, match="profiles of different layers cannot be merged"):
        first.merge(dc.Profile.load(path))
