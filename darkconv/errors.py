"""Every exception that darkconv raises, and the place in a file that it names.

DarkconvError
├── CfgError                 text of a cfg that cannot be read
│   ├── UnknownSectionError  a section type that no Darknet knows
│   └── OptionError          an option with an impossible value
├── GraphError               a source that does not exist, shapes that do not meet
├── WeightsError             header, size or array of a weights file
├── UnsupportedError         a backend cannot express this layer or option
├── PlanError                a plan or a class list that does not fit the model
├── DatasetError             pictures, labels, names and data files
└── MissingDependencyError   a library that is not installed or too old (also a
                             ModuleNotFoundError)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

LONGEST_FINDING = 200
"""Characters of what was found that a message repeats."""
LONGEST_MESSAGE = 500
"""Characters of what is wrong or expected, which may repeat another library's words."""


def shortened(text: str, limit: int = 60) -> str:
    """The start of a foreign text, as much as a message repeats of it."""
    return text if len(text) <= limit else text[:limit] + "..."


def followed(text: object, what: str) -> str:
    """The text of an error with what became of its object, in front of the hint."""
    first, *rest = str(text).split("\n", 1)
    return "\n".join([f"{first}{what}", *rest])


def printable(text: str) -> str:
    """A text without what a terminal would obey or cannot show; lines stay lines."""
    if all(line.isprintable() for line in text.split("\n")):
        return text
    return "".join(c if c.isprintable() or c == "\n" else _written_out(c) for c in text)


def one_line(text: str) -> str:
    """A text as `printable` gives it, line breaks written out too."""
    return printable(text).replace("\n", "\\n")


def _written_out(character: str) -> str:
    r"""A control character, or a byte that was no UTF-8 (see surrogateescape), as `\x1b`."""
    code = ord(character)
    code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place in the user's files: any part may be unknown.

    `line` counts from 1, `layer` as Darknet counts: 0 follows [net].

    Example:
        >>> import darkconv as dc
        >>> try:
        ...     dc.load("digits10.cfg", "digits10.names")
        ... except dc.DarkconvError as error:
        ...     error.where.file
        'digits10.names'
    """

    file: str | None = None
    line: int | None = None
    layer: int | None = None
    section: str | None = None
    option: str | None = None

    def __str__(self) -> str:
        """`yolov4-tiny.cfg:227: layer 30 [yolo] mask`, without the parts that are unknown."""
        file = self.file or ""
        if self.line is not None:
            file = f"{file or '<cfg>'}:{self.line}"
        words = [] if self.layer is None else [f"layer {self.layer}"]
        if self.section:
            words.append(f"[{shortened(one_line(self.section))}]")
        if self.option:
            words.append(shortened(one_line(self.option)))
        return one_line(": ".join(part for part in (file, " ".join(words)) if part))

    def inside(self, outer: "Where") -> "Where":
        """This place, its unknown parts filled from a wider one."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return replace(outer, **known)


class DarkconvError(Exception):
    """Base of all errors that a user's input can cause.

    The text is made from the parts: place, message, expectation, finding, hint.
    """

    def __init__(
        self,
        message: str = "",
        *,
        where: Where | None = None,
        expected: object = None,
        found: object = None,
        hint: str | None = None,
        details: Sequence[str] = (),
    ) -> None:
        """Keep the parts; `str()` joins them.

        Args:
            message: what is wrong.
            where: the place.
            expected: what should stand there.
            found: what stands there.
            hint: what to do about it.
            details: more lines, such as the errors that led to this one.
        """
        super().__init__(message)
        self.message = message
        self.where = where or Where()
        self.expected = expected
        self.found = found
        self.hint = hint
        self.details = tuple(details)

    def at(self, where: Where) -> "DarkconvError":
        """The same error object, its place completed from `where`."""
        self.where = self.where.inside(where)
        return self

    @property
    def told(self) -> str:
        """What is wrong, what was expected and what was found, without the place."""
        finding = ", ".join(
            f"{word} {text}"
            for word, text in (
                ("expected", _shown(self.expected, LONGEST_MESSAGE)),
                ("found", _shown(self.found, LONGEST_FINDING)),
            )
            if text is not None
        )
        message = shortened(one_line(self.message), LONGEST_MESSAGE)
        return ": ".join(part for part in (message, finding) if part)

    def __str__(self) -> str:
        """Place, what is wrong, and on a line of its own what to do about it."""
        text = ": ".join(part for part in (str(self.where), self.told) if part)
        others = (shortened(one_line(line), LONGEST_FINDING) for line in self.details)
        hint = [f"hint: {printable(self.hint)}"] if self.hint else []
        return "\n  ".join([text, *others, *hint])


def _shown(value: object, limit: int) -> str | None:
    return None if value is None else shortened(one_line(str(value)), limit)


class CfgError(DarkconvError):
    """The text of a cfg cannot be read."""


class UnknownSectionError(CfgError):
    """A section type that Darknet, or the dialect in use, does not know."""


class OptionError(CfgError):
    """An option whose value cannot be used."""


class GraphError(DarkconvError):
    """A source layer that does not exist, or shapes that do not meet."""


class WeightsError(DarkconvError):
    """A weights file that is not one, or not this network's."""


class UnsupportedError(DarkconvError):
    """A backend cannot express this layer or option exactly."""


class PlanError(DarkconvError):
    """A surgery plan or a class list that does not fit the model."""


class DatasetError(DarkconvError):
    """A picture, label, names or data file that cannot be used."""


class MissingDependencyError(DarkconvError, ModuleNotFoundError):
    """A library that is not installed, or too old."""

    def __init__(
        self,
        library: str,
        *,
        extra: str | None,
        task: str,
        installed: str | None = None,
        minimum: str | None = None,
    ) -> None:
        """Name the library, what needs it, and the pip command that brings it.

        Args:
            library: by the name that it is imported by.
            extra: of darkconv; without one the library is installed by itself.
            task: what needs it.
            installed: the version that is too old; None if there is none.
            minimum: the first version that will do.
        """
        super().__init__(
            f"{library} {installed} is installed; {task} needs {minimum} or later"
            if installed
            else f"{task} needs {library}, which is not installed",
            hint=f"pip install 'darkconv[{extra}]'" if extra else f"pip install {library}",
        )
        self.name = library
