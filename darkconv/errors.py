"""Define every exception that darkconv raises, and the place in a file that it names.

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
"""The most characters of a finding that a message repeats."""
LONGEST_MESSAGE = 500
"""The most characters of a message or an expectation, which may repeat another library's words."""


def shortened(text: str, limit: int = 60) -> str:
    """Return the start of a text that a message repeats, with "..." where something was cut.

    Args:
        text: the text.
        limit: the most characters that are kept.
    """
    return text if len(text) <= limit else text[:limit] + "..."


def followed(text: object, what: str) -> str:
    """Return the text of an error with words added to its first line, in front of the hint.

    Args:
        text: the error, or its text.
        what: words to add, such as ": left out".
    """
    first, *rest = str(text).split("\n", 1)
    return "\n".join([f"{first}{what}", *rest])


def printable(text: str) -> str:
    r"""Return a text with control characters and unencodable bytes written out, as `\x1b`.

    Line breaks are kept.

    Args:
        text: the text.
    """
    if all(line.isprintable() for line in text.split("\n")):
        return text
    return "".join(c if c.isprintable() or c == "\n" else _written_out(c) for c in text)


def one_line(text: str) -> str:
    """Return a text in which line breaks are written out too: see `printable`.

    Args:
        text: the text.
    """
    return printable(text).replace("\n", "\\n")


def _written_out(character: str) -> str:
    r"""Return a control character, or a byte kept by surrogateescape, as `\x1b`."""
    code = ord(character)
    code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place in the user's files; any part may be unknown.

    `line` counts from 1. `layer` counts from 0, which is the layer after [net].

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
        """Return the known parts, such as `yolov4-tiny.cfg:227: layer 30 [yolo] mask`."""
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
        """Return this place, with its unknown parts filled from a wider one.

        Args:
            outer: the wider place, such as the file.
        """
        known = {name: value for name, value in vars(self).items() if value is not None}
        return replace(outer, **known)


class DarkconvError(Exception):
    """Base class of all errors that a user's input can cause.

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
            message: description of what is wrong.
            where: the place in the user's files; None where it is unknown.
            expected: the value that should stand there.
            found: the value that stands there.
            hint: advice to the user.
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
        """Fill the unknown parts of the error's place, and return the same error.

        Args:
            where: the wider place, such as the file.

        Returns:
            The same error.
        """
        self.where = self.where.inside(where)
        return self

    @property
    def told(self) -> str:
        """Return the message, the expectation and the finding, without the place."""
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
        """Return place and message, and the hint on a line of its own."""
        text = ": ".join(part for part in (str(self.where), self.told) if part)
        others = (shortened(one_line(line), LONGEST_FINDING) for line in self.details)
        hint = [f"hint: {printable(self.hint)}"] if self.hint else []
        return "\n  ".join([text, *others, *hint])


def _shown(value: object, limit: int) -> str | None:
    return None if value is None else shortened(one_line(str(value)), limit)


class CfgError(DarkconvError):
    """Raised where the text of a cfg cannot be read."""


class UnknownSectionError(CfgError):
    """Raised for a section type that Darknet, or the dialect in use, does not know."""


class OptionError(CfgError):
    """Raised for an option whose value cannot be used."""


class GraphError(DarkconvError):
    """Raised for a source layer that does not exist, or shapes that do not fit together."""


class WeightsError(DarkconvError):
    """Raised for a file that is no weights file, or not this network's."""


class UnsupportedError(DarkconvError):
    """Raised where a backend cannot express a layer or an option exactly."""


class PlanError(DarkconvError):
    """Raised for a surgery plan or a class list that does not fit the model."""


class DatasetError(DarkconvError):
    """Raised for a picture, label, names or data file that cannot be used."""


class MissingDependencyError(DarkconvError, ModuleNotFoundError):
    """Raised where a library is not installed, or too old."""

    def __init__(
        self,
        library: str,
        *,
        extra: str | None,
        task: str,
        installed: str | None = None,
        minimum: str | None = None,
    ) -> None:
        """Name the library, the task that needs it, and the pip command that installs it.

        Args:
            library: name of the library in import statements.
            extra: darkconv's extra that installs it; None if it is installed by itself.
            task: the task that needs it.
            installed: the version that is too old; None if the library is not installed.
            minimum: the first version that works.
        """
        super().__init__(
            f"{library} {installed} is installed; {task} needs {minimum} or later"
            if installed
            else f"{task} needs {library}, which is not installed",
            hint=f"pip install 'darkconv[{extra}]'" if extra else f"pip install {library}",
        )
        self.name = library
