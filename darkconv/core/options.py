"""One cfg option with type, default and bounds; a section's lines -> typed values."""

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
INT_LIMIT = 2**31 - 1  # Darknet's int
INT_DIGITS = len(str(INT_LIMIT))
LONG_LIMIT = 2**63 - 1
LONG_DIGITS = len(str(LONG_LIMIT))
FLOAT_LIMIT = 3.4028235677973366e38  # what rounds to more is beyond Darknet's float


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of one option: see `option`."""

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
        """The value where the cfg says nothing; a callable takes the values read before it."""
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
        default: Darknet's own default, or a function of the values of the other options.
        key: the option's name in the cfg, where a Python field cannot have it.
        minimum: least value allowed.
        maximum: largest value allowed.
        choices: names that are known.
        otherwise: the one that C takes for any other name, which is warned about.
        resolve: for names that stand for another one: text and dialect -> the name that acts,
            and a note for the user or "".
        only: the dialect that reads the option; the other one ignores it.
        pjreddie: the default in that dialect, where it differs.
        training: True where the value has no influence on inference: one that cannot be read is
            then no error, see `Notes.excuse`.
        required: the cfg has to have it.
        tells_dialect: False where files of the dialect that ignores it have it all the same.
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
    """Field name, type and declaration of each option of a spec class, by cfg key."""
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
    """The fields whose default is computed from others."""
    return [name for name, value in _defaults(spec, dialect).items() if callable(value)]


@functools.cache
def _required(spec: type) -> list[str]:
    """The keys that a section has to have."""
    return [key for key, (_, _, info) in option_table(spec).items() if info.required]


@functools.cache
def keys_only_of(spec: type, dialect: Dialect, *, training: bool) -> frozenset[str]:
    """The keys that one dialect alone reads, and that tell it.

    Args:
        spec: class of the section.
        dialect: that reads them.
        training: whether those that have no influence on inference, or the others.
    """
    return frozenset(
        key
        for key, (_, _, info) in option_table(spec).items()
        if info.only == dialect and info.training == training and info.tells_dialect
    )


class Notes:
    """What a user should know about a cfg that is odd but legal; told once for each kind."""

    LIMIT = 100
    """Kinds that are told; nobody reads more."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[tuple[str | None, str | None, str], list[Where]] = {}
        self._advice: dict[str, Callable[[], str]] = {}
        self._untold: list[Where] = []
        self.count = 0

    @property
    def is_full(self) -> bool:
        """Whether further kinds are only counted."""
        return len(self._found) >= self.LIMIT

    def add(self, where: Where, text: str, advice: Callable[[], str] | None = None) -> None:
        """Remember a finding.

        Args:
            where: its place.
            text: what was found.
            advice: gives what helps, or "", once the finding is told: it may take a while.
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
        """Remember a value that training cannot use, of an option that inference does not read.

        Args:
            error: what is wrong with it.
            reading: what C makes of it.
        """
        problem = f"expected {error.expected}, found {printable(shortened(str(error.found)))}"
        text = f"{problem}: read as {reading:.10g}, as in C; only training reads it"
        self.add(error.where, text)

    def found(self) -> list[str]:
        """Each finding with its first place and the number of further ones."""
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
        """Warn of each finding."""
        for text in self.found():
            logger.warning("%s", text)


class TrainingNotes(Notes):
    """Notes for a training, to which values that it cannot use are errors."""

    def __init__(self, *, obeys: bool) -> None:
        """Say whether the training does all that the cfg says; NaN and infinity serve none."""
        super().__init__()
        self.obeys = obeys

    def excuse(self, error: OptionError, reading: float) -> None:
        """Raise the error, unless the training can go on with what C reads."""
        if self.obeys or not math.isfinite(reading):
            raise error


def read_spec(
    spec: type[T], lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes
) -> T:
    """A spec, as `read_options` finds it: its `dialect` and the options are all of its fields.

    Raises:
        OptionError: as `read_options`.
    """
    values = read_options(spec, lines, dialect, where, notes)
    return spec(**{**values, "dialect": dialect})


def read_options(
    spec: type, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes
) -> dict[str, Any]:
    """Field values of a spec class from the lines of a section.

    Options that nobody reads are noted and left alone. So are values that C cannot mean, of
    options that only training reads.

    Raises:
        OptionError: a value that is no number where inference needs one, is out of bounds, or is
            missing where the layer cannot do without it.
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
    """Note options that have a second value, which Darknet does not read.

    Args:
        section: whose options are read.
        where: its place.
        notes: collects them.
    """
    for first, line in section.repeated():
        number = where.line and where.line + first.offset
        counts = f"{shortened(first.value or 'nothing')} of line {number} counts, as in C"
        value = shortened(line.value or "")
        notes.add(option_place(line, where), f"{value} is its second value: {counts}")


def option_place(line: Line, where: Where) -> Where:
    """The place of an option in a section at `where`; of one that was added the section's."""
    number = where.line and where.line + line.offset
    return dataclasses.replace(where, line=number, option=line.key)


def _without_sign(line: Line, table: Mapping[str, Field]) -> str:
    """What is said of a line without a `=`, such as `filters 32` or `filters: 32`."""
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
    """A `suggestion`; the same unknown option may stand in every section."""
    return suggestion(key, option_table(spec))


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


class _Reader:
    """Reads the values of a section's lines as C would."""

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
        """The number at the start counts, the rest does not, as for atoi and atof."""
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
        number = _value_of(match[0])  # exact for every whole number that C can hold
        if not (-INT_LIMIT - 1 <= number <= INT_LIMIT if kind is int else _is_float(number)):
            error = self._error(line, "a number that C can hold", text)
            number = _wrapped(match[0]) if kind is int else math.copysign(math.inf, number)
            self._pass_over(error, info, number)
        return kind(number)

    def _no_number(self, line: Line, text: str, kind: type, info: Option) -> Any:
        """What atoi and atof make of a text that begins with no finite number."""
        expected = "a whole number" if kind is int else "a number"
        match = _NOT_FINITE.match(text) if kind is float else None
        number = float(match[0]) if match else 0
        error = self._error(line, expected, text or "nothing")
        self._pass_over(error, info, number)
        return kind(number)

    def _pass_over(self, error: OptionError, info: Option, reading: float) -> None:
        """Go on after an error in an option that inference does not read."""
        if not info.training:
            raise error
        self.notes.excuse(error, reading)
        self._passed_over.add(error.where.option)

    def _note(self, line: Line, text: str) -> None:
        self.notes.add(option_place(line, self.where), text)

    def _error(self, line: Line, expected: str, found: str | None) -> OptionError:
        return OptionError(where=option_place(line, self.where), expected=expected, found=found)


def _value_of(text: str) -> float:
    """The number that a decimal or hexadecimal text says, infinite where it is beyond a double."""
    if "x" not in text.lower():
        return float(text)
    try:
        return float.fromhex(text)
    except OverflowError:
        return -math.inf if text[0] == "-" else math.inf


def _is_float(number: float) -> bool:
    """Return True if a number is finite in C's float."""
    return abs(number) < FLOAT_LIMIT


def _wrapped(text: str) -> int:
    """Return what atoi makes of a whole number beyond C's int.

    C leaves it open. The GNU library reads a long, as near as it can, and takes its lower 32 bits.
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
