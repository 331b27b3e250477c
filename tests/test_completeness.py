"""What each spoke builds, and what it refuses with a reason."""

from importlib import import_module

import pytest

from darkconv import layers as _layers  # noqa: F401
from darkconv.backends import spoke
from darkconv.core.spec import LAYER_TYPES, LayerSpec
from darkconv.detection.decode import DECODERS
from darkconv.layers.activation import ACTIVATIONS

REFUSED = {
    "torch": {},
    "onnx": {},
    "keras": {},
}
ACTIVATION_TABLES = {"torch": ["FUNCTIONS"], "onnx": ["FORMULAS"], "keras": ["STOCK", "FORMULAS"]}
LIBRARIES = {"torch": "torch", "onnx": "onnx_ir", "keras": "tensorflow"}


def module(backend, name):
    """A module of a spoke, the spoke itself having been imported."""
    pytest.importorskip(LIBRARIES[backend])
    spoke(backend)
    return import_module(f"darkconv.backends.{backend}.{name}")


def builders(backend):
    return module(backend, "registry").BUILDERS


@pytest.mark.parametrize("section", sorted(LAYER_TYPES))
@pytest.mark.parametrize("backend", sorted(REFUSED))
def test_every_section_is_built_or_refused_with_a_reason(backend, section):
    spec = LAYER_TYPES[section]
    is_built = spec in builders(backend).functions
    assert is_built == (spec.type not in REFUSED[backend])


@pytest.mark.parametrize("section", sorted(LAYER_TYPES))
def test_keras_finds_the_arrays_of_every_section_that_has_some(section):
    spec = LAYER_TYPES[section]
    assert (spec in module("keras", "registry").PLACES.functions) == (spec.slots != LayerSpec.slots)


@pytest.mark.parametrize("backend", sorted(REFUSED))
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "linear"])
def test_every_activation_has_a_formula_in_each_spoke(backend, name):
    formulas = module(backend, "activation")
    assert any(name in getattr(formulas, table) for table in ACTIVATION_TABLES[backend])


@pytest.mark.parametrize("backend", ["onnx", "keras"])
def test_every_head_that_finds_boxes_is_decoded_in_the_graph(backend):
    assert set(module(backend, "boxes").DECODERS.functions) == set(DECODERS.functions)


def test_every_loss_is_one_of_keras_too():
    pytest.importorskip("torch")
    from darkconv.backends.torch.losses import LOSSES

    assert set(module("keras", "losses").LOSSES) == set(LOSSES)


def test_registering_twice_is_an_error():
    from darkconv.core.spec import layer
    from darkconv.layers.inert import Dropout

    with pytest.raises(ValueError, match=r"\[dropout\] is registered twice"):
        layer("dropout")(Dropout)
    with pytest.raises(ValueError, match="Dropout is registered twice for torch"):
        builders("torch").register(Dropout)(print)
