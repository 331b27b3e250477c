"""Read the kinds of values on a command line: numbers, sizes, devices and options of devices."""

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)
_QUOTED = r"""\s*"(?:[^"]|"")+"\s*|\s*'(?:[^']|'')+'\s*"""
_PAIR = re.compile(rf"({_QUOTED}|[^,=]*)=({_QUOTED}|[^,]*)(?:,(?=.)|$)", re.DOTALL)
"""A name, its value, and the comma before the next pair."""
UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30}


class DeviceType(click.ParamType):  # type: ignore[type-arg]
    """`auto`, `cpu`, `cuda` or `cuda:1`; the device is looked for when it is used."""

    name = "device"

    def __init__(self, *more: str) -> None:
        """Accept other names, too."""
        self._more = more

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of the device."""
        name = str(value)
        if not _NAME.fullmatch(name) and name.partition(":")[0] not in self._more:
            others = "".join(f", {one}" for one in self._more)
            self.fail(
                f"{value!r} is not auto, cpu{others}, cuda or a GPU such as cuda:1", param, ctx
            )
        return name


def is_number(text: str) -> bool:
    """Return True if a text is a whole number of at most 9 digits, which C can hold.

    Args:
        text: the text.
    """
    return text.isdecimal() and len(text) < 10


class NumberType(click.FloatRange):
    """A finite number within bounds; NaN, which no bound excludes, is refused."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        return _finite(self, number, value, param, ctx)


class UnboundedType(click.ParamType):  # type: ignore[type-arg]
    """A finite number without bounds, of which the help would otherwise show `x<=None`."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        return _finite(self, click.FLOAT.convert(value, param, ctx), value, param, ctx)


def _finite(
    kind: click.ParamType,  # type: ignore[type-arg]
    number: float,
    value: Any,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> float:
    if not math.isfinite(number):
        kind.fail(f"{value} is not a finite number", param, ctx)
    return number


SHARE = NumberType(0, 1)
"""The type of thresholds for scores and for IoU."""


class SizeType(click.ParamType):  # type: ignore[type-arg]
    """`416x320`: width and height."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return width and height."""
        if isinstance(value, tuple):
            return value
        width, _, height = value.lower().partition("x")
        if not (is_number(width) and is_number(height) and int(width) and int(height)):
            self.fail(f"{value!r} is not a size such as 416x416", param, ctx)
        return int(width), int(height)


class BytesType(click.ParamType):  # type: ignore[type-arg]
    """`5MB`, `500kB`, `1.5MiB`, or a plain number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes, rounded down."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z]*)", value.strip().lower())
        if not found or found[2] not in UNITS or int(float(found[1]) * UNITS[found[2]]) < 1:
            self.fail(f"{value!r} is not a size such as 5MB, 500kB or 1.5MiB", param, ctx)
        return int(float(found[1]) * UNITS[found[2]])


def numbers(text: str) -> tuple[int, ...]:
    """Return the layer numbers in a text such as `12,45`.

    Args:
        text: whole numbers with commas between them.

    Raises:
        BadParameter: the text is no such list.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(map(is_number, words)):
        raise click.BadParameter(f"{text!r} is no list of layer numbers")
    return tuple(map(int, words))


def read_pairs(text: str, option: str) -> dict[str, str]:
    """Return the value of each name in `a=b,c=d`; a name in quotes may hold commas and `=`.

    Args:
        text: the pairs.
        option: name of the option, for messages.

    Raises:
        UsageError: the text holds no pairs, or the same name twice.
    """
    pairs: dict[str, str] = {}
    rest = text
    while rest or not pairs:
        found = _PAIR.match(rest)
        name, value = map(_unquoted, found.groups()) if found else ("", "")
        if not (found and name and value):
            quoting = ' (names with , or = in quotes: "a,b"=c)' if "," in text else ""
            raise click.UsageError(f"{option} wants A=B,C=D, not {rest!r}{quoting}")
        if name in pairs:
            raise click.UsageError(f"{option} has {name!r} twice")
        pairs[name] = value
        rest = rest[found.end() :]
    return pairs


def _unquoted(word: str) -> str:
    """Return a name without the quotes and the blanks around it; a doubled quote inside is one."""
    word = word.strip()
    if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'":
        return word[1:-1].replace(2 * word[0], word[0])
    return word


device_option = click.option(
    "--device",
    type=DeviceType(),
    default="auto",
    show_default=True,
    metavar="cpu|cuda|cuda:N",
    help="Where to run; auto is the GPU if PyTorch finds one, else the CPU.",
)


def batch_option(default: int) -> Callable[[F], F]:
    """Return a decorator that adds `--batch`, the number of pictures that run together.

    Args:
        default: its default.
    """
    return click.option(
        "--batch",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help="Number of pictures that are run together.",
    )


def seed_option(what: str) -> Callable[[F], F]:
    """Return a decorator that adds `--seed`, 0 by default.

    Args:
        what: the random choices that it seeds, for the help text.
    """
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help=f"Seed of {what}.",
    )
