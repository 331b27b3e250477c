"""Read, keep and write the bytes of texts that users wrote.

A text is UTF-8, or what its byte order mark says. Bytes that are neither are kept as they are, each
as a character of its own (Python's surrogateescape). So they are written back unchanged, and a file
name with such bytes still names its file.
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
"""Byte order marks and their encodings. UTF-32 comes first: its mark begins with UTF-16's."""
PLAIN = "latin-1:"
"""Prefix of a text whose characters each stand for one byte."""

_KEPT = re.compile("[\udc80-\udcff]")
_WESTERN = re.compile(r"(?:[A-Za-z][\xc0-\xff]{1,2}|\b[\xc0-\xff]{1,2}[A-Za-z])")
_MOST_LOOKED_AT = 20_000  # the most bytes that are examined


def decoded(content: bytes, encoding: str | None = None) -> str:
    """Return the text of some bytes, without a byte order mark.

    Args:
        content: the bytes.
        encoding: encoding of the text; None for UTF-8, or what a byte order mark says, where other
            bytes are kept.

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
    """Return the bytes of a text in UTF-8, with kept bytes as they were.

    Args:
        text: a text of `decoded`, or any other.

    Raises:
        UnicodeError: the text has half of a surrogate pair, which no file can hold.
    """
    return text.encode("utf-8", "surrogateescape")


def keeps_bytes(text: str) -> bool:
    """Return True if a text has kept bytes, which were not UTF-8.

    Args:
        text: a text of `decoded`.
    """
    return bool(_KEPT.search(text))


def with_bytes_decoded(text: str, encoding: str) -> str:
    """Return a text that keeps bytes in another encoding, or unchanged where that fails.

    Args:
        text: a text of `decoded`.
        encoding: encoding that the whole text is read in if it keeps bytes.
    """
    if not keeps_bytes(text):
        return text
    try:
        return encoded(text).decode(encoding)
    except UnicodeError:
        return text


def as_bytes(text: str) -> str:
    """Return a text with one character for each byte, which any program can hold.

    Args:
        text: a text of `decoded`.
    """
    return encoded(text).decode("latin-1")


def from_bytes(text: str) -> str:
    """Return the text that `as_bytes` was given.

    Args:
        text: the result of `as_bytes`.

    Raises:
        UnicodeEncodeError: the text has characters that are no bytes.
    """
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def as_plain(text: str) -> str:
    """Return a text that any program can hold as UTF-8, and that `from_plain` turns back.

    Args:
        text: a text of `decoded`.
    """
    if not keeps_bytes(text) and not text.startswith(PLAIN):
        return text
    return PLAIN + as_bytes(text)


def from_plain(text: str) -> str:
    """Return the text that `as_plain` was given.

    Args:
        text: the result of `as_plain`.

    Raises:
        ValueError: the text has characters that are no bytes.
    """
    if not text.startswith(PLAIN):
        return text
    try:
        return from_bytes(text.removeprefix(PLAIN))
    except UnicodeEncodeError:
        raise ValueError("a text has characters that are no bytes") from None


def likely_encodings(content: bytes) -> list[str]:
    """Return up to two encodings in which some bytes look like words, the likelier first.

    Args:
        content: bytes that are not UTF-8.
    """
    content = content[:_MOST_LOOKED_AT].rpartition(b"\n")[0] or content[:_MOST_LOOKED_AT]
    scores = {name: likeness(content) for name, likeness in _LIKENESSES.items()}
    order = sorted(scores, key=lambda name: -scores[name])
    return [name for name in order if scores[name] > 0.5][:2]


def _foreign(content: bytes, encoding: str) -> str:
    """Return the characters beyond ASCII, or "" where the bytes are no text in the encoding."""
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
    """Return the share of Hangul syllables."""
    return 0.97 * _share(_foreign(content, "euc-kr"), "가", "힣")


def _like_japanese(content: bytes) -> float:
    """Return a score from the share of kana, which most Japanese words have, and of kanji."""
    text = _foreign(content, "shift_jis")
    if not text or _share(text, "\uff61", "\uff9f") > 0.5:  # half-width kana: any byte fits
        return 0.0
    return 0.6 * _share(text, "一", "鿿") + 1.5 * _share(text, "ぁ", "ヿ")


def _like_cyrillic(content: bytes) -> float:
    """Return the share of letters in words of capitals, or of lower case after the first letter."""
    try:
        text = content.decode("cp1251")
    except UnicodeDecodeError:
        return 0.0
    foreign = sum(not c.isascii() for c in text)
    words = re.findall("(?<![A-Za-z])[\u0401\u0410-\u044f\u0451]{2,}(?![A-Za-z])", text)
    whole = sum(len(word) for word in words if word[1:].islower() or word.isupper())
    return 0.96 * whole / foreign if foreign else 0.0


def _like_western(content: bytes) -> float:
    """Return the share of letters that stand alone or in pairs beside letters of ASCII."""
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
"""Functions that say how much bytes look like words in each encoding, from about 0 to 1."""
