"""Writing a model in protobuf's wire format, so that its large arrays do not pass through objects.

A message is a sequence of fields in the order of their numbers. A field that holds bytes or another
message is a tag, the length in bytes, and the bytes themselves. The result equals protobuf's own
byte for byte.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import onnx
import onnx_ir as ir

from darkconv.backends.onnx.tensors import pieces
from darkconv.errors import DarkconvError

LARGEST = 2**31 - 1 - 4096  # bytes: protobuf's limit, less room for metadata that are added late
GRAPH, INITIALIZER, RAW_DATA = (
    onnx.ModelProto.GRAPH_FIELD_NUMBER,
    onnx.GraphProto.INITIALIZER_FIELD_NUMBER,
    onnx.TensorProto.RAW_DATA_FIELD_NUMBER,
)
LENGTH_DELIMITED = 2

Metadata = Mapping[str, str]


class ModelStream:
    """The bytes of a model whose large arrays are given separately.

    Attributes:
        graph_length: length of the graph in bytes.
    """

    def __init__(self, proto: onnx.ModelProto, tensors: Mapping[str, ir.TensorProtocol]) -> None:
        """Compute all lengths.

        Args:
            proto: the model; its initializers that are in `tensors` have everything but the data.
            tensors: large arrays, by the names of the initializers.

        Raises:
            DarkconvError: the model is larger than one message may be.
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
        """Yield the bytes of the model in pieces.

        Args:
            metadata: returns more metadata; it is called after the weights have been yielded.

        Yields:
            Consecutive bytes.
        """
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
    """One constant of the graph: the bytes before its data, and the tensor with the data."""

    def __init__(self, stub: onnx.TensorProto, tensor: ir.TensorProtocol | None) -> None:
        self.tensor = tensor
        self.data_length = tensor.nbytes if tensor is not None else 0
        fields = stub.SerializeToString()
        if tensor is not None:
            fields += opening(RAW_DATA, self.data_length)
        self.head = opening(INITIALIZER, len(fields) + self.data_length) + fields


def part_of(message: Any, is_wanted: Callable[[int], bool]) -> bytes:
    """Return the bytes of some fields of a message.

    Args:
        message: protobuf message.
        is_wanted: returns True for the number of a field to include.
    """
    part = type(message)()
    part.CopyFrom(message)
    for field in message.DESCRIPTOR.fields:
        if not is_wanted(field.number):
            part.ClearField(field.name)
    return bytes(part.SerializeToString())


def opening(field: int, length: int) -> bytes:
    """Return the bytes before the content of a field: its tag and the content's length.

    Args:
        field: number of the field.
        length: length of the content, in bytes.
    """
    return varint(field << 3 | LENGTH_DELIMITED) + varint(length)


def varint(value: int) -> bytes:
    """Return a number as protobuf's varint: groups of seven bits, the lowest first.

    All groups but the last have the high bit set.

    Args:
        value: number of 0 or more.
    """
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
