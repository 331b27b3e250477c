"""Outputs that cannot be written, and odd ones that can: a run says so before it begins."""

import pytest

import darkconv as dc
from bad.catalogue import Accepted, Refused, check

CONVERT = "convert net.cfg net.weights"
NO_FOLDER = ": cannot write: No such file or directory"
NO_FILE = ": cannot write: it is there, and is no file"


def make_folder(name):
    """A rule that makes a folder."""
    return lambda folder: (folder / name).mkdir()


def symbolic(link, target):
    """A rule that makes a symbolic link."""
    return lambda folder: (folder / link).symlink_to(target)


CASES = [
    Refused("no such folder", f"{CONVERT} -o none/x.onnx", f"none/x.onnx{NO_FOLDER}"),
    Refused(
        "no such folder for the weights",
        f"{CONVERT} -o x.cfg none/x.weights",
        f"none/x.weights{NO_FOLDER}",
    ),
    Refused(
        "a good output before a bad one",
        f"{CONVERT} -o x.safetensors -o none/x.onnx",
        f"none/x.onnx{NO_FOLDER}",
    ),
    Refused(
        "a file in a folder's place",
        f"{CONVERT} -o net.names/x.onnx",
        "net.names/x.onnx: cannot write: Not a directory",
    ),
    Refused(
        "a folder in a file's place",
        "reclass net.cfg net.weights --keep cat -o x.safetensors",
        f"x.safetensors{NO_FILE}",
        make_folder("x.safetensors"),
    ),
    Refused(
        "a folder in the weights' place",
        f"{CONVERT} -o x.cfg x.weights",
        f"x.weights{NO_FILE}",
        make_folder("x.weights"),
    ),
    Refused(
        "an unknown suffix",
        f"{CONVERT} -o x.pt",
        "x.pt: unknown format: expected OUT.cfg OUT.weights, or a name that ends in .onnx, "
        ".safetensors, .pt2, .keras, .savedmodel, .tflite\n"
        "  hint: .pt2 and .safetensors are PyTorch's formats that run nothing when they are read",
    ),
    Refused(
        "no suffix, behind a good output",
        f"{CONVERT} -o x.onnx -o x",
        "x: unknown format: expected OUT.cfg OUT.weights, or a name that ends in .onnx, "
        ".safetensors, .pt2, .keras, .savedmodel, .tflite",
    ),
    Refused(
        "one output twice",
        f"{CONVERT} -o x.onnx -o ./x.onnx",
        "x.onnx: is to be written twice",
    ),
    Refused(
        "a link into nowhere in a folder's place",
        f"{CONVERT} -o away/x.onnx",
        f"away/x.onnx{NO_FOLDER}",
        symbolic("away", "nowhere"),
    ),
    Refused(
        "no folder for a profile",
        "profile net.cfg net.weights pics -o none/p.npz",
        f"none/p.npz{NO_FOLDER}",
    ),
    Refused(
        "no folder for a profile's page",
        "profile net.cfg net.weights pics -o p.npz --report none/p.html",
        f"none/p.html{NO_FOLDER}",
    ),
    Refused(
        "no folder for a plan",
        "prune net.cfg net.weights --score l1 --ratio 0.5 --save-plan none/p.json -o x.cfg "
        "x.weights",
        f"none/p.json{NO_FOLDER}",
    ),
    Refused(
        "no folder for what is trained",
        "finetune net.cfg net.weights --data net.data --steps 1 -o none/x.cfg none/x.weights",
        f"none/x.cfg{NO_FOLDER}",
    ),
    Refused(
        "no folder for what is dissected",
        "dissect net.cfg net.weights --keep cat --images pics -o none/x.cfg none/x.weights",
        f"none/x.cfg{NO_FOLDER}",
    ),
    Refused(
        "a picture drawn over itself",
        "detect net.cfg net.weights pics/0.png -o pics",
        "pics/0.png: is read by this run, and would be replaced\n"
        "  hint: such a file is never replaced: name another output",
    ),
    Refused(
        "a file in the place of a folder of pictures",
        "detect net.cfg net.weights pics/0.png -o net.names",
        "net.names: cannot make the folder: File exists",
    ),
    Refused(
        "a folder that is no SavedModel",
        f"{CONVERT} -o pics.savedmodel",
        "pics.savedmodel: is there already, and is no SavedModel",
        make_folder("pics.savedmodel"),
    ),
    Accepted(
        "an output that is the input",
        "reclass net.cfg net.weights --keep fox,cat -o net.cfg net.weights --overwrite",
        "wrote net.cfg (213 bytes), net.weights (1.52 kB)\n"
        "next: darkconv convert net.cfg net.weights -o net.onnx\n",
        stdout="kept 2 of 3 classes: fox, cat",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case, folder):
    check(case, folder)


def test_a_model_written_over_itself_is_whole(folder):
    before = dc.load(folder / "net.cfg", folder / "net.weights")
    values = before.arrays["1.biases"].copy()
    check(CASES[-1], folder)
    after = dc.load(folder / "net.cfg", folder / "net.weights")
    assert after.names == ("fox", "cat")
    assert after.arrays["1.biases"].tolist() == [
        *values[:5], values[7], values[5], *values[8:13], values[15], values[13]
    ]  # fmt: skip
