"""Every published network of golden/nets, its weights generated once for all backends."""

import gc
import importlib.util
import zlib

import numpy as np
import pytest

import darkconv as dc
from darkconv.surgery.channels import find_classes
from darkconv.surgery.equalising import equalise, find_scale_classes
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.folding import fold_batchnorm
from masking import assert_pruned_equals_masked
from plans import random_keep
from reference.collection import (
    BACKENDS,
    LAYER_TOLERANCE,
    Case,
    assert_small_error,
    relative_error,
    stored_arrays,
)

SMALL_NETWORK = 30e6
"""Parameters up to which three random plans are tried, above one."""
EQUALISED = 1e-5
"""Relative L2 error of an equalised network, beside the same one with its batch norm folded."""


@pytest.fixture(scope="module")
def generator(golden_dir):
    """The collection's own make_weights.py."""
    path = golden_dir / "make_weights.py"
    spec = importlib.util.spec_from_file_location("make_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def net_case(request, generator, tmp_path_factory):
    case = Case(request.param, tmp_path_factory.mktemp("net") / "net.weights")
    generator.write_weights(case.layout, case.weights)
    yield case
    case.weights.unlink()
    gc.collect()  # a Keras model is a ring of references, and one here has up to 1 GB


def test_arrays_are_those_of_c(net_case):
    model, layout = net_case.model, net_case.layout
    assert stored_arrays(model) == net_case.segments()
    assert sum(layer.parameters for layer in model.network.layers) == layout["parameters"]


def test_shapes_are_those_of_c(net_case):
    expected = net_case.expected
    layers = net_case.model.network.layers
    assert [tuple(layer.out_shape) for layer in layers] == [*map(tuple, expected["shapes"])]
    assert [layer.out_shape.is_map for layer in layers] == [n == 3 for n in expected["ndim"]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_layer_has_the_numbers_of_c(net_case, generator, backend):
    picture = generator.input_for(net_case.layout)
    layers = dc.trace(net_case.model, picture, backend=backend)
    errors = {f"layer {i}": sampled_error(net_case, i, v) for i, v in enumerate(layers)}
    errors |= head_errors(net_case, layers)
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= LAYER_TOLERANCE, f"{worst}: {errors[worst]:.2e}"


def sampled_error(case, index, values):
    """Error over the stored samples of a layer, relative to the layer's root mean square."""
    mean, deviation, _, _ = case.expected["stats"][index]
    places = case.expected["sample_index"][index]
    expected = case.expected["sample_value"][index]
    norm = np.hypot(mean, deviation) * np.sqrt(len(places))
    return relative_error(values.ravel()[places], expected, norm)


def head_errors(case, layers):
    errors = {}
    for name, stored in case.expected.items():
        if not name.startswith("head_") or name.endswith("_value"):
            continue
        values = layers[int(name[5:8])]
        if name.endswith("_index"):
            values = values.ravel()[stored]
            stored = case.expected[name.replace("_index", "_value")]
        assert values.shape == stored.shape
        errors[name] = relative_error(values, stored)
    return errors


def test_arrays_come_back_from_torch_bit_for_bit(net_case, tmp_path):
    back = dc.from_torch(dc.to_torch(net_case.model))
    dc.save(back, tmp_path / "net.cfg", tmp_path / "net.weights")
    assert checksum(tmp_path / "net.weights") == checksum(net_case.weights)
    (tmp_path / "net.weights").unlink()


def test_arrays_come_back_from_keras_bit_for_bit(net_case, tmp_path):
    back = dc.from_keras(dc.to_keras(net_case.model))
    dc.save(back, tmp_path / "net.cfg", tmp_path / "net.weights")
    assert checksum(tmp_path / "net.weights") == checksum(net_case.weights)
    (tmp_path / "net.weights").unlink()


def checksum(path):
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value


def test_cfg_is_written_byte_for_byte(net_case, tmp_path):
    model = dc.load(net_case.folder / "net.cfg", dialect=net_case.layout["dialect"])
    dc.save(model, tmp_path / "net.cfg", None)
    written = (tmp_path / "net.cfg").read_bytes()
    assert written == (net_case.folder / "net.cfg").read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_pruned_equals_masked(net_case, generator, tmp_path, pytestconfig, seed):
    model = net_case.model
    is_big = net_case.layout["parameters"] > SMALL_NETWORK
    if is_big and seed and not pytestconfig.getoption("--full"):
        pytest.skip("one plan for big networks: --full tries three")
    keep = random_keep(find_classes(model.network), np.random.default_rng(seed), share=0.6)
    if not keep:
        pytest.skip("every channel is locked")
    pruned = dc.prune(model, dc.PrunePlan(fingerprint(model), keep), compensate=False)
    x = generator.input_for(net_case.layout)[None]
    assert_pruned_equals_masked(model, pruned, keep, x, close=assert_small_error)
    assert_written_files_reload(pruned, tmp_path)


def assert_written_files_reload(model, folder):
    """What is written is read back as it was, and written again to the same bytes."""
    first, second = (
        (folder / "a.cfg", folder / "a.weights"),
        (folder / "b.cfg", folder / "b.weights"),
    )
    dc.save(model, *first)
    loaded = dc.load(*first, dialect=model.network.dialect.name)
    for key, array in model.arrays.items():
        assert np.array_equal(loaded.arrays[key], array), key
    dc.save(loaded, *second)
    for one, other in zip(first, second, strict=True):
        assert checksum(one) == checksum(other)
        one.unlink()
        other.unlink()


def test_equalised_networks_keep_their_outputs(net_case, generator):
    folded = fold_batchnorm(net_case.model)
    if not find_scale_classes(folded.network).is_free.any():
        pytest.skip("no channels of it can be scaled")
    x = generator.input_for(net_case.layout)
    before, after = (dc.trace(one, x) for one in (folded, equalise(folded)))
    for index in folded.network.outputs:
        assert relative_error(after[index], before[index]) <= EQUALISED
