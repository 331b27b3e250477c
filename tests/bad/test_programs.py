"""No program is ever started by what a file holds: pictures that are programs are refused."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bad.catalogue import run
from darkconv.cli import COMMANDS
from darkconv.errors import DatasetError
from darkconv.pictures.image_file import FORMATS
from darkconv.pictures.picture import read_picture

image_module = pytest.importorskip("PIL.Image")

EPS = Path(__file__).parents[1] / "data/cases/pictures/cute.jpg"
NO_PICTURE = "is not a picture in a known format"
OPENERS = {
    "detect": "detect net.cfg net.weights pics/cute.jpg",
    "detect -o": "detect net.cfg net.weights pics -o drawn",
    "eval": "eval net.cfg net.weights --data all.txt --report r.html",
    "profile": "profile net.cfg net.weights pics -o p.npz --report p.html",
    "dissect": "dissect net.cfg net.weights --keep cat --all-pictures --images pics"
    " -o x.cfg x.weights",
    "prune": "prune net.cfg net.weights --images pics --ratio 0.5 -o x.cfg x.weights",
    "prune --reconstruct": "prune net.cfg net.weights --score l1 --ratio 0.5 --reconstruct pics"
    " -o x.cfg x.weights",
    "finetune": "finetune net.cfg net.weights --data pics --data-names net.names --steps 1"
    " --workers 0 -o x.cfg x.weights",
    "data": "data check pics --data-names net.names -o sheet.png",
    "anchors": "anchors --data all.txt -n 2",
    "verify": "verify net.cfg net.weights --image pics/cute.jpg",
    "convert --int8": "convert net.cfg net.weights -o x.onnx --int8 --calibrate pics",
    "convert --fp16": "convert net.cfg net.weights -o x.onnx --fp16 --data all.txt",
}
"""A line for every command, and every option, that opens pictures."""
OPEN_NONE = {
    "info", "convert", "fetch", "reclass", "graft", "weights", "completion", "demo", "serve",
}  # fmt: skip
"""Commands that open no pictures, or none but those of options above or of the package."""


def eps(folder):
    """Put the EPS file among the pictures, with a label, and first."""
    shutil.copy(EPS, folder / "pics/cute.jpg")
    (folder / "pics/cute.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    listed = (folder / "valid.txt").read_text()
    (folder / "all.txt").write_text("pics/cute.jpg\n" + listed)


def contents(kind):
    """A file of one of Pillow's formats, or only its first bytes where Pillow writes none."""
    buffer = io.BytesIO()
    levels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    picture = image_module.fromarray(levels)
    for mode in ("RGB", "L", "1", "P"):
        try:
            picture.convert(mode).save(buffer, kind)
            return buffer.getvalue()
        except (KeyError, OSError, ValueError):
            buffer.seek(0)
    return MAGIC[kind] + bytes(200)


MAGIC = {
    "BUFR": b"BUFR",
    "CUR": b"\0\0\2\0\1\0",
    "DCX": b"\xb1\x68\xde\x3a",
    "FITS": b"SIMPLE",
    "FLI": b"\0\0\0\0\x11\xaf",
    "FTEX": b"FTEX",
    "GBR": b"\0\0\0\x20\0\0\0\2",
    "GRIB": b"GRIB\0\0\0\1",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "IMT": b"\n*\n",
    "IPTC": b"\x1c\x02\x01\0\0",
    "MCIDAS": b"\0\0\0\0\0\0\0\4",
    "MPEG": b"\0\0\1\xb3",
    "PCD": b"PCD_",
    "PIXAR": b"\x80\xe8\0\0",
    "PSD": b"8BPS\0\1",
    "QOI": b"qoif",
    "SUN": b"\x59\xa6\x6a\x95",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0",
    "XPM": b"/* XPM */",
    "XVTHUMB": b"P7 332",
}
"""The first bytes of formats that Pillow opens and does not write."""


def all_kinds():
    image_module.init()
    return sorted(image_module.OPEN)


@pytest.mark.filterwarnings("ignore:.* image format is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", all_kinds())
def test_a_file_is_opened_by_its_content_where_its_format_is_on_the_list(kind, tmp_path):
    path = tmp_path / "cute.jpg"
    path.write_bytes(contents(kind))
    if kind in FORMATS:
        assert read_picture(path, exact=False).shape == (8, 8, 3)
        return
    with pytest.raises(DatasetError, match=r"cute\.jpg: "):
        read_picture(path)


def test_a_suffix_of_postscript_changes_nothing(tmp_path):
    shutil.copy(EPS, tmp_path / "a.eps")
    with pytest.raises(DatasetError, match=NO_PICTURE):
        read_picture(tmp_path / "a.eps")


def test_every_command_is_known_to_open_pictures_or_to_open_none():
    assert {line.split()[0] for line in OPENERS} | OPEN_NONE == set(COMMANDS)


@pytest.mark.parametrize("command", OPENERS)
def test_a_program_called_a_picture_is_refused_and_starts_nothing(command, folder):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    eps(folder)
    outcome = run(OPENERS[command].split(), folder)
    assert outcome.programs == []
    assert "Traceback" not in outcome.stderr
    assert NO_PICTURE in outcome.stderr + outcome.stdout


def test_what_watches_for_programs_sees_the_one_that_pillow_would_start():
    code = (
        "import sys; from bad.catalogue import watched_programs; from PIL import Image\n"
        "programs = watched_programs()\n"
        f"try: Image.open({os.fspath(EPS)!r}).load()\n"
        "except OSError: pass\n"
        "print(programs)"
    )
    environment = {**os.environ, "PYTHONPATH": os.fspath(EPS.parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "gs" in done.stdout
