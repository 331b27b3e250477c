"""Weights files that are not the network's, or no weights files; NaN and infinity inside."""

import gzip
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from bad.catalogue import Accepted, Refused, check
from bad.conftest import BODY, SHAPE
from networks import network

CONVERT = "convert net.cfg net.weights -o out.onnx"
SIZE = 1588
HINT = "\n  hint: "
INCOMPLETE = HINT + "the download is incomplete, or the cfg describes another network"
OTHER = HINT + "the cfg describes another network"
PAGE = HINT + "the download failed: the server sent a page instead of the file"
VERSION = "net.weights: the version in its header: expected numbers such as 0.2.5, found"
STRANGE = HINT + "the file is damaged, or it is something else than Darknet's weights"
COUNTER = (
    "net.weights: is 4 bytes too long: expected 1584 bytes for net.cfg, found 1588" + HINT + "of "
    "version {} the header has 16 bytes; with 20 the sizes would meet, so the version may be "
    "damaged"
)


def changed(change):
    """A rule that changes the bytes of net.weights."""

    def make(folder):
        path = folder / "net.weights"
        path.write_bytes(change(path.read_bytes()))

    return make


def instead(data):
    """A rule that puts other bytes in place of net.weights."""
    return changed(lambda _: data)


def version(*numbers):
    """A rule that changes the version in the header."""
    return changed(lambda data: struct.pack("<3i", *numbers) + data[12:])


def named(name):
    """A rule that gives net.weights another name."""
    return lambda folder: (folder / "net.weights").rename(folder / name)


def cases_of_ends():
    """A file that ends before each array, and in the middle of each."""
    position = 20
    for key, layer, slot in network(BODY, SHAPE).keyed_slots():
        size = 4 * slot.size
        place = f"net.weights: ends in layer {layer.index} [convolutional] with"
        sizes = f"expected {SIZE} bytes for net.cfg, found"
        hint = INCOMPLETE
        if key == "1.biases":
            hint = (
                HINT + "the sizes would meet with channels=1; it ends exactly behind layer 0: a "
                "partial file is read with cutoff=1"
            )
        yield Refused(
            f"ends before {key}",
            CONVERT,
            f"{place} nothing of its {slot.name}: {sizes} {position}{hint}",
            changed(lambda data, end=position: data[:end]),
        )
        middle = position + size // 2 - 1
        yield Refused(
            f"ends within {key}",
            "reclass net.cfg net.weights --keep cat -o s.cfg s.weights",
            f"{place} {size // 2 - 1} of {size} bytes of its {slot.name}: {sizes} {middle}"
            + INCOMPLETE,
            changed(lambda data, end=middle: data[:end]),
        )
        position += size


def zip_archive(folder):
    with zipfile.ZipFile(folder / "net.weights", "w") as archive:
        archive.writestr("archive/data.pkl", bytes(50))


def folder_instead(folder):
    (folder / "net.weights").unlink()
    (folder / "net.weights").mkdir()


def circular_link(folder):
    (folder / "net.weights").unlink()
    (folder / "net.weights").symlink_to("net.weights")


def sparse(folder):
    os.truncate(folder / "net.weights", 10**11)


def other_network(folder):
    """Weights of the same network with two more filters."""
    text = (folder / "net.cfg").read_text().replace("filters=8", "filters=10")
    (folder / "net.cfg").write_text(text)


def other_classes(folder):
    """A cfg for one class more than the weights have."""
    text = (folder / "net.cfg").read_text().replace("classes=3", "classes=4")
    (folder / "net.cfg").write_text(text.replace("filters=16", "filters=18"))


SIZES = [
    *cases_of_ends(),
    Refused("one byte more", CONVERT,
            f"net.weights: is 1 byte too long: expected {SIZE} bytes for net.cfg, found 1589"
            + HINT + "the file is damaged: arrays are made of 4 bytes each",
            changed(lambda data: data + b"\n")),
    Refused("four bytes more", "weights fold net.cfg net.weights -o s.cfg s.weights",
            f"net.weights: is 4 bytes too long: expected {SIZE} bytes for net.cfg, found 1592"
            + OTHER,
            changed(lambda data: data + bytes(4))),
    Refused("twice", "profile net.cfg net.weights pics -o p.npz",
            f"net.weights: is 1588 bytes too long: expected {SIZE} bytes for net.cfg, found 3176"
            + OTHER,
            changed(lambda data: data + data)),
    Refused("100 GB", CONVERT,
            f"net.weights: is 99999998412 bytes too long: expected {SIZE} bytes for net.cfg, "
            "found 100000000000" + OTHER,
            sparse),
    Refused("another network's", "detect net.cfg net.weights pics/0.png",
            "net.weights: ends in layer 1 [convolutional] with 264 of 640 bytes of its weights: "
            "expected 1964 bytes for net.cfg, found 1588" + INCOMPLETE,
            other_network),
    Refused("of other classes", "eval net.cfg net.weights --data net.data",
            "net.weights: ends in layer 1 [convolutional] with 504 of 576 bytes of its weights: "
            "expected 1660 bytes for net.cfg, found 1588" + HINT + "the sizes would meet with "
            "classes=3",
            other_classes),
    Refused("cutoff 0", f"{CONVERT} --cutoff 0",
            "net.weights: cutoff: expected 1 to 3 layers, found 0"),
    Refused("cutoff beyond the network", f"{CONVERT} --cutoff 99",
            "net.weights: cutoff: expected 1 to 3 layers, found 99"),
    Refused("cutoff of a whole file", f"{CONVERT} --cutoff 1",
            "net.weights: is 576 bytes too long: expected 1012 bytes for the first layer of "
            "net.cfg, found 1588" + HINT + "it holds all layers: the cutoff, or the .conv.N of "
            "its name, is wrong"),
    Refused("a name with a wrong cutoff", "weights stats net.cfg net.conv.99999999999999999999",
            "net.conv.99999999999999999999: cutoff: expected 1 to 3 layers, found "
            "99999999999999999999",
            named("net.conv.99999999999999999999")),
]  # fmt: skip

OTHER_FILES = [
    Refused("empty", CONVERT,
            "net.weights: is a file of 0 bytes, not a weights file" + HINT
            + "a weights header alone has 16 or 20",
            instead(b"")),
    Refused("half a header", CONVERT,
            "net.weights: is too short for a header: expected 20, found 16",
            changed(lambda data: data[:16])),
    Refused("HTML page", CONVERT, "net.weights: is an HTML page, not a weights file" + PAGE,
            instead(b"<!DOCTYPE html><html><body>Not found</body></html>\n")),
    Refused("LFS pointer", CONVERT,
            "net.weights: is a Git LFS pointer, not a weights file" + HINT
            + "fetch the file itself: git lfs pull",
            instead(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1588\n")),
    Refused("zip", CONVERT,
            "net.weights: cannot be read as a PyTorch file: invalid load key, '\\x00'.",
            zip_archive),
    Refused("pickle", "prune net.cfg net.weights --ratio 0.5 --dry-run",
            "net.weights: is a Python pickle, and none of PyTorch",
            instead(pickle.dumps({"0.weights": [1.0] * 20}))),
    Refused("gzip", CONVERT,
            "net.weights: is a gzip archive, not a weights file" + HINT + "unpack it first",
            changed(gzip.compress)),
    Refused("JSON", CONVERT, "net.weights: is a JSON text, not a weights file" + PAGE,
            instead(json.dumps({"message": "Not Found", "status": "404"}).encode())),
    Refused("text", CONVERT, "net.weights: is a text file, not a weights file",
            instead(b"0.1 0.2 0.3 0.4\n" * 100)),
    Refused("ONNX", CONVERT,
            "net.weights: is an ONNX file, not a weights file" + HINT
            + "name it .onnx; if another tool wrote it, commands read it in place of weights, "
            "dc.import_weights(cfg, file) in Python",
            instead(b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(100))),
    Refused("safetensors", "verify net.cfg net.weights",
            "net.weights: cannot be read as safetensors: Error while deserializing header: invalid "
            "JSON in header: missing field `data_offsets` at line 1 column 33",
            instead(struct.pack("<Q", 40) + b'{"a":{"dtype":"F32","shape":[1]}}' + bytes(40))),
    Refused("numpy array", CONVERT, f"{VERSION} 1297436307.88400.662372470{STRANGE}",
            instead(b"\x93NUMPY\x01\0v\0{'descr': '<f4'}" + bytes(400))),
    Refused("program", CONVERT, f"{VERSION} 1179403647.65794.0{STRANGE}",
            instead(b"\x7fELF\x02\x01\x01" + bytes(200))),
    Refused("folder", CONVERT, "net.weights: cannot read: Is a directory", folder_instead),
    Refused("unreadable", CONVERT, "net.weights: cannot read: Too many levels of symbolic links",
            circular_link),
    Refused("missing", "convert net.cfg no.weights -o out.onnx",
            "no.weights: cannot read: No such file or directory"),
    Refused("weights first", "convert net.weights net.cfg -o out.onnx",
            "net.weights:1: expected a Darknet cfg that begins with [net], found a weights file"
            + HINT + "the cfg comes first, then the weights"),
    Refused("cfg twice", "convert net.cfg net.cfg -o out.onnx",
            "net.cfg: is a cfg, not a weights file" + HINT
            + "the cfg comes first, then the weights"),
    Refused("no weights", CONVERT.replace("net.weights ", ""),
            "net.cfg: no weights given" + HINT + "a model is two files: net.cfg NET.weights"),
    Refused("no cfg", CONVERT.replace("net.cfg ", ""),
            "net.weights: no cfg given" + HINT + "a model is two files: NET.cfg net.weights"),
]  # fmt: skip

HEADERS = [
    Refused("negative version", "info net.cfg net.weights", f"{VERSION} -1.-2.-3{STRANGE}",
            version(-1, -2, -3)),
    Refused("huge version", CONVERT, f"{VERSION} 2147483647.2147483647.0{STRANGE}",
            version(2**31 - 1, 2**31 - 1, 0)),
    Refused("version of a shorter header", CONVERT, COUNTER.format("0.1"), version(0, 1, 0)),
    Refused("version of transposed matrices", CONVERT, COUNTER.format("1001.2"),
            version(1001, 2, 0)),
    Accepted("pictures beyond count", "reclass net.cfg net.weights --keep cat -o s.cfg s.weights",
             "wrote s.cfg (213 bytes), s.weights (1.44 kB)\n"
             "next: darkconv convert s.cfg s.weights -o s.onnx\n",
             changed(lambda data: data[:12] + b"\xff" * 8 + data[20:]),
             stdout="kept 1 of 3 classes", files=("s.cfg", "s.weights")),
]  # fmt: skip


@pytest.mark.parametrize("case", [*SIZES, *OTHER_FILES, *HEADERS], ids=str)
def test_case(case, folder):
    check(case, folder)


NONFINITE = (
    "the training has diverged, or the file is damaged; --allow-nonfinite uses it all the same"
)
DATA = "--data net.data --steps 1"
COMMANDS = (
    "convert net.cfg net.weights -o out.onnx",
    "convert net.cfg net.weights -o out.safetensors",
    "detect net.cfg net.weights pics/0.png",
    "eval net.cfg net.weights --data net.data",
    "verify net.cfg net.weights",
    "reclass net.cfg net.weights --keep cat -o s.cfg s.weights",
    "prune net.cfg net.weights --ratio 0.5 --score l1 -o s.cfg s.weights",
    "profile net.cfg net.weights pics -o p.npz",
    "dissect net.cfg net.weights --keep cat --images pics -o s.cfg s.weights",
    f"finetune net.cfg net.weights {DATA} -o s.cfg s.weights",
    f"finetune net.cfg {DATA} --teacher net.cfg net.weights -o s.cfg s.weights",
    f"finetune net.cfg {DATA} --backbone net.cfg net.weights -o s.cfg s.weights",
    "graft net.cfg net.weights net.cfg -o s.weights",
    "weights fold net.cfg net.weights -o s.cfg s.weights",
    "weights average net.cfg net.weights net.weights -o s.cfg s.weights",
    "weights partial net.cfg net.weights --layers 1",
    "weights backbone net.cfg net.weights --layers 1",
    "weights swap-rgb net.cfg net.weights -o s.cfg s.weights",
)
"""Every command that uses arrays."""


def spoiled(key, *values):
    """A rule that changes the first values of an array in net.weights."""

    def change(data):
        position = 20
        for name, _, slot in network(BODY, SHAPE).keyed_slots():
            if name == key:
                return patched(data, position, np.array(values, "<f4").tobytes())
            position += 4 * slot.size
        raise KeyError(key)

    return changed(change)


def patched(data, position, values):
    return data[:position] + values + data[position + len(values) :]


def nonfinite(found, layer=0):
    return f"net.weights: layer {layer} [convolutional]: {found}{HINT}{NONFINITE}"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_nan(command, folder):
    error = nonfinite("1 of the 216 values of its weights is NaN or infinite")
    check(Refused("", command, error, spoiled("0.weights", np.nan)), folder)


FOUND = [
    Refused("infinity", CONVERT,
            nonfinite("2 of the 8 values of its rolling_variance are NaN or infinite"),
            spoiled("0.rolling_variance", np.inf, -np.inf)),
    Refused("in the last array", CONVERT,
            nonfinite("1 of the 128 values of its weights is NaN or infinite", layer=1),
            spoiled("1.weights", np.nan)),
    Refused("in several arrays", CONVERT,
            nonfinite("1 of the 8 values of its biases is NaN or infinite, and 5 in other arrays"),
            lambda folder: [
                spoiled("0.biases", np.nan)(folder),
                spoiled("0.scales", *[np.inf] * 3)(folder),
                spoiled("1.biases", np.nan, np.nan)(folder),
            ]),
    Refused("and folding after all",
            "weights fold net.cfg net.weights --allow-nonfinite -o s.cfg s.weights",
            "net.cfg:6: layer 0 [convolutional]: folding gives weights that are not finite: "
            "expected finite arrays, and no variance below zero, found values in its weights that "
            "are not finite" + HINT + "the training has diverged, or the weights are another "
            "network's",
            spoiled("0.weights", np.nan)),
    Accepted("allowed", "convert net.cfg net.weights --allow-nonfinite -o out.safetensors",
             "wrote out.safetensors (2.53 kB)\n"
             "next: darkconv verify net.cfg net.weights out.safetensors --allow-nonfinite\n",
             spoiled("0.weights", np.nan),
             files=("out.safetensors",)),
    Refused("allowed, but of no use", "detect net.cfg net.weights pics/0.png --allow-nonfinite",
            "net.cfg: all 1,024 output values are NaN in the picture: nothing can be found\n"
            "  hint: the training has diverged, or the file is damaged",
            spoiled("0.weights", np.nan)),
    Accepted("looked at", "weights stats net.cfg net.weights", "", spoiled("0.weights", np.nan),
             stdout="values that are not finite in: 0.weights"),
    Accepted("compared", "weights diff net.cfg net.weights net.weights", "",
             spoiled("0.weights", np.nan), stdout="7 of 7 arrays equal to the bit"),
    Accepted("not needed", "info net.cfg net.weights", "", spoiled("0.weights", np.nan),
             stdout="3 layers"),
    Accepted("large, but finite", "weights partial net.cfg net.weights --layers 1",
             "wrote net.conv.1 (1.01 kB)\n", spoiled("0.weights", 3e38, -3e38),
             files=("net.conv.1",)),
]  # fmt: skip


@pytest.mark.parametrize("case", FOUND, ids=str)
def test_nonfinite_case(case, folder):
    check(case, folder)
