"""SHA-256 digests of Darknet's own files, computed while an ONNX file is written."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from darkconv.backends.onnx.tensors import PIECE
from darkconv.core.model import Model
from darkconv.darknet.cfg import cfg_bytes
from darkconv.darknet.weights import FileArrays, WeightsFile, weights_chunks

AT_ONCE = 1 << 26  # bytes hashed in one call, about as long as a large graph takes to build

Chunk = bytes | memoryview


def digests(model: Model, *, in_place: bool = False) -> dict[str, str]:
    """Return the SHA-256 digests of the model's cfg and weights, as Darknet's files hold them.

    There is no digest of weights that do not come from a file. There is none either for weights
    that a graph points into, since it would take three times as long as all other work.

    Args:
        model: model whose files are hashed.
        in_place: True if the graph points into the weights file.

    Returns:
        Digests in hexadecimal, under the keys "cfg_sha256" and "weights_sha256".
    """
    cfg = hashlib.sha256(cfg_bytes(model.network.config)).hexdigest()
    if model.initial_layers or in_place:
        return {"cfg_sha256": cfg}
    chunks: Iterable[Chunk] = weights_chunks(model)
    if isinstance(model.arrays, FileArrays):
        chunks = runs(model.arrays.file, chunks)
    return {"cfg_sha256": cfg, "weights_sha256": sha256(chunks)}


def runs(file: WeightsFile, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield the same bytes in fewer pieces: chunks that are adjacent in a file are joined.

    Args:
        file: weights file that most chunks lie in.
        chunks: bytes in order.

    Yields:
        Slices of the file, and chunks that lie elsewhere.
    """
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
    """Return the SHA-256 digest of bytes in pieces, in hexadecimal.

    The function runs beside a thread that is busy with Python. Hashing releases Python's global
    lock, but each call waits up to 5 ms for it while the other thread builds a graph. So the first
    bytes are hashed in a single call. The later ones are first copied into the processor's cache:
    hashing straight from memory takes a tenth longer, and twice as long where memory is slow.

    Args:
        chunks: bytes in order.
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
