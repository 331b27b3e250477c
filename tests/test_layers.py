"""What the hub says of layers: ties hold what really depends on what."""

import numpy as np
import pytest

import darkconv as dc
from cases.families import CASES
from darkconv.core.options import option_table
from darkconv.core.spec import LAYER_TYPES
from networks import network, random_model

REORGS = ("reorg", "reorg3d")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ties_hold_the_true_dependencies(case):
    """Output i is bound to input j if a change of channel j is seen in channel i.

    And only then, except where whole blocks of channels belong together.
    """
    pytest.importorskip("torch")
    net = network(case.body, case.shape, case.dialect)
    layer = net.layers[-1]
    ties = layer.spec.ties(layer.in_shapes)
    assert ties.shape[0] == layer.out_shape.c
    expected = np.zeros((layer.out_shape.c, sum(s.c for s in layer.in_shapes)), bool)
    for output, bound in enumerate(ties):
        expected[output, bound[bound >= 0]] = True
    expected[:, : case.gates] = True
    found = dependencies(net)
    if layer.spec.locks_inputs(layer.in_shapes) and case.blocks:
        assert (found & ~expected).any(), "locked without need"
    elif case.blocks:
        assert not (found & ~expected).any()
    else:
        np.testing.assert_array_equal(found, expected)


def dependencies(net):
    """(out_channels, in_channels): whether an output channel moves with an input channel."""
    import torch

    from darkconv.backends import to_torch

    layer = net.layers[-1]
    module = to_torch(random_model(net)).layers[-1]
    stream = np.random.default_rng(1)
    inputs = [torch.from_numpy(stream.random((1, *s), np.float32)) for s in layer.in_shapes]
    with torch.no_grad():
        before = module(*inputs)
        columns = []
        for place, shape in enumerate(layer.in_shapes):
            for channel in range(shape.c):
                changed = [x.clone() for x in inputs]
                changed[place][:, channel] += 3 * torch.rand(shape[1:]) + 1
                moved = (module(*changed) != before).reshape(layer.out_shape.c, -1)
                columns.append(moved.any(1).numpy())
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_runs_in_torch_and_onnx_alike(case):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    model = random_model(network(case.body, case.shape, case.dialect))
    x = np.random.default_rng(0).random((2, *case.shape), np.float32)
    for a, b in zip(dc.trace(model, x), dc.trace(model, x, backend="onnx"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(LAYER_TYPES))
def test_every_option_has_a_default(name):
    spec = LAYER_TYPES[name]
    for key, (field, _, info) in option_table(spec).items():
        assert info.default is not None or key in ("share_index", "embedding_layer"), field


def test_reorg_binds_blocks_of_channels_and_space_to_depth_does_not():
    """Four neighbours are one large plane to [reorg], whatever the size of the map."""
    layers = [network(f"[{kind}]\nstride=2\n", (64, 26, 26)).layers[0] for kind in REORGS]
    reorg, true = (layer.spec.ties(layer.in_shapes) for layer in layers)
    assert reorg.shape == (256, 4)
    assert reorg[:5].tolist() == [[0, 1, 2, 3]] * 4 + [[4, 5, 6, 7]]
    assert (true[:, 0] == np.arange(256) % 64).all()
