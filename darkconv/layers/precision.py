"""float_layers: what computes in float32 where a file is in half precision or in 8 bits.

Inputs and outputs of the graph are float32. Heads too compute in float32, so that boxes and
scores lose nothing more, and so do layers whose sums of squares or powers soon leave float16.
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
"""Sums over channels, of powers of e in two of them: e^12 leaves float16."""


FIRST, OUT_OF = 3, 20
"""Of the first convolutions one in so many stays in float32, and at most so many do: they often
subtract large values from each other, and what is lost there is lost to all that follow. In one of
the measured models three of 85 made half of the heads' errors in 16 bits as in 8."""


def float_layers(network: Network) -> set[int]:
    """Layers that compute in float32 where the others do not."""
    single = {layer.index for layer in network.layers if isinstance(layer.spec, SINGLE_SPECS)}
    weighted = [one.index for one in network.layers if isinstance(one.spec, conv.Convolutional)]
    return single | set(weighted[: min(FIRST, len(weighted) // OUT_OF)])
