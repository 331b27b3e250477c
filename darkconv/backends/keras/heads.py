"""The outputs of a Keras model, by kind of head."""

from collections.abc import Sequence

import keras

from darkconv.backends.keras.arrays import as_array
from darkconv.backends.keras.boxes import decoded
from darkconv.backends.keras.network import NetworkGraph, Outputs
from darkconv.backends.keras.scope import Scope, Tensor
from darkconv.core.model import Array, Header, InitialArrays, Model
from darkconv.core.network import Network
from darkconv.errors import DarkconvError
from darkconv.layers.box_heads import box_heads, box_outputs
from darkconv.layers.norm import Softmax

HEADS = ("raw", "boxes", "logits")


def build_outputs(built: NetworkGraph, kind: str) -> Outputs:
    """Build the layers that a kind of head needs, and return the outputs of the model.

    Args:
        built: graph of the network, which is extended.
        kind: "raw", "boxes" or "logits": see `to_keras`.

    Raises:
        DarkconvError: the kind is another word, or the network has no such head.
        UnsupportedError: a layer or head cannot be expressed in Keras.
    """
    if kind not in HEADS:
        raise DarkconvError("head", expected=", ".join(HEADS), found=kind)
    network = built.model.network
    if kind == "logits":
        return _head_inputs(built)
    if kind == "boxes" and box_heads(network):
        return _boxes(built)
    if kind == "boxes":
        _check_classifier(network)
    built.build(network.outputs)
    return _plain([built.values[index] for index in network.outputs])


def _boxes(built: NetworkGraph) -> dict[str, Tensor]:
    """Return the boxes and scores of all heads, one head after the other: see `box_outputs`."""
    heads = box_heads(built.model.network)
    built.build([layer.index for layer in heads])
    found = [
        decoded(built.scopes[layer.index].section("boxes"), built.values[layer.index])
        for layer in heads
    ]
    scope = Scope(built.graph, "heads")
    return {
        name: Scope(built.graph, name).finish(scope.concat([one[name] for one in found], 1))
        for name in box_outputs(built.model.network)
    }


def _head_inputs(built: NetworkGraph) -> Outputs:
    """Return the input of each head before any activation, named as in `016_yolo_logits`."""
    heads = built.model.network.heads
    if not heads:
        raise DarkconvError(f"{built.model.network.file}: has no head that could be trained")
    sources = [layer.sources[0] for layer in heads]
    built.build(sources)
    return _plain(
        [
            Scope(built.graph, layer.label).finish(built.values[source], "logits")
            for layer, source in zip(heads, sources, strict=True)
        ]
    )


class HeadsAlone:
    """The heads of a network alone, computed in float32 from their inputs.

    Args:
        network: network with heads.

    Attributes:
        outputs: names of the outputs, as of a model with raw heads.
    """

    def __init__(self, network: Network) -> None:
        self.outputs = [layer.label for layer in network.heads]
        empty = Model(network, InitialArrays(network), Header.new(network.dialect))
        built = NetworkGraph(empty)
        sources = [layer.sources[0] for layer in network.heads]
        inputs = {index: built.give(index) for index in sources}
        built.build([layer.index for layer in network.heads])
        values = {layer.label: built.values[layer.index] for layer in network.heads}
        self._places = [sources.index(index) for index in inputs]
        self._kmodel = keras.Model(list(inputs.values()), values)

    def __call__(self, logits: Sequence[Array]) -> list[Array]:
        """Return the values of the heads.

        Args:
            logits: input of each head, (N, H, W, C) or (N, values).
        """
        found = self._kmodel([logits[place] for place in self._places], training=False)
        return [as_array(found[name]) for name in self.outputs]


def _check_classifier(network: Network) -> None:
    heads = network.heads
    if len(heads) != 1 or not isinstance(heads[0].spec, Softmax):
        raise DarkconvError(
            f"{network.file}: predicts no boxes, which head=boxes is about",
            expected="a [yolo], [Gaussian_yolo], [region] or [detection] layer",
            found=", ".join(f"[{layer.type}]" for layer in heads) or "no head",
            hint="its outputs as they are: head=raw",
        )


def _plain(values: list[Tensor]) -> Tensor | list[Tensor]:
    """Return one value by itself, and several as a list."""
    return values[0] if len(values) == 1 else values
