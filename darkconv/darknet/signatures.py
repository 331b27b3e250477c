"""Files that are often mistaken for weights, recognised by their first bytes."""

import struct
from typing import NamedTuple


class Recognised(NamedTuple):
    """The kind of a file, and advice for the user.

    Attributes:
        what: name of the kind, used in messages.
        hint: advice for the user; None if there is none.
    """

    what: str
    hint: str | None = None


_IMPORT = "commands read it in place of weights, dc.import_weights(cfg, file) in Python"
_DOWNLOAD = "the download failed: the server sent a page instead of the file"
_STARTS: tuple[tuple[bytes, Recognised], ...] = (
    (
        b"version https://git-lfs",
        Recognised("a Git LFS pointer", "fetch the file itself: git lfs pull"),
    ),
    (
        b"PK\x03\x04",
        Recognised(
            "a zip archive (perhaps a PyTorch or Keras file)",
            f"unpack it, unless PyTorch or Keras wrote it: then {_IMPORT}",
        ),
    ),
    (b"\x1f\x8b", Recognised("a gzip archive", "unpack it first")),
    (b"7z\xbc\xaf\x27\x1c", Recognised("a 7z archive", "unpack it first")),
    (b"Rar!", Recognised("a RAR archive", "unpack it first")),
    (
        b"\x89HDF",
        Recognised("an HDF5 file (perhaps a Keras model)", _IMPORT),
    ),
    (b"\x89PNG", Recognised("a PNG picture")),
    (b"\xff\xd8\xff", Recognised("a JPEG picture")),
    (b"%PDF", Recognised("a PDF document")),
)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")
_PICKLE_PROTOCOLS = (b"\x02", b"\x03", b"\x04", b"\x05")
_ONNX_PRODUCERS = (b"pytorch", b"onnx", b"tf2onnx", b"darkconv", b"keras", b"darknet")


WEIGHTS_VERSIONS = ((0, 1, 0), (0, 2, 0), (0, 2, 5))
"""The versions that Darknet's programs have written into weights files."""
SIGNATURE = 512
"""The kind of a file is recognised from this number of bytes at its start."""


def recognise(start: bytes, size: int) -> Recognised | None:
    """Return the kind of a file that cannot be a weights file; None if it can be one.

    Args:
        start: the first 512 bytes of the file, or all if it is shorter.
        size: size of the file in bytes.
    """
    if size < 16:
        return Recognised(f"a file of {size} bytes", "a weights header alone has 16 or 20")
    known = _recognise_format(start, size)
    if known:
        return known
    return _text(_without_mark(start)) if _is_text(start) else None


def recognise_foreign(data: bytes) -> Recognised | None:
    """Return the kind of a file that cannot be a cfg; None if it can be one.

    Args:
        data: the content of the file, of which the first 512 bytes are examined.
    """
    start = data[:SIGNATURE]
    if start.startswith(tuple(struct.pack("<3i", *version) for version in WEIGHTS_VERSIONS)):
        return Recognised("a weights file", "the cfg comes first, then the weights")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Recognised("a text in UTF-16", "save it as UTF-8 or ASCII")
    known = _recognise_format(start, len(data))
    if known:
        return known
    if _without_mark(start).startswith((b"{", b'["')):
        return Recognised("a JSON text", _DOWNLOAD)
    return Recognised("a binary file") if b"\0" in start else None


def _without_mark(start: bytes) -> bytes:
    """Return the text in lower case without byte order mark and leading blanks."""
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()


def _recognise_format(start: bytes, size: int) -> Recognised | None:
    for magic, what in _STARTS:
        if start.startswith(magic):
            return what
    if _without_mark(start).startswith(_PAGES):
        return Recognised("an HTML page", _DOWNLOAD)
    if start[4:8] == b"TFL3":
        return Recognised("a TensorFlow Lite file")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size:
        return Recognised("a safetensors file", f"if another tool wrote it, {_IMPORT}")
    if start[:1] == b"\x80" and start[1:2] in _PICKLE_PROTOCOLS:
        return Recognised(
            "a Python pickle (perhaps a PyTorch file)",
            f"if PyTorch wrote it, {_IMPORT}; what it holds is never run",
        )
    is_message = start[:1] == b"\x08" and start[2:3] == b"\x12"
    if is_message and any(producer in start[:64] for producer in _ONNX_PRODUCERS):
        return Recognised("an ONNX file", "name it .onnx; if another tool wrote it, " + _IMPORT)
    return None


def no_text(content: bytes) -> Recognised | None:
    """Return the kind of a file that is not a text for Darknet; None if it can be one.

    Binary files, and pages or pointers received instead of a download, are recognised.

    Args:
        content: the content of the file.
    """
    known = recognise(content[:512].ljust(16), max(len(content), 16))
    if known and known.what in ("an HTML page", "a Git LFS pointer"):
        return known
    return Recognised("a binary file, not text") if b"\0" in content else None


def _is_text(start: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\r\n" for byte in start)


def _text(text: bytes) -> Recognised:
    if text.startswith(b"[net") or b"\n[convolutional]" in text:
        return Recognised("a cfg", "the cfg comes first, then the weights")
    if text.startswith((b"{", b"[")):
        return Recognised("a JSON text", _DOWNLOAD)
    return Recognised("a text file")
