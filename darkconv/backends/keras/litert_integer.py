"""LiteRT graphs in integers from the input to the outputs, for devices that compute with no floats.

They take one picture of a fixed size as 8-bit levels, and consist of operators that the Edge TPU,
the GPU delegate and TFLite Micro support. The ranges of values are calibrated here, on pictures,
and TensorFlow's converter quantizes the graph with them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from darkconv.backends.keras.heads import build_outputs
from darkconv.backends.keras.litert_buffer import (
    for_one_picture,
    format_graph,
    operators,
    operators_of,
    parse_graph,
)
from darkconv.backends.keras.litert_graph import (
    channels_last,
    check_stateless,
    converted,
    told_failures,
)
from darkconv.backends.keras.litert_running import LitertRunner, make_interpreter
from darkconv.backends.keras.network import NetworkGraph
from darkconv.backends.keras.running import named_outputs
from darkconv.backends.keras.scope import WHOLE_NUMBERS
from darkconv.backends.quiet import quiet
from darkconv.backends.ranges import PERCENTILE, RANGES, TRIED, Observed, Range, mean_error
from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.core.spreading import evenly_spread
from darkconv.errors import UnsupportedError
from darkconv.surgery.equalising import equalise
from darkconv.surgery.folding import fold_batchnorm

JUDGES = 16
"""Largest number of inputs on which quantized graphs are compared."""
PICTURE = (0.0, 1.0)
"""Range of a picture's values, so that its 8-bit levels are those of the picture file."""


@dataclass
class Candidate:
    """A float32 graph of a model, and the observed values of its tensors.

    Attributes:
        model: model that it computes; the models of all candidates give the same outputs.
        graph: bytes of the LiteRT graph.
        names: names of its outputs, in order.
        seen: observed values of each tensor that an operator writes, by the tensor's index.
        is_picture: True if the input is a picture, False if it is a vector.
    """

    model: Model
    graph: bytes
    names: list[str]
    seen: dict[int, Observed]
    is_picture: bool

    @classmethod
    def of(cls, model: Model, head: str) -> "Candidate":
        """Build the graph of a model.

        Args:
            model: model whose graph it is.
            head: "raw" or "logits".

        Raises:
            UnsupportedError: a layer cannot be expressed in LiteRT, or is recurrent.
        """
        built = NetworkGraph(model, WHOLE_NUMBERS)
        outputs = named_outputs(build_outputs(built, head))
        check_stateless(built)
        graph = converted(built.finish(outputs), "float32", (), model.network)
        seen = {place: Observed() for one in operators(graph) for place in one.gives}
        shape = model.network.input_shape
        return cls(model, graph, list(outputs), seen, shape.is_map)

    def observe(self, inputs: Iterable[Array]) -> None:
        """Run the graph, and record the values of its tensors.

        Args:
            inputs: calibration inputs, (C, H, W) or (values,) each.
        """
        interpreter = make_interpreter(self.graph, keeps_values=True)
        (given,) = interpreter.get_input_details()
        own = self.seen.setdefault(given["index"], Observed())
        for x in inputs:
            interpreter.set_tensor(given["index"], channels_last(x[None]))
            interpreter.invoke()
            for place, observed in self.seen.items():
                if observed is not own:
                    observed.add(channels_first(interpreter.get_tensor(place)))
            own.add(x[None])

    def quantized(self, method: str) -> bytes:
        """Return the bytes of the integer graph, with ranges chosen by a method.

        Args:
            method: one of `darkconv.backends.ranges.RANGES`.

        Raises:
            UnsupportedError: the converter cannot quantize an operator.
        """
        from tensorflow.lite.python import schema_py_generated as schema
        from tensorflow.lite.python.convert import mlir_quantize

        model = parse_graph(self.graph)
        main = model.subgraphs[0]
        ranges: dict[int, Range] = {p: RANGES[method](seen) for p, seen in self.seen.items()}
        if self.is_picture:
            ranges[main.inputs[0]] = PICTURE
        for place, (low, high) in ranges.items():
            known = main.tensors[place].quantization or schema.QuantizationParametersT()
            known.min, known.max = [low], [high]
            main.tensors[place].quantization = known
        with told_failures(self.model.network), quiet():
            graph: bytes = mlir_quantize(format_graph(model), fully_quantize=True)
        check_integer(graph, self.model.network)
        return for_one_picture(graph)

    def results(self, graph: bytes, inputs: Sequence[Array], *, lacks_heads: bool) -> list[Any]:
        """Return the outputs of a graph for each of some inputs.

        Args:
            graph: bytes of the float32 or of an integer graph.
            inputs: (C, H, W) or (values,) each.
            lacks_heads: the graph ends before the heads, which are computed here.
        """
        network = self.model.network
        interpreter = make_interpreter(graph)
        run = LitertRunner(interpreter, self.names, {}, network, lacks_heads=lacks_heads)
        return [run(x[None]) for x in inputs]

    def largest(self) -> dict[int, Any]:
        """Return the largest absolute value of each channel, (channels,), by layer index."""
        found = {}
        for one in operators(self.graph):
            (place,) = one.gives
            largest = self.seen[place].largest
            if one.layer is not None:
                shape = self.model.network.layers[one.layer].out_shape
                if len(largest) == shape.c:
                    found[one.layer] = largest
        return found


def channels_first(values: Array) -> Array:
    """Convert a batch from NHWC to NCHW.

    Args:
        values: (N, H, W, C); of another number of axes they are returned as they are.

    Returns:
        A view (N, C, H, W).
    """
    return values.transpose(0, 3, 1, 2) if values.ndim == 4 else values


def integer_graph(
    model: Model, head: str, inputs: Sequence[Array]
) -> tuple[bytes, list[str], Mapping[str, Any]]:
    """Return the integer graph, the names of its outputs, and how it was quantized.

    The candidates are the model itself and equalised forms of it, whose channels have similar
    ranges; the one with the smallest error is taken. For the choice the ranges are calibrated on
    one half of the inputs, and the errors are measured on the other; then they are calibrated on
    all inputs.

    Args:
        model: model that is written.
        head: "raw" or "logits".
        inputs: calibration inputs, (C, H, W) or (values,) each.

    Raises:
        UnsupportedError: a layer cannot be expressed in LiteRT, or not in 8 bits.
        MissingDependencyError: ai-edge-litert is not installed.
    """
    lacks_heads = head == "logits"
    chosen = [inputs[place] for place in range(0, len(inputs), 2)]
    unseen = range(1, len(inputs), 2) if len(inputs) > 1 else range(1)
    judges = [inputs[place] for place in evenly_spread(list(unseen), JUDGES)]
    folded = fold_batchnorm(model)
    first = Candidate.of(folded, head)
    first.observe(chosen)
    wanted = first.results(first.graph, judges, lacks_heads=lacks_heads)
    candidates = [first]
    for form in (equalise(folded), equalise(folded, first.largest())):
        if form is not folded:
            candidates.append(Candidate.of(form, head))
            candidates[-1].observe(chosen)
    best: tuple[float, str, Candidate] | None = None
    for candidate in candidates:
        for method in TRIED:
            graph = candidate.quantized(method)
            found = candidate.results(graph, judges, lacks_heads=lacks_heads)
            error = mean_error(zip(wanted, found, strict=True))
            if best is None or error < best[0]:
                best = error, method, candidate
    assert best is not None
    _, method, candidate = best
    candidate.observe(inputs[place] for place in range(1, len(inputs), 2))
    facts = {
        "calibration": f"percentile {PERCENTILE}" if method == "percentile" else method,
        "pictures": len(inputs),
        "activations": "int8",
        "weights": "int8 per output channel",
        "equalised": candidate is not first,
    }
    return candidate.quantized(method), candidate.names, facts


def check_integer(graph: bytes, network: Network) -> None:
    """Check that no operator of a graph has a float32 result.

    Args:
        graph: bytes of the LiteRT graph.
        network: network that it computes, for messages.

    Raises:
        UnsupportedError: an operator has one.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = parse_graph(graph)
    tensors = model.subgraphs[0].tensors
    for one in operators_of(model):
        if any(tensors[place].type == schema.TensorType.FLOAT32 for place in one.gives):
            raise UnsupportedError(
                f"{network.file}: not all of it can be in 8 bits: {one.kind}",
                where=None if one.layer is None else network.where(one.layer),
                hint="without int8_form full such operators stay in float32",
            )
