"""Declaration of cfg options with type, default and bounds, and reading of a section's lines."""

import dataclasses
import difflib
import functools
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_type_hints

from darkconv.core.dialect import PJREDDIE, Dialect
from darkconv.core.section import Line, Section
from darkconv.errors import OptionError, Where, printable, shortened

Ints = tuple[int, ...]
Floats = tuple[float, ...]
_ITEMS: dict[object, type] = {Ints: int, Floats: float}
Resolver = Callable[[str, Dialect], tuple[str, str]]
T = TypeVar("T")

logger = logging.getLogger("darkconv")

_INT = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_HEXADECIMAL = re.compile(
    r"[+-]?0x(?:[\da-f]+\.?[\da-f]*|\.[\da-f]+)(?:p[+-]?\d+)?", re.ASCII | re.IGNORECASE
)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
INT_LIMIT = 2**31 - 1  # the largest int in C
INT_DIGITS = len(str(INT_LIMIT))
LONG_LIMIT = 2**63 - 1
LONG_DIGITS = len(str(LONG_LIMIT))
FLOAT_LIMIT = 3.4028235677973366e38  # halfway between C's largest float and the next power of 2


@dataclasses.dataclass(frozen=True)
class Option:
    """The declaration of one option; `option` describes the fields."""

    default: Any
    key: str | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    otherwise: str
    resolve: Resolver | None
    only: Dialect | None
    pjreddie: Any
    training: bool
    required: bool
    tells_dialect: bool

    def default_for(self, dialect: Dialect) -> Any:
        """Return the value of the option if the cfg does not state it.

        Args:
            dialect: the dialect, as some defaults differ.

        Returns:
            The value, or a function that computes it from the values of the other options.
        """
        if self.pjreddie is not None and dialect == PJREDDIE:
            return self.pjreddie
        return self.default


def option(
    default: Any,
    *,
    key: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    otherwise: str = "",
    resolve: Resolver | None = None,
    only: Dialect | None = None,
    pjreddie: Any = None,
    training: bool = False,
    required: bool = False,
    tells_dialect: bool = True,
) -> Any:
    """Declare a field of a spec that is read from the cfg.

    Args:
        default: Darknet's own default, or a function that computes it from the values of the other
            options.
        key: name of the option in the cfg, if a Python field cannot have that name; None for the
            field's name.
        minimum: smallest value allowed; None for no bound.
        maximum: largest value allowed; None for no bound.
        choices: known names; empty if any text is allowed.
        otherwise: the name that C uses for any unknown name, with a warning.
        resolve: function of text and dialect that returns the name that acts, and a note for the
            user or "".
        only: the dialect that reads the option, with those based on it; None if all read it.
        pjreddie: the default in the dialect pjreddie, if it differs.
        training: True if the value does not affect inference; a value that cannot be read is then
            no error, see `Notes.excuse`.
        required: True if the cfg must state the option.
        tells_dialect: False if files of the dialect that ignores the option may state it
            nevertheless.

    Returns:
        A dataclass field whose metadata hold the `Option`; typed as Any so that the field can have
            its own type.
    """
    info = Option(
        default,
        key,
        minimum,
        maximum,
        choices,
        otherwise,
        resolve,
        only,
        pjreddie,
        training,
        required,
        tells_dialect,
    )
    return dataclasses.field(metadata={"option": info})


Field = tuple[str, Any, Option]


@functools.cache
def option_table(spec: type) -> dict[str, Field]:
    """Return the field name, type and declaration of each option of a spec class, by cfg key.

    Args:
        spec: a dataclass whose fields are declared with `option`.
    """
    hints = get_type_hints(spec)
    return {
        info.key or field.name: (field.name, hints[field.name], info)
        for field in dataclasses.fields(spec)
        if (info := field.metadata.get("option")) is not None
    }


@functools.cache
def _defaults(spec: type, dialect: Dialect) -> dict[str, Any]:
    return {name: info.default_for(dialect) for name, _, info in option_table(spec).values()}


@functools.cache
def _computed(spec: type, dialect: Dialect) -> list[str]:
    """Return the names of the fields whose default is computed from others."""
    return [name for name, value in _defaults(spec, dialect).items() if callable(value)]


@functools.cache
def _required(spec: type) -> list[str]:
    """Return the keys that a section must have."""
    return [key for key, (_, _, info) in option_table(spec).items() if info.required]


@functools.cache
def keys_only_of(spec: type, dialect: Dialect, *, training: bool) -> frozenset[str]:
    """Return the keys that only one dialect reads, and by which that dialect is recognised.

    Args:
        spec: spec class of the section.
        dialect: the dialect that reads the keys.
        training: True for the options that affect only training, False for the others.
    """
    return frozenset(
        key
        for key, (_, _, info) in option_table(spec).items()
        if info.only == dialect and info.training == training and info.tells_dialect
    )


class Notes:
    """Remarks about what is odd but legal in a cfg; each kind of remark is reported once."""

    LIMIT = 100
    """At most this number of kinds is reported, since nobody reads more."""

    def __init__(self) -> None:
        """Start without remarks."""
        self._found: dict[tuple[str | None, str | None, str], list[Where]] = {}
        self._advice: dict[str, Callable[[], str]] = {}
        self._untold: list[Where] = []
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Return True if remarks of further kinds are only counted."""
        return len(self._found) >= self.LIMIT

    def add(self, where: Where, text: str, advice: Callable[[], str] | None = None) -> None:
        """Add a remark.

        Args:
            where: place in the cfg that it is about.
            text: the remark.
            advice: returns advice for the user, or ""; it is called only when the remark is
                reported, because it may take long.
        """
        self.count += 1
        if advice:
            self._advice[text] = advice
        kind = (where.section, where.option, text)
        if self.is_full and kind not in self._found:
            self._untold.append(where)
        else:
            self._found.setdefault(kind, []).append(where)

    def excuse(self, error: OptionError, reading: float) -> None:
        """Add a remark about an unusable value of an option that only training reads.

        Args:
            error: the error that describes the value.
            reading: the number that C reads instead.
        """
        problem = f"expected {error.expected}, found {printable(shortened(str(error.found)))}"
        text = f"{problem}: read as {reading:.10g}, as in C; only training reads it"
        self.add(error.where, text)

    def found(self) -> list[str]:
        """Return each remark with its first place and the number of further places."""
        told = [
            f"{places[0]}: {text}{self._advised(text)}"
            + (f" (and {len(places) - 1} more like it)" if len(places) > 1 else "")
            for (_, _, text), places in self._found.items()
        ]
        if self._untold:
            told.append(f"{self._untold[0]}: {len(self._untold)} more remarks from here on")
        return told

    def _advised(self, text: str) -> str:
        advice = self._advice[text]() if text in self._advice else ""
        return f"; {advice}" if advice else ""

    def log(self) -> None:
        """Log each remark as a warning."""
        for text in self.found():
            logger.warning("%s", text)


class TrainingNotes(Notes):
    """Remarks for a training, in which unusable values are errors."""

    def __init__(self, *, obeys: bool) -> None:
        """Store whether the training follows the whole cfg; NaN and infinity are always errors."""
        super().__init__()
        self.obeys = obeys

    def excuse(self, error: OptionError, reading: float) -> None:
        """Raise the error, unless the training can use the number that C reads."""
        if self.obeys or not math.isfinite(reading):
            raise error


def read_spec(
    spec: type[T], lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes
) -> T:
    """Return a spec whose fields are `dialect` and the options found by `read_options`.

    Args:
        spec: the spec class to fill.
        lines: the lines of the section by option name.
        dialect: the dialect whose rules and defaults hold.
        where: place of the section, used in messages.
        notes: collects remarks about odd options.

    Raises:
        OptionError: see `read_options`.
    """
    values = read_options(spec, lines, dialect, where, notes)
    return spec(**{**values, "dialect": dialect})


def read_options(
    spec: type, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes
) -> dict[str, Any]:
    """Return the field values of a spec class, read from the lines of a section.

    An option that nobody reads gets a remark and is ignored. A value that C cannot hold gets a
    remark too if only training reads the option.

    Args:
        spec: the spec class whose options are read.
        lines: the lines of the section by option name.
        dialect: the dialect whose rules and defaults hold.
        where: place of the section, used in messages.
        notes: collects the remarks.

    Raises:
        OptionError: an option that inference reads has a value that is no number or out of bounds,
            or a required option is missing.
    """
    table = option_table(spec)
    values = dict(_defaults(spec, dialect))
    reader = _Reader(where, notes, dialect)
    for key, line in lines.items():
        known = table.get(key)
        if known is None and "=" not in line.raw:
            notes.add(option_place(line, where), _without_sign(line, table))
        elif known is None or (known[2].only and not dialect.follows(known[2].only)):
            _note_unread(known, spec, dialect, option_place(line, where), notes)
        elif line.value is None:
            notes.add(option_place(line, where), "has no value, ignored")
        else:
            name, kind, info = known
            values[name] = reader.value(line, kind, info)
    for name in _computed(spec, dialect):
        if callable(values[name]):
            values[name] = values[name](values)
    for key in _required(spec):
        if key not in lines or lines[key].value is None:
            raise OptionError("is missing", where=Where(option=key).inside(where))
    return values


def note_repeated(section: Section, where: Where, notes: Notes) -> None:
    """Add remarks about options with a second value, which Darknet ignores.

    Args:
        section: the section to check.
        where: place of the section.
        notes: collects the remarks.
    """
    for first, line in section.repeated():
        number = where.line and where.line + first.offset
        counts = f"{shortened(first.value or 'nothing')} of line {number} counts, as in C"
        value = shortened(line.value or "")
        notes.add(option_place(line, where), f"{value} is its second value: {counts}")


def option_place(line: Line, where: Where) -> Where:
    """Return the place of an option's line in the cfg.

    Args:
        line: the line of the option; one that was added has the line number of its section.
        where: place of the section.
    """
    number = where.line and where.line + line.offset
    return dataclasses.replace(where, line=number, option=line.key)


def _without_sign(line: Line, table: Mapping[str, Field]) -> str:
    """Return the remark about a line without a `=`, such as `filters 32` or `filters: 32`."""
    key, _, value = line.raw.strip().replace(":", " ").partition(" ")
    meant = f"; did you mean {key}={value.strip()}?" if key in table and value.strip() else ""
    return f"there is no = in the line, ignored{shortened(meant)}"


def _note_unread(
    known: Field | None, spec: type, dialect: Dialect, place: Where, notes: Notes
) -> None:
    if known is None:
        near = "" if notes.is_full else _suggested_option(place.option or "", spec)
        notes.add(place, "unknown option, ignored" + near)
    elif not known[2].training:
        notes.add(place, f"not read in the {dialect} dialect, ignored")


@functools.lru_cache(maxsize=Notes.LIMIT)
def _suggested_option(key: str, spec: type) -> str:
    """Return a `suggestion` from memory, as the same unknown option may occur in every section."""
    return suggestion(key, option_table(spec))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the most similar known word, or an empty text.

    Args:
        word: the unknown word.
        known: the words to choose from.
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


class _Reader:
    """Reads the values of a section's lines by the rules of C."""

    def __init__(self, where: Where, notes: Notes, dialect: Dialect) -> None:
        self.where = where
        self.notes = notes
        self.dialect = dialect
        self._passed_over: set[str | None] = set()

    def value(self, line: Line, kind: Any, info: Option) -> Any:
        if kind is str:
            return self._name(line, info)
        if kind in _ITEMS:
            return self._list(line, _ITEMS[kind], info)
        number = self._number(line, line.value or "", float if kind is float else int, info)
        if line.key in self._passed_over:
            return bool(number) if kind is bool else number
        low, high = info.minimum, info.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            error = self._error(line, _bounds(low, high), line.value)
            self._pass_over(error, info, number)
        return bool(number) if kind is bool else number

    def _name(self, line: Line, info: Option) -> str:
        text = line.value or ""
        if info.resolve:
            text, note = info.resolve(text, self.dialect)
            if note:
                self._note(line, note)
        elif info.choices and text not in info.choices:
            near = suggestion(text, info.choices)
            known = f"is {info.otherwise}, as in C"
            self._note(line, f"unknown name {shortened(text)!r} {known}{near}")
            return info.otherwise
        return text

    def _list(self, line: Line, kind: type, info: Option) -> tuple[Any, ...]:
        items = (line.value or "").split("#", 1)[0].split(",")
        if len(items) > 1 and not items[-1] and kind is float and not info.training:
            self._note(line, "ends with a comma, ignored")
            items.pop()
        return tuple([self._number(line, item, kind, info) for item in items])

    def _number(self, line: Line, text: str, kind: type, info: Option) -> Any:
        """Return the number at the start of a text and ignore the rest, as C's atoi and atof do."""
        if text.isascii() and text.isdigit() and len(text) < INT_DIGITS:
            return kind(text)
        match = (_INT if kind is int else _FLOAT).match(text)
        if match and kind is float:
            match = _HEXADECIMAL.match(text) or match
        if not match:
            return self._no_number(line, text, kind, info)
        rest = text[match.end() :]
        if rest and not rest.startswith("#"):
            self._note(line, f"{shortened(text)!r} is read as {shortened(match[0])}")
        number = _value_of(match[0])  # this is exact for every whole number that C can hold
        if not (-INT_LIMIT - 1 <= number <= INT_LIMIT if kind is int else _is_float(number)):
            error = self._error(line, "a number that C can hold", text)
            number = _wrapped(match[0]) if kind is int else math.copysign(math.inf, number)
            self._pass_over(error, info, number)
        return kind(number)

    def _no_number(self, line: Line, text: str, kind: type, info: Option) -> Any:
        """Return what C's atoi or atof reads from a text that begins with no finite number."""
        expected = "a whole number" if kind is int else "a number"
        match = _NOT_FINITE.match(text) if kind is float else None
        number = float(match[0]) if match else 0
        error = self._error(line, expected, text or "nothing")
        self._pass_over(error, info, number)
        return kind(number)

    def _pass_over(self, error: OptionError, info: Option, reading: float) -> None:
        """Continue after an error in an option that only training reads, and raise any other."""
        if not info.training:
            raise error
        self.notes.excuse(error, reading)
        self._passed_over.add(error.where.option)

    def _note(self, line: Line, text: str) -> None:
        self.notes.add(option_place(line, self.where), text)

    def _error(self, line: Line, expected: str, found: str | None) -> OptionError:
        return OptionError(where=option_place(line, self.where), expected=expected, found=found)


def _value_of(text: str) -> float:
    """Return the value of a decimal or hexadecimal text; infinity if it exceeds a double."""
    if "x" not in text.lower():
        return float(text)
    try:
        return float.fromhex(text)
    except OverflowError:
        return -math.inf if text[0] == "-" else math.inf


def _is_float(number: float) -> bool:
    """Return True if a number is finite as a C float."""
    return abs(number) < FLOAT_LIMIT


def _wrapped(text: str) -> int:
    """Return what C's atoi reads from a whole number that exceeds an int.

    The C standard leaves this undefined. The GNU library reads a long, limited to its range, and
    takes the lower 32 bits.
    """
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-").lstrip("0")
    number = LONG_LIMIT + 1 if len(digits) > LONG_DIGITS else int(digits)
    number = max(-LONG_LIMIT - 1, min(sign * number, LONG_LIMIT))
    return (number + INT_LIMIT + 1) % 2**32 - INT_LIMIT - 1


def _bounds(low: float | None, high: float | None) -> str:
    if high is None:
        return f"{low} or more"
    return f"{high} or less" if low is None else f"{low} to {high}"
