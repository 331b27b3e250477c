"""SHA-256 of Darknet's own files, computed beside the writing of an ONNX file."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from darkconv.backends.onnx.tensors import PIECE
from darkconv.core.model import Model
from darkconv.darknet.cfg import cfg_bytes
from darkconv.darknet.weights import FileArrays, WeightsFile, weights_chunks

AT_ONCE = 1 << 26  # bytes hashed in one call: it takes about as long as building a large graph

Chunk = bytes | memoryview


def digests(model: Model, *, in_place: bool = False) -> dict[str, str]:
    """SHA-256 of Darknet's own files of the model, which are those that it was read from.

    Of weights that no file has given there is none, nor of those that a graph `in_place` points
    into: it would take three times as long as all the rest.
    """
    cfg = hashlib.sha256(cfg_bytes(model.network.config)).hexdigest()
    if model.initial_layers or in_place:
        return {"cfg_sha256": cfg}
    chunks: Iterable[Chunk] = weights_chunks(model)
    if isinstance(model.arrays, FileArrays):
        chunks = runs(model.arrays.file, chunks)
    return {"cfg_sha256": cfg, "weights_sha256": sha256(chunks)}


def runs(file: WeightsFile, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same bytes in fewer pieces: those that lie behind each other in a file are one."""
    data = memoryview(file.data)
    start = end = 0
    for chunk in chunks:
        offset = file.offset_of(np.frombuffer(chunk, np.uint8))
        if offset is None or offset != end:
            yield data[start:end]
            start = end = offset or 0
        if offset is None:
            yield chunk
        else:
            end += len(chunk)
    yield data[start:end]


def sha256(chunks: Iterable[Chunk]) -> str:
    """Digest of bytes in pieces, quick beside a thread that is busy with Python.

    Hashing goes on without Python's lock, but each call waits for it up to 5 ms while another
    thread builds a graph: so the first bytes are hashed in a single call. Pieces of the others are
    first brought into the processor's cache: straight from memory hashing takes a tenth longer,
    and twice as long where that is slow.
    """
    digest, left = hashlib.sha256(), AT_ONCE
    buffer = np.empty(PIECE, np.uint8)
    for chunk in chunks:
        digest.update(chunk[:left])
        for start in range(left, len(chunk), PIECE):
            piece = np.frombuffer(chunk[start : start + PIECE], np.uint8)
            np.copyto(buffer[: len(piece)], piece)
            digest.update(buffer[: len(piece)].data)
        left = max(0, left - len(chunk))
    return digest.hexdigest()
