"""The bundled networks: they load, reprint, and are what their names promise."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import darkconv.layers  # noqa: F401  (registers the layer types)
from darkconv.core.network import build_network
from darkconv.darknet.cfg import cfg_bytes, read_cfg
from darkconv.darknet.dialect import choose_dialect

ROOT = Path(__file__).resolve().parents[1]
CFGS = ROOT / "cfgs"

FLOATS = {
    # numbers in the published weights
    "Gaussian_yolov3": 61_646_347,
    "alexnet": 62_378_344,
    "csresnext50-panet-spp": 57_030_845,
    "darknet19": 20_856_776,
    "darknet19_448": 20_856_776,
    "darknet53": 41_645_640,
    "densenet201": 17_206_440,
    "enet-coco": 4_808_270,
    "extraction": 23_455_400,
    "resnet50": 22_825_896,
    "vgg-16": 138_357_544,
    "yolo9000": 48_807_501,
    "yolov1": 197_328_243,
    "yolov1-tiny": 27_099_950,
    "yolov2": 50_983_561,
    "yolov2-tiny": 11_237_145,
    "yolov2-tiny-voc": 15_867_885,
    "yolov2-voc": 50_676_061,
    "yolov3": 62_001_757,
    "yolov3-spp": 63_052_381,
    "yolov3-tiny": 8_858_734,
    "yolov4": 64_429_405,
    "yolov4-csp": 52_986_205,
    "yolov4-tiny": 6_062_814,
    "yolov7": 36_974_557,
    "yolov7-tiny": 6_241_885,
}
ALEXEYAB = {
    *("Gaussian_yolov3", "csresnext50-panet-spp", "enet-coco"),
    *("yolov4", "yolov4-csp", "yolov4-tiny", "yolov7", "yolov7-tiny"),
}
each_network = pytest.mark.parametrize("name", FLOATS)


def cfg_path(name):
    return CFGS / f"{name}.cfg"


def built(name):
    config = read_cfg(cfg_path(name))
    return build_network(config, choose_dialect(config, None))


def test_every_bundled_network_is_known_here():
    assert {path.stem for path in CFGS.glob("*.cfg")} == set(FLOATS)


@each_network
def test_loads_without_a_warning(name, caplog):
    with caplog.at_level(logging.WARNING, logger="darkconv"):
        built(name)
    assert not caplog.messages


@each_network
def test_reprints_byte_for_byte(name):
    assert cfg_bytes(read_cfg(cfg_path(name))) == cfg_path(name).read_bytes()


@each_network
def test_has_as_many_floats_as_the_published_weights(name):
    assert sum(slot.stored_size for _, _, slot in built(name).keyed_slots()) == FLOATS[name]


@each_network
def test_speaks_for_its_dialect(name):
    dialect = choose_dialect(read_cfg(cfg_path(name)), None)
    assert dialect.name == ("alexeyab" if name in ALEXEYAB else "pjreddie")


@each_network
def test_begins_with_what_it_is(name):
    first = cfg_path(name).read_text("ascii").splitlines()[0]
    assert first.startswith("# ")
    assert ": " in first


@each_network
def test_keeps_to_the_bundled_layout(name):
    data = cfg_path(name).read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"\n")
    assert not data.endswith(b"\n\n")
    assert b"\n\n\n" not in data
    options = [line for line in data.decode("ascii").splitlines() if line[:1] not in ("", "#", "[")]
    assert all("=" in line and " " not in line for line in options)


def run_generator(*arguments):
    command = [sys.executable, "tools/make_cfgs.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_generator_would_write_the_same_files():
    result = run_generator("--check")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_generator_names_the_files_that_differ(tmp_path):
    assert run_generator("--folder", tmp_path).returncode == 0
    (tmp_path / "yolov3.cfg").write_text("[net]\n")
    (tmp_path / "yolov4.cfg").unlink()
    result = run_generator("--check", "--folder", tmp_path)
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        f"{tmp_path / 'yolov3.cfg'}: differs",
        f"{tmp_path / 'yolov4.cfg'}: missing",
    ]
