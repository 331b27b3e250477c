"""Small damage to files, drawn from a `random.Random`: hypothesis and atheris both give one."""

import re

NUMBERS = [
    *b"0 1 -1 2 3 -2 1.5 0.0 -0.0 1e38 1e-320 1e400 nan inf -inf 0x10 1e 1. .5 - + 1_000".split(),
    *b"2147483647 2147483648 -2147483648 4294967296 9223372036854775808 1000000000 65536".split(),
    *b"99999999999999999999 1,2 -1,-1 \xd9\xa3".split(),
    *(b"9" * 5000, b"1" * 400, b"1" + b"0" * 30, b""),
]
"""What a number is replaced by: limits of C's and Python's types, and what is nearly a number."""

BYTES = (
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",  # half a surrogate pair
    b"\xef\xbb\xbf",  # byte order mark
    b"\xe2\x80\xa8",  # a line end of Unicode alone
    b"\x1b[2J",  # clears a terminal
    b"\r",
    b"\n",
    b" ",
    b"#",
    b"=",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b"<",
    b"&",
    b"../",
    b"x" * 3000,
)

_NUMBER = re.compile(rb"[-+]?[\d.]+(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_]+")


def spans(data, random, longest=8):
    """Start and end of a piece of the data, most often a short one."""
    start = random.randint(0, len(data))
    length = random.choice((1, random.randint(0, longest), random.randint(0, len(data))))
    return start, min(len(data), start + length)


# --- Bytes


def truncate(data, random):
    return data[: random.randint(0, len(data))]


def flip_bit(data, random):
    if not data:
        return data
    at = random.randint(0, len(data) - 1)
    return data[:at] + bytes([data[at] ^ 1 << random.randint(0, 7)]) + data[at + 1 :]


def remove(data, random):
    start, end = spans(data, random)
    return data[:start] + data[end:]


def repeat(data, random):
    start, end = spans(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 20)) + data[end:]


def insert_bytes(data, random):
    at = random.randint(0, len(data))
    return data[:at] + random.choice(BYTES) + data[at:]


def overwrite(data, random):
    """Four bytes become a small, huge or negative number."""
    at = random.randint(0, len(data))
    number = random.choice((0, 1, 2, 999, 1000, 1001, 2**31 - 1, 2**31, 2**32 - 1, 0x7FC00000))
    return data[:at] + number.to_bytes(4, "little") + data[at + 4 :]


def damage_start(data, random):
    """A change within the first bytes, where headers are."""
    return random.choice((flip_bit, overwrite))(data[:24], random) + data[24:]


OF_BYTES = (truncate, flip_bit, remove, repeat, insert_bytes, overwrite, damage_start)


# --- Texts


def _replaced(pattern, data, random, values):
    found = list(pattern.finditer(data))
    if not found:
        return data
    match = random.choice(found)
    return data[: match.start()] + random.choice(values) + data[match.end() :]


def change_number(data, random):
    return _replaced(_NUMBER, data, random, NUMBERS)


def exchange_words(data, random):
    """A word becomes another word of the same text."""
    words = _WORD.findall(data)
    return _replaced(_WORD, data, random, words) if words else data


def _of_lines(change):
    def changed(data, random):
        lines = data.split(b"\n")
        change(lines, random)
        return b"\n".join(lines)

    return changed


@_of_lines
def delete_line(lines, random):
    del lines[random.randrange(len(lines))]


@_of_lines
def duplicate_line(lines, random):
    line = random.choice(lines)
    lines.insert(random.randint(0, len(lines)), line)


@_of_lines
def swap_lines(lines, random):
    i, j = random.randrange(len(lines)), random.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]


def line_from(pool):
    """A change that puts one of some lines in, or in place of another."""

    @_of_lines
    def put_line(lines, random):
        at = random.randrange(len(lines))
        lines[at : at + random.randint(0, 1)] = [random.choice(pool)]

    return put_line


OF_TEXT = (
    change_number,
    change_number,
    exchange_words,
    delete_line,
    duplicate_line,
    swap_lines,
    insert_bytes,
    remove,
    truncate,
    flip_bit,
)
