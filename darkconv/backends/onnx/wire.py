"""Protobuf's wire format of a model, so that its large arrays need not pass through objects.

A message is a row of fields in the order of their numbers; one that holds bytes or another
message is a tag, the length in bytes, and these bytes. What comes out here is, byte for byte,
what protobuf itself would write.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import onnx
import onnx_ir as ir

from darkconv.backends.onnx.tensors import pieces
from darkconv.errors import DarkconvError

LARGEST = 2**31 - 1 - 4096  # bytes: protobuf's own limit, and room for metadata added late
GRAPH, INITIALIZER, RAW_DATA = (
    onnx.ModelProto.GRAPH_FIELD_NUMBER,
    onnx.GraphProto.INITIALIZER_FIELD_NUMBER,
    onnx.TensorProto.RAW_DATA_FIELD_NUMBER,
)
LENGTH_DELIMITED = 2

Metadata = Mapping[str, str]


class ModelStream:
    """The bytes of a model whose large arrays are given beside it."""

    def __init__(self, proto: onnx.ModelProto, tensors: Mapping[str, ir.TensorProtocol]) -> None:
        """Compute all lengths.

        Args:
            proto: the model; of the initializers in `tensors` it has all but the data.
            tensors: by the initializers' names.

        Raises:
            DarkconvError: it is more than one message may hold.
        """
        self._proto = proto
        self._initializers = [
            _Initializer(stub, tensors.get(stub.name)) for stub in proto.graph.initializer
        ]
        self._before = part_of(proto.graph, lambda number: number < INITIALIZER)
        self._behind = part_of(proto.graph, lambda number: number > INITIALIZER)
        self.graph_length = (
            len(self._before)
            + sum(len(one.head) + one.data_length for one in self._initializers)
            + len(self._behind)
        )
        if self.graph_length + len(self._rest()) > LARGEST:
            raise DarkconvError(
                "one ONNX file cannot hold these weights",
                expected=f"at most {LARGEST} bytes",
                found=self.graph_length,
                hint="--external (external=True) puts them into a file beside it",
            )

    def chunks(self, metadata: Callable[[], Metadata]) -> Iterator[bytes | memoryview]:
        """The bytes, in pieces; metadata to be added are asked for when the weights are out."""
        yield part_of(self._proto, lambda number: number < GRAPH)
        yield opening(GRAPH, self.graph_length)
        yield self._before
        for one in self._initializers:
            yield one.head
            if one.tensor is not None:
                yield from pieces(one.tensor)
        yield self._behind
        for key, value in metadata().items():
            self._proto.metadata_props.add(key=key, value=value)
        self._proto.metadata_props.sort(key=lambda entry: entry.key)
        yield self._rest()

    def _rest(self) -> bytes:
        return part_of(self._proto, lambda number: number > GRAPH)


class _Initializer:
    """One constant of the graph: the bytes before its data, and the tensor that has these."""

    def __init__(self, stub: onnx.TensorProto, tensor: ir.TensorProtocol | None) -> None:
        self.tensor = tensor
        self.data_length = tensor.nbytes if tensor is not None else 0
        fields = stub.SerializeToString()
        if tensor is not None:
            fields += opening(RAW_DATA, self.data_length)
        self.head = opening(INITIALIZER, len(fields) + self.data_length) + fields


def part_of(message: Any, is_wanted: Callable[[int], bool]) -> bytes:
    """Some fields of a message, chosen by their numbers."""
    part = type(message)()
    part.CopyFrom(message)
    for field in message.DESCRIPTOR.fields:
        if not is_wanted(field.number):
            part.ClearField(field.name)
    return bytes(part.SerializeToString())


def opening(field: int, length: int) -> bytes:
    """What precedes the bytes of a field: its tag and their number."""
    return varint(field << 3 | LENGTH_DELIMITED) + varint(length)


def varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first; all but the last have the high bit."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
