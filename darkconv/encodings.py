"""The bytes of texts that users wrote: how they are read, kept and written back.

A text is UTF-8, or what its byte order mark says. Bytes that are neither are kept as they are
(Python's surrogateescape: each is a character of its own), so that they are written back as they
were, and so that names of files still name them.
"""

import codecs
import re

MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and the encodings that they stand for. That of UTF-16 begins that of UTF-32."""
PLAIN = "latin-1:"
"""Start of a text of UTF-8 that stands for bytes, a character for each."""

_KEPT = re.compile("[\udc80-\udcff]")
_WESTERN = re.compile(r"(?:[A-Za-z][\xc0-\xff]{1,2}|\b[\xc0-\xff]{1,2}[A-Za-z])")
_MOST_LOOKED_AT = 20_000  # bytes


def decoded(content: bytes, encoding: str | None = None) -> str:
    """Return the text of some bytes, without a byte order mark.

    Args:
        content: the bytes.
        encoding: of the text; by default UTF-8, or what a byte order mark says, and bytes that
            are not are kept.

    Raises:
        UnicodeError: the bytes are no text in the encoding that was given or marked.
        LookupError: there is no such encoding.
    """
    marked = next((name for mark, name in MARKS if content.startswith(mark)), None)
    if encoding is not None:
        same = marked and codecs.lookup(marked).name.startswith(codecs.lookup(encoding).name)
        return content.decode(marked if marked and same else encoding)
    if marked and marked != "utf-8-sig":
        return content.decode(marked)
    return content.decode("utf-8-sig", "surrogateescape")


def encoded(text: str) -> bytes:
    """Return the bytes of a text in UTF-8, kept bytes as they were.

    Raises:
        UnicodeError: the text has half of a surrogate pair, which no file can hold.
    """
    return text.encode("utf-8", "surrogateescape")


def keeps_bytes(text: str) -> bool:
    """Return True if a text has bytes that were no UTF-8."""
    return bool(_KEPT.search(text))


def with_bytes_decoded(text: str, encoding: str) -> str:
    """Return a text whose bytes were no UTF-8 in another encoding; as it is where that fails."""
    if not keeps_bytes(text):
        return text
    try:
        return encoded(text).decode(encoding)
    except UnicodeError:
        return text


def as_bytes(text: str) -> str:
    """Return the bytes of a text, a character for each: a text that any program can hold."""
    return encoded(text).decode("latin-1")


def from_bytes(text: str) -> str:
    """Return the text that `as_bytes` was given.

    Raises:
        UnicodeEncodeError: there are characters that are no bytes.
    """
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def as_plain(text: str) -> str:
    """Return a text that any program can hold as UTF-8, from which `from_plain` makes it again."""
    if not keeps_bytes(text) and not text.startswith(PLAIN):
        return text
    return PLAIN + as_bytes(text)


def from_plain(text: str) -> str:
    """Return the text that `as_plain` was given.

    Raises:
        ValueError: there are characters that are no bytes.
    """
    if not text.startswith(PLAIN):
        return text
    try:
        return from_bytes(text.removeprefix(PLAIN))
    except UnicodeEncodeError:
        raise ValueError("a text has characters that are no bytes") from None


def likely_encodings(content: bytes) -> list[str]:
    """Return up to two encodings that make words of some bytes, the likelier first.

    Args:
        content: bytes that are no UTF-8.
    """
    content = content[:_MOST_LOOKED_AT].rpartition(b"\n")[0] or content[:_MOST_LOOKED_AT]
    scores = {name: likeness(content) for name, likeness in _LIKENESSES.items()}
    order = sorted(scores, key=lambda name: -scores[name])
    return [name for name in order if scores[name] > 0.5][:2]


def _foreign(content: bytes, encoding: str) -> str:
    """Return the characters beyond ASCII; none where the bytes are no such text."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return ""
    return "".join(c for c in text if not c.isascii())


def _share(text: str, first: str, last: str) -> float:
    return sum(first <= c <= last for c in text) / len(text) if text else 0.0


def _like_gbk(content: bytes) -> float:
    """Return the share of the 3,755 common characters, which GB 2312 sorts by sound."""
    text = _foreign(content, "gbk")
    common = sum(b"\xb0" <= c.encode("gbk")[:1] <= b"\xd7" for c in text)
    paired = sum(c.encode("gbk")[1] >= 0xA1 for c in text)
    return 0.95 * min(common, paired) / len(text) if text else 0.0


def _like_korean(content: bytes) -> float:
    """Return the share of syllables."""
    return 0.97 * _share(_foreign(content, "euc-kr"), "가", "힣")


def _like_japanese(content: bytes) -> float:
    """Return the share of kana, which most Japanese words have, and less of the rest."""
    text = _foreign(content, "shift_jis")
    if not text or _share(text, "\uff61", "\uff9f") > 0.5:  # half-width kana: any byte is one
        return 0.0
    return 0.6 * _share(text, "一", "鿿") + 1.5 * _share(text, "ぁ", "ヿ")


def _like_cyrillic(content: bytes) -> float:
    """Return the share of letters in words of small letters, but for the first, or of capitals."""
    try:
        text = content.decode("cp1251")
    except UnicodeDecodeError:
        return 0.0
    foreign = sum(not c.isascii() for c in text)
    words = re.findall("(?<![A-Za-z])[\u0401\u0410-\u044f\u0451]{2,}(?![A-Za-z])", text)
    whole = sum(len(word) for word in words if word[1:].islower() or word.isupper())
    return 0.96 * whole / foreign if foreign else 0.0


def _like_western(content: bytes) -> float:
    """Return the share of letters that stand alone or in twos beside others of the alphabet."""
    text = content.decode("latin-1")
    foreign = sum(not c.isascii() for c in text)
    among = sum(len(re.sub("[A-Za-z]", "", found)) for found in _WESTERN.findall(text))
    return among / foreign if foreign else 0.0


_LIKENESSES = {
    "latin-1": _like_western,
    "euc-kr": _like_korean,
    "cp1251": _like_cyrillic,
    "gbk": _like_gbk,
    "shift_jis": _like_japanese,
}
"""How much bytes look like words of the languages of each encoding, from 0 to 1."""
