"""Checks of an ONNX file from an unknown source, made before it is run.

Arrays may lie in other files, which the graph names. Those files must lie in the folder of the
graph, because onnxruntime would read any file that the user can read.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike

MOST = 1 << 31
"""Most bytes of a graph, the limit of Protocol Buffers."""


def read_graph(path: PathLike) -> onnx.ModelProto:
    """Read the graph of a file; arrays in other files are not read.

    Args:
        path: the ONNX file.

    Raises:
        DarkconvError: it is not an ONNX file, or an array is missing, incomplete or in a place that
            is not allowed.
    """
    where = Where(file=os.fspath(path))
    try:
        size = os.path.getsize(path)
        if not 0 < size < MOST:
            raise DarkconvError("is empty" if not size else "is no ONNX file", where=where)
        proto = onnx.ModelProto()
        proto.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise DarkconvError(f"cannot read: {error.strerror}", where=where) from error
    except DecodeError as error:
        raise DarkconvError("is no ONNX file, or is cut short", where=where) from error
    if not proto.graph.node:
        raise DarkconvError("is no ONNX file, or is cut short", where=where)
    for tensor in tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            check_external(tensor, Path(path))
        elif tensor.HasField("raw_data"):
            check_embedded(tensor, where)
    return proto


def tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every array of a file: initializers, and those in attributes of nodes and in functions.

    Args:
        proto: model of the file.

    Yields:
        Tensors; those without data are among them.
    """
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: "Iterator[onnx.NodeProto]") -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _of_graph(graph)


def check_embedded(tensor: onnx.TensorProto, where: Where) -> None:
    """Check that an array in the graph has as many bytes as its shape and dtype need.

    Args:
        tensor: array with raw data.
        where: the file, for the message.

    Raises:
        DarkconvError: the number of bytes differs.
    """
    needed = math.prod(tensor.dims) * item_size(tensor)
    if needed and needed != len(tensor.raw_data):
        raise DarkconvError(
            where=Where(file=where.file, option=tensor.name or None),
            expected=f"an array of {needed} bytes",
            found=len(tensor.raw_data),
        )


def check_external(tensor: onnx.TensorProto, path: Path) -> None:
    """Check that an array lies in a file beside the graph, and that the file holds all of it.

    Args:
        tensor: array with external data.
        path: path of the graph.

    Raises:
        DarkconvError: the file is elsewhere, missing or too short.
    """
    where = Where(file=str(path), option=tensor.name or "an array")
    parts = {entry.key: entry.value for entry in tensor.external_data}
    name = parts.get("location", "")
    if not is_beside(path, name):
        is_link = ".." not in Path(name).parts and (path.parent / name).is_symlink()
        raise DarkconvError(
            where=where,
            expected="a file in the graph's folder",
            found=f"{name}, a link out of it" if is_link else name,
        )
    try:
        size = (path.parent / name).stat().st_size
    except OSError as error:
        raise DarkconvError(
            f"{path.parent / name} cannot be read: {error.strerror}",
            where=where,
            hint="both files belong together",
        ) from error
    start, length = _number(parts, "offset", where), _number(parts, "length", where)
    needed = length or math.prod(tensor.dims) * item_size(tensor)
    if start + needed > size:
        raise DarkconvError(
            where=where, expected=f"{start + needed} bytes or more in {name}", found=size
        )


def is_beside(path: Path, name: str) -> bool:
    """Return True if a file lies in the folder of the graph, or in that of the file it links to.

    Args:
        path: path of the graph.
        name: relative path of the other file, as the graph gives it.
    """
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        return False
    target = (path.parent / name).resolve()
    return any(target.is_relative_to(f) for f in (path.parent.resolve(), path.resolve().parent))


def item_size(tensor: onnx.TensorProto) -> int:
    """Return the bytes of one element; 0 where an element is smaller than a byte, or is not known.

    Args:
        tensor: array of an ONNX dtype.
    """
    try:
        return int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError):
        return 0


def _number(parts: dict[str, str], key: str, where: Where) -> int:
    text = parts.get(key, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise DarkconvError(f"{key} of the array", where=where, expected="a number", found=text)
    return int(text)
