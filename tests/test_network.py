"""Networks: sources, shapes, what is refused, other input sizes."""

import pytest

from darkconv.darknet.cfg import format_cfg
from darkconv.errors import CfgError, GraphError
from networks import initial_model, network

CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nactivation=linear\n"
HEAD = "[yolo]\nclasses=2\nanchors=1,1\n"


def refused(body, shape=(3, 8, 8), dialect="alexeyab"):
    with pytest.raises(GraphError) as caught:
        network(body, shape, dialect)
    return str(caught.value)


def test_sources_are_absolute():
    net = network(CONV.format(n=2) * 3 + "[route]\nlayers=-1,0\n[shortcut]\nfrom=-4\n")
    assert [layer.sources for layer in net.layers] == [(-1,), (0,), (1,), (2, 0), (3, 0)]
    assert net.consumers[0] == (1, 3, 4)


def test_outputs_are_the_heads():
    body = CONV.format(n=7) + HEAD + "[route]\nlayers=0\n" + CONV.format(n=7) + HEAD
    assert network(body).outputs == (1, 4)


def test_without_a_head_the_output_is_the_last_layer_that_is_no_loss():
    assert network(CONV.format(n=7) + "[dropout]\n[cost]\n").outputs == (1,)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "[route]\nlayers=-1\n",
            "test.cfg:6: layer 0 [route]: cannot be the first layer",
        ),
        (
            "[maxpool]\n[route]\nlayers=1\n",
            "test.cfg:8: layer 1 [route] layers: expected an earlier layer, 0 to 0 or -1 to -1, "
            "found 1",
        ),
        (
            "[maxpool]\n[shortcut]\nfrom=-5\n",
            "test.cfg:8: layer 1 [shortcut] from: expected an earlier layer, 0 to 0 or -1 to -1, "
            "found -5",
        ),
        (
            CONV.format(n=21) + HEAD,
            "test.cfg:12: layer 1 [yolo] classes: expected 7 input channels, 1 anchors x "
            "(5 + 2 classes), found 21\n"
            "  hint: filters=7 in the layer before, or classes=16 here",
        ),
        (
            "[convolutional]\nfilters=3\ngroups=2\n",
            "test.cfg:8: layer 0 [convolutional] groups: expected a divisor of 3 filters, found 2",
        ),
        (
            "[softmax]\n[convolutional]\n",
            "test.cfg:7: layer 1 [convolutional]: expected a map of rows and columns as input, "
            "found the plain vector of layer 0 [softmax]",
        ),
        (
            "[convolutional]\nsize=9\n",
            "test.cfg:6: layer 0 [convolutional]: nothing is left of the map: "
            "found 1x0x0 from an input of 3x8x8\n"
            "  hint: the network input is too small for this cfg",
        ),
    ],
    ids=["route input", "route forward", "shortcut", "head", "groups", "flat", "small"],
)
def test_what_does_not_fit_is_named_with_its_place(body, text):
    assert refused(body) == text


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_shortcut_of_another_size_is_sampled(dialect):
    body = "[convolutional]\n[maxpool]\nstride=2\n[shortcut]\nfrom=0\n"
    assert network(body, dialect=dialect).shapes[2] == (1, 4, 4)


def test_unknown_weighting_of_a_shortcut_is_refused():
    from darkconv.errors import OptionError

    with pytest.raises(OptionError, match="expected relu or softmax with weights_type"):
        network("[maxpool]\n[shortcut]\nfrom=0\nweights_type=per_feature\n")


def test_dilation_without_matching_padding_is_refused():
    assert "its result is undefined" in refused("[convolutional]\nsize=3\ndilation=2\n")


def test_share_index_of_a_borrower_needs_the_shapes_of_the_owner():
    same = CONV.format(n=3) + CONV.format(n=3) + "share_index=-1\n"
    with pytest.raises(GraphError, match="arrays of the same shapes"):
        network(same + CONV.format(n=4) + "share_index=-1\n", (3, 8, 8))
    assert network(same + CONV.format(n=3) + "share_index=-1\n", (3, 8, 8)).layers[2].shared == 0


def test_share_index_needs_the_same_shapes():
    body = CONV.format(n=3) + CONV.format(n=4) + "share_index=-1\n"
    assert "expected a layer with arrays of the same shapes" in refused(body)
    assert network(body.replace("=4", "=3")).layers[1].shared == 0


def test_net_without_a_size_is_refused():
    from darkconv.core.dialect import ALEXEYAB
    from darkconv.core.network import build_network
    from darkconv.darknet.cfg import parse_cfg

    with pytest.raises(CfgError, match="the input has no size: expected height, width and"):
        build_network(parse_cfg("[net]\nwidth=4\n[dropout]\n"), ALEXEYAB)


def test_input_size_is_as_if_the_cfg_said_so():
    net = network(CONV.format(n=2)).with_input_size(16, 12)
    assert net.input_shape == (3, 12, 16)
    assert net.shapes == ((2, 12, 16),)
    assert "width=16\nheight=12\n" in format_cfg(net.config)


def test_input_size_that_changes_an_array_is_refused():
    net = network("[connected]\noutput=2\n")
    assert net.with_input_size(8, 8) is net
    with pytest.raises(GraphError, match="input size 16x8 does not fit: 0.weights would change"):
        net.with_input_size(16, 8)


def test_vector_networks_have_no_input_size():
    from darkconv.core.dialect import ALEXEYAB
    from darkconv.core.network import build_network
    from darkconv.darknet.cfg import parse_cfg

    net = build_network(parse_cfg("[net]\ninputs=5\n[connected]\n"), ALEXEYAB)
    assert net.input_shape == (5, 1, 1)
    with pytest.raises(GraphError, match="no picture as input"):
        net.with_input_size(4, 4)


def test_costs_are_counted():
    (layer,) = network("[convolutional]\nfilters=4\nsize=3\npad=1\nbatch_normalize=1\n").layers
    assert layer.parameters == 4 * 4 + 4 * 3 * 9
    assert layer.macs == 4 * 8 * 8 * 3 * 9


def test_initial_arrays_are_darknets_and_always_the_same():
    net = network("[convolutional]\nfilters=64\nsize=3\nbatch_normalize=1\n")
    first, second = (initial_model(net).arrays for _ in range(2))
    assert (first["0.scales"] == 1).all()
    assert (first["0.rolling_variance"] == 0).all()
    assert (first["0.weights"] == second["0.weights"]).all()
    spread = (2 / 27) ** 0.5  # alexeyab: uniform in +- sqrt(2 / fan_in)
    assert abs(first["0.weights"]).max() <= spread
    assert first["0.weights"].std() == pytest.approx(spread / 3**0.5, rel=0.05)


def test_layers_have_one_label_and_networks_say_whether_they_find_boxes():
    detector = network(CONV.format(n=7) + HEAD)
    assert [layer.label for layer in detector.layers] == ["000_convolutional", "001_yolo"]
    assert detector.finds_boxes
    assert [head.index for head in detector.box_heads] == [1]
    assert not network(CONV.format(n=7) + "[avgpool]\n[softmax]\n").finds_boxes
