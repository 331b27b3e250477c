"""The flatbuffer of a LiteRT graph: its operators, the names of its values, and its writing."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Arrays begin at a multiple of so many bytes: the schema and runtimes without a heap need it."""
PLAIN_NEAREST = 2
"""Version of RESIZE_NEAREST_NEIGHBOR, in 8 bits or not, without half-pixel centres."""
LAYER = re.compile(r"/(\d{3,})_")
"""Finds a Darknet layer's index in the names of operators that belong to a Keras layer."""


class Operator(NamedTuple):
    """An operator of a LiteRT graph.

    Attributes:
        name: name of its first result; fused operators are separated by semicolons.
        kind: kind of the operator, such as CONV_2D.
        reads: indices of the tensors that it reads.
        gives: indices of the tensors that it writes.
    """

    name: str
    kind: str
    reads: frozenset[int]
    gives: frozenset[int]

    @property
    def layer(self) -> int | None:
        """Index of the Darknet layer; None for an operation that is not a layer in Keras."""
        found = LAYER.search(self.name)
        return int(found[1]) if found else None


def parse_graph(graph: bytes) -> Any:
    """Parse a graph into objects that can be changed.

    Args:
        graph: bytes of the flatbuffer.

    Returns:
        The `ModelT` of TensorFlow Lite's schema.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(graph, 0))


def format_graph(model: Any) -> bytes:
    """Return the bytes of a graph: the inverse of `parse_graph`.

    Args:
        model: `ModelT` of TensorFlow Lite's schema.
    """
    import flatbuffers  # type: ignore[import-untyped]

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        """Lays bytes of arrays at multiples of `ALIGNMENT`, which Python's builder does not."""

        def StartVector(self, size: int, count: int, alignment: int) -> Any:  # noqa: N802
            return super().StartVector(size, count, ALIGNMENT if size == 1 else alignment)

    builder = Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def builtin_codes() -> dict[str, int]:
    """Return the number of each kind of operator in TensorFlow Lite's schema."""
    from tensorflow.lite.python import schema_py_generated as schema

    known = vars(schema.BuiltinOperator).items()
    return {name: number for name, number in known if isinstance(number, int)}


def operators(graph: bytes) -> list[Operator]:
    """Return the operators of a graph in the order in which they run.

    Args:
        graph: bytes of the flatbuffer.
    """
    return operators_of(parse_graph(graph))


def operators_of(model: Any) -> list[Operator]:
    """Return the operators of a parsed graph: see `operators`.

    Args:
        model: `ModelT` of TensorFlow Lite's schema.
    """
    kinds = {number: name for name, number in builtin_codes().items()}
    main = model.subgraphs[0]
    return [
        Operator(
            main.tensors[one.outputs[0]].name.decode(),
            kinds[model.operatorCodes[one.opcodeIndex].builtinCode],
            frozenset(one.inputs),
            frozenset(one.outputs),
        )
        for one in main.operators
    ]


def finished(graph: bytes, names: Sequence[str]) -> bytes:
    """Return a graph as it is written to a file, with its outputs named and in order.

    Its signature already has the names, in alphabetical order. Callers who use an interpreter by
    tensor indices see other names, and an order that the converter chose. Enlargements lose their
    half-pixel centres, which fewer devices support: for a whole-number factor both give the same.

    Args:
        graph: bytes of a flatbuffer with one signature.
        names: names of its outputs, in order.
    """
    model = parse_graph(graph)
    main, (signature,) = model.subgraphs[0], model.signatureDefs
    places = {one.name.decode(): one.tensorIndex for one in signature.outputs}
    for name, place in places.items():
        main.tensors[place].name = name.encode()
    for one in signature.inputs:
        main.tensors[one.tensorIndex].name = one.name
    first = list(dict.fromkeys(places[name] for name in names))
    main.outputs = [*first, *(place for place in main.outputs if place not in first)]
    _enlarge_plainly(model)
    return format_graph(model)


def _enlarge_plainly(model: Any) -> None:
    nearest = builtin_codes()["RESIZE_NEAREST_NEIGHBOR"]
    for one in model.subgraphs[0].operators:
        code = model.operatorCodes[one.opcodeIndex]
        if code.builtinCode == nearest and one.builtinOptions.halfPixelCenters:
            one.builtinOptions.halfPixelCenters = False
            code.version = PLAIN_NEAREST


def for_one_picture(graph: bytes) -> bytes:
    """Return a graph whose shapes are fixed to batch size 1.

    Args:
        graph: bytes of the flatbuffer.
    """
    model = parse_graph(graph)
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None
    return format_graph(model)
