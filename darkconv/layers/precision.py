"""The layers that compute in float32 in a file of half precision or 8 bits.

Inputs and outputs of the graph are float32. Heads also compute in float32, so that boxes and scores
lose no further precision, as do layers whose sums of squares or powers soon exceed float16.
"""

from darkconv.core.network import Network
from darkconv.core.spec import HeadSpec
from darkconv.layers import conv, norm

SINGLE_SPECS = (HeadSpec, norm.Logistic, norm.Normalization, norm.L2norm)
SINGLE_ACTIVATIONS = (
    "normalize_channels",
    "normalize_channels_softmax",
    "normalize_channels_softmax_maxval",
)
"""These sum over channels, two of them powers of e, and e^12 already exceeds float16."""


FIRST, OUT_OF = 3, 20
"""One in 20 of the convolutions, counted from the first, stays in float32, but at most 3.

The first convolutions often subtract large values from each other, and what is lost there is lost
to all layers after them. In one of the measured models, three of 85 convolutions caused half of the
heads' errors, in 16 bits as in 8.
"""


def float_layers(network: Network) -> set[int]:
    """Return the indices of the layers that compute in float32 when the others do not.

    Args:
        network: the network of the file.
    """
    single = {layer.index for layer in network.layers if isinstance(layer.spec, SINGLE_SPECS)}
    weighted = [one.index for one in network.layers if isinstance(one.spec, conv.Convolutional)]
    return single | set(weighted[: min(FIRST, len(weighted) // OUT_OF)])
