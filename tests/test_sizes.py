"""Rows and columns that do not fit: who is named, and which sizes would do."""

import logging
from pathlib import Path

import pytest

import darkconv as dc
from darkconv.core.sizes import SizeError, fitting_sizes
from darkconv.errors import GraphError
from networks import network, random_model

CFGS = Path(__file__).parents[1] / "cfgs"
CASES = Path(__file__).parent / "data" / "cases" / "cfg"
CONV = "[convolutional]\nfilters=4\nsize=3\npad=1\n"
HALF = CONV + "stride=2\n"
UP = "[upsample]\nstride=2\n"


def refused(body, width, height, dialect="alexeyab"):
    with pytest.raises(SizeError) as caught:
        network(body, (3, height, width), dialect)
    return str(caught.value)


def test_route_is_named_with_its_maps_and_the_sizes_that_do():
    with pytest.raises(GraphError) as caught:
        dc.load(CFGS / "yolov3.cfg", input_size=(408, 320))
    text = str(caught.value).removeprefix(f"{CFGS}/")
    assert text == (
        "yolov3.cfg:702: layer 98 [route]: joins maps of 52 and 51 columns (layers 97 and 36) as a "
        "plain vector, but layer 99 [convolutional] needs a map of rows and columns\n"
        "  hint: width must be a multiple of 32: 384 or 416"
    )
    for width in (384, 416):
        assert dc.load(CFGS / "yolov3.cfg", input_size=(width, 320)).network.input_shape.w == width


@pytest.mark.parametrize(
    ("width", "height", "maps", "hint"),
    [
        (12, 16, "4 and 3 columns", "width must be a multiple of 8: 8 or 16"),
        (16, 20, "6 and 5 rows", "height must be a multiple of 8: 16 or 24"),
        (12, 20, "4x6 and 3x5", "width must be a multiple of 8: 8 or 16, height must be a multiple "
                                "of 8: 16 or 24"),
        (4, 16, "2 and 1 columns", "width must be a multiple of 8: 8 or 16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("between", ["", "[dropout]\n", "[dropout]\n[activation]\n"])
def test_route_is_named_whatever_stands_between(width, height, maps, hint, between):
    body = HALF * 3 + UP + "[route]\nlayers=-1,1\n" + between + CONV
    number = 5 + between.count("[")
    text = refused(body, width, height)
    assert f"layer 4 [route]: joins maps of {maps} (layers 3 and 1)" in text
    assert f"but layer {number} [convolutional] needs" in text
    assert text.endswith(f"hint: {hint}")


@pytest.mark.parametrize("reader", ["[maxpool]\n", "[avgpool]\n", "[upsample]\n", "[reorg3d]\n",
                                    "[batchnorm]\n", "[local]\n", "[crop]\n", "[yolo]\n",
                                    "[region]\n", "[crnn]\n", "[scale_channels]\nfrom=0\n",
                                    "[shortcut]\nfrom=0\n", "[sam]\nfrom=0\n"])  # fmt: skip
def test_every_reader_of_maps_blames_the_route(reader):
    body = HALF * 3 + UP + "[route]\nlayers=-1,1\n" + reader
    assert "layer 4 [route]: joins maps of 4 and 3 columns" in refused(body, 12, 16)


def test_vector_that_is_meant_is_not_blamed_on_sizes():
    with pytest.raises(GraphError, match=r"the plain vector of layer 2 \[softmax\]") as caught:
        network(HALF + HALF + "[softmax]\n" + CONV, (3, 12, 12))
    assert not isinstance(caught.value, SizeError)


def test_vectors_of_unlike_maps_are_joined_where_they_may_be():
    body = HALF * 3 + UP + "[route]\nlayers=-1,1\n[connected]\noutput=2\n"
    assert network(body, (3, 16, 12)).shapes[4] == (4 * 4 * 7, 1, 1)


def test_product_of_unlike_maps_is_named():
    text = refused(HALF * 3 + UP + "[sam]\nfrom=1\n", 12, 16)
    assert "[sam] from: multiplies maps of 4 and 3 columns (layers 3 and 1), which have" in text
    assert text.endswith("hint: width must be a multiple of 8: 8 or 16")


def test_sum_of_maps_whose_ratios_differ_is_named():
    body = HALF * 3 + "[upsample]\nstride=4\n[shortcut]\nfrom=0\n"
    text = refused(body, 12, 4, "pjreddie")
    assert "[shortcut] from: adds maps of 8x4 and 6x2 (layers 3 and 0), which have to be" in text
    assert text.endswith(
        "hint: width must be a multiple of 8: 8 or 16, height must be a multiple of 8: 8 or 16"
    )


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_sum_of_maps_that_part_in_one_direction_is_named(dialect):
    text = refused(HALF * 3 + UP + "[shortcut]\nfrom=1\n", 12, 16, dialect)
    assert "[shortcut] from: adds maps of 4 and 3 columns (layers 3 and 1), which have" in text
    assert text.endswith("hint: width must be a multiple of 8: 8 or 16")


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_sum_that_cuts_a_map_is_told_with_the_sizes_that_do(dialect, caplog):
    with caplog.at_level(logging.WARNING, "darkconv"):
        network(HALF * 3 + UP + "[shortcut]\nfrom=1\n", (3, 20, 12), dialect)
    (record,) = caplog.records
    text = record.getMessage()
    assert "layer 4 [shortcut] from: adds a map of 3x5 to one of 4x6: its first rows" in text
    assert text.endswith(
        "; width must be a multiple of 8: 8 or 16, height must be a multiple of 8: 16 or 24"
    )


def test_reorganisation_of_an_odd_map_has_its_sizes():
    text = refused(HALF + "[maxpool]\nsize=2\nstride=1\n[reorg]\nstride=2\n", 18, 16)
    assert "[reorg] stride: expected a width that 2 divides, found 9" in text
    assert text.endswith("hint: width must be a multiple of 4: 16 or 20")


def test_no_size_is_named_where_none_does():
    assert fitting_sizes((12, 16), lambda *_: False) == ""


def test_cfg_whose_own_size_does_not_do_is_built_at_another(tmp_path):
    """It is as if the cfg said so, to the end."""
    file = CASES / "input-size-first-built-at-cfg-size.cfg"
    with pytest.raises(GraphError, match="must be a multiple of 64: 64 or 128"):
        dc.load(file)
    model = random_model(dc.load(file, input_size=(64, 128)).network)
    assert model.network.shapes[-1] == (4, 4, 2)
    expected = file.read_text().replace("width=32\nheight=32", "width=64\nheight=128")
    dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights")
    assert (tmp_path / "net.cfg").read_text() == expected
    pruned = dc.prune(model, dc.plan(model, score="l1", keep=0.5, min_keep=0.1, multiple=1))
    assert pruned.network.input_shape == (3, 128, 64)


def test_size_of_a_cfg_without_one(tmp_path):
    (tmp_path / "net.cfg").write_text("[net]\nchannels=3\n" + CONV)
    assert dc.load(tmp_path / "net.cfg", input_size=(8, 4)).network.input_shape == (3, 4, 8)
    (tmp_path / "net.cfg").write_text("[net]\ninputs=12\n[connected]\n")
    with pytest.raises(GraphError, match="has no picture as input"):
        dc.load(tmp_path / "net.cfg", input_size=(8, 4))


def test_warnings_are_those_of_the_size_that_is_used(tmp_path, caplog):
    (tmp_path / "net.cfg").write_text(
        "[net]\nwidth=16\nheight=16\nchannels=3\n" + HALF * 3 + UP + "[shortcut]\nfrom=1\n"
    )
    with caplog.at_level(logging.WARNING, "darkconv"):
        dc.load(tmp_path / "net.cfg", input_size=(12, 20), dialect="pjreddie")
        assert "adds a map of 3x5" in caplog.text
        caplog.clear()
        dc.load(tmp_path / "net.cfg", input_size=(16, 16), dialect="pjreddie")
    assert not caplog.text
