"""Files that are often taken for weights, recognised by their first bytes."""

from typing import NamedTuple


class Recognised(NamedTuple):
    """What a file is, and what to do about it."""

    what: str
    hint: str | None = None


_DOWNLOAD = "the download failed: the server sent a page instead of the file"
_STARTS: tuple[tuple[bytes, Recognised], ...] = (
    (
        b"version https://git-lfs",
        Recognised("a Git LFS pointer", "fetch the file itself: git lfs pull"),
    ),
    (
        b"PK\x03\x04",
        Recognised("a zip archive (perhaps a PyTorch or Keras file)", "unpack or convert it first"),
    ),
    (b"\x1f\x8b", Recognised("a gzip archive", "unpack it first")),
    (b"7z\xbc\xaf\x27\x1c", Recognised("a 7z archive", "unpack it first")),
    (b"Rar!", Recognised("a RAR archive", "unpack it first")),
    (b"\x89HDF", Recognised("an HDF5 file (perhaps a Keras model)")),
    (b"\x89PNG", Recognised("a PNG picture")),
    (b"\xff\xd8\xff", Recognised("a JPEG picture")),
    (b"%PDF", Recognised("a PDF document")),
)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")
_ONNX_PRODUCERS = (b"pytorch", b"onnx", b"tf2onnx", b"darkconv", b"keras", b"darknet")


def recognise(start: bytes, size: int) -> Recognised | None:
    """What a file is if it cannot be Darknet weights, judged by its first 512 bytes."""
    if size < 16:
        return Recognised(f"a file of {size} bytes", "a weights header alone has 16 or 20")
    for magic, what in _STARTS:
        if start.startswith(magic):
            return what
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_PAGES):
        return Recognised("an HTML page", _DOWNLOAD)
    if start[4:8] == b"TFL3":
        return Recognised("a TensorFlow Lite file")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size:
        return Recognised("a safetensors file", "give it alone, without a cfg")
    if start[0] == 0x80 and start[1] in range(2, 6):
        return Recognised("a Python pickle (perhaps a PyTorch file)", "it is never unpickled")
    if start[0] == 0x08 and start[2] == 0x12 and any(p in start[:64] for p in _ONNX_PRODUCERS):
        return Recognised("an ONNX file", "give it alone, without a cfg")
    if _is_text(start):
        return _text(text)
    return None


def _is_text(start: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\r\n" for byte in start)


def _text(text: bytes) -> Recognised:
    if text.startswith(b"[net") or b"\n[convolutional]" in text:
        return Recognised("a cfg", "the cfg comes first, then the weights")
    if text.startswith((b"{", b"[")):
        return Recognised("a JSON text", _DOWNLOAD)
    return Recognised("a text file")
