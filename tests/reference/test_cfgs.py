"""The bundled networks against the published cfgs in golden/nets."""

from pathlib import Path

import pytest

import darkconv.layers  # noqa: F401  (registers the layer types)
from darkconv.core.dialect import DIALECTS
from darkconv.core.network import build_network
from darkconv.core.options import Notes, option_table
from darkconv.darknet.cfg import read_cfg

CFGS = Path(__file__).resolve().parents[2] / "cfgs"
OTHER_NAMES = {
    "csresnext50-panet-spp": "csresnext50-panet-spp-original-optimal",
    "yolov2-tiny-voc": "tiny-yolo-voc",
}
REFERENCES = {"layers", "from"}  # a layer may be named by its number or counted backwards


@pytest.fixture(params=sorted(CFGS.glob("*.cfg")), ids=lambda path: path.stem)
def pair(request, golden_dir):
    """The bundled network and the published one, read in the same dialect."""
    name = OTHER_NAMES.get(request.param.stem, request.param.stem)
    for dialect in DIALECTS.values():
        published = golden_dir / "nets" / f"{dialect}-{name}" / "net.cfg"
        if published.exists():
            paths = (request.param, published)
            return tuple(build_network(read_cfg(p), dialect, notes=Notes()) for p in paths)
    pytest.skip(f"no golden network {name}")


def test_input_is_the_published_one(pair):
    bundled, published = pair
    assert bundled.input_shape == published.input_shape
    assert bundled.options.letterboxes == published.options.letterboxes


@pytest.mark.parametrize("facet", ["type", "sources", "out_shape", "slots"])
def test_layers_are_the_published_ones(pair, facet):
    bundled, published = ([getattr(layer, facet) for layer in net.layers] for net in pair)
    assert bundled == published


def test_options_that_act_at_inference_are_the_published_ones(pair):
    bundled, published = ([inference_options(layer.spec) for layer in net.layers] for net in pair)
    assert bundled == published


def inference_options(spec):
    return {
        key: getattr(spec, name)
        for key, (name, _, info) in option_table(type(spec)).items()
        if not info.training and key not in REFERENCES
    }
