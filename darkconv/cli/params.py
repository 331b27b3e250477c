"""What the commands share: MODEL, -o, verbosity."""

import contextlib
import glob
import logging
import math
import platform
import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from darkconv import __version__
from darkconv.cli.file_types import InputFile, OutputFile, ReadType, WrittenType
from darkconv.cli.printing import echo_lines
from darkconv.files.outputs import guarding_files, note_folder, note_input, note_output
from darkconv.loading.formats import (
    DARKNET_SUFFIXES,
    EXPORTED_SUFFIXES,
    PICKLE_SUFFIXES,
    RUNNABLE_SUFFIXES,
    SAVED_MODEL_SUFFIX,
)
from darkconv.logs import NOTE
from darkconv.zoo.bundled import bundled_names

F = TypeVar("F", bound=Callable[..., Any])

logger = logging.getLogger("darkconv")

LIBRARIES = ("numpy", "torch", "onnx", "onnxruntime", "keras", "tensorflow-cpu", "tensorflow")
"""Whose versions `--verbose` says, where they are installed."""

OVERWRITE, ARGUMENTS = "darkconv.overwrite", "darkconv.arguments"
"""What the context of a command knows: the option, and all words behind the command's name."""
OVERWRITE_HELP = "Replace files that the command reads, or that others have made."
_JOINT = "\0"  # between the two words of an output; no file name can hold it


@dataclass(frozen=True)
class Output:
    """Where a result goes: one file, or a cfg and its weights."""

    path: Path
    weights: Path | None = None

    @property
    def suffix(self) -> str:
        """Says the format: `.onnx`."""
        return self.path.suffix.lower()

    def __str__(self) -> str:
        """As on the command line."""
        return f"{self.path} {self.weights}" if self.weights else str(self.path)


class OutputType(WrittenType):
    """One word, or two if the first ends in .cfg and the second in .weights."""

    name = "file"

    def note(self, value: Output) -> None:
        """See `WrittenType`."""
        if value.suffix == SAVED_MODEL_SUFFIX:
            note_folder(value.path)
        else:
            note_output(value.path)
        if value.weights:
            note_output(value.weights)

    def convert(
        self, value: str | Output, param: click.Parameter | None, ctx: click.Context | None
    ) -> Output:
        """Split what `ModelCommand` has joined."""
        if isinstance(value, Output):
            return value
        if not value:
            self.fail("an empty word names no file", param, ctx)
        first, _, second = value.partition(_JOINT)
        if second:
            return Output(Path(first), Path(second))
        if first.endswith(DARKNET_SUFFIXES):
            self.fail("Darknet's format is two files: -o OUT.cfg OUT.weights", param, ctx)
        return Output(Path(first))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Files."""
        return [CompletionItem(incomplete, type="file")]


def overwrite_option(*more: str, help: str = OVERWRITE_HELP) -> Callable[[F], F]:
    """--overwrite, also under other names; `darkconv.files.outputs.may_overwrite` tells of it."""

    def keep(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[OVERWRITE] = value

    return click.option(
        "--overwrite", *more, is_flag=True, expose_value=False, callback=keep, help=help
    )


class ModelCommand(click.Command):
    """A command whose files are held against each other before it runs.

    `-o`, and every option that is a model, may be followed by two words.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        """Add `--overwrite` to a command that writes."""
        super().__init__(*args, **attributes)
        types = [param.type for param in self.params]
        has_use = any(isinstance(one, WrittenType) and one.has_overwrite for one in types)
        if has_use and not any("--overwrite" in param.opts for param in self.params):
            overwrite_option()(self)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, its files known."""
        with guarding_files(overwrite=ctx.meta.get(OVERWRITE, False)):
            for kind in (ReadType, WrittenType):
                for param in self.get_params(ctx):
                    if isinstance(param.type, kind):
                        for value in values_of(param, ctx.params.get(param.name or "")):
                            param.type.note(value)
            return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join `-o a.cfg b.weights` into one value, which click could not do."""
        ctx.meta[ARGUMENTS] = tuple(args)
        pairs = (OutputType, ModelType)
        names = [name for p in self.get_params(ctx) if isinstance(p.type, pairs) for name in p.opts]
        joined = join_pairs(args, names)
        self._refuse_repetitions(ctx, joined)
        return super().parse_args(ctx, joined)

    def _refuse_repetitions(self, ctx: click.Context, args: list[str]) -> None:
        """Raise a usage error for an option with a value that is given twice: one would be lost."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for param, count in Counter(given).items():
            if count == 1 or not isinstance(param, click.Option) or param.multiple or param.count:
                continue
            if not param.is_flag or param.secondary_opts:
                name = max(param.opts, key=len)
                text = f"Option {name!r} takes one value, and is given {count} times."
                raise click.UsageError(text, ctx)


def command_line(*, without: str, more: str) -> str:
    """The command that is running, as a shell takes it, without one flag and with another."""
    context = click.get_current_context()
    words = [word for word in context.meta[ARGUMENTS] if word not in (without, more)]
    return shlex.join([*context.command_path.split(), *words, more])


def values_of(param: click.Parameter, value: Any) -> Iterable[Any]:
    """The values of an option, which may be given several times, or not at all."""
    if value is None:
        return ()
    return value if param.multiple or param.nargs != 1 else (value,)


def join_pairs(args: Sequence[str], options: Sequence[str]) -> list[str]:
    """The arguments, both words of each Darknet model behind some options in one."""
    joined: list[str] = []
    rest = list(args)
    starts = tuple(f"{name}=" if name.startswith("--") else name for name in options)
    while rest:
        word = rest.pop(0)
        if word in options and rest:
            joined.append(word)
            word = rest.pop(0)
        elif not word.startswith(starts) or (word.startswith("--") and "=" not in word):
            joined.append(word)
            continue
        if word.endswith(".cfg") and rest and rest[0].endswith(".weights"):
            word += _JOINT + rest.pop(0)
        joined.append(word)
    return joined


output_option = click.option(
    "-o",
    "--output",
    "outputs",
    type=OutputType(),
    multiple=True,
    metavar="OUT",
    help="File to write; its suffix says the format. Darknet's is OUT.cfg OUT.weights.",
)


def report_option(what: str) -> Callable[[F], F]:
    """--report FILE, given to the command as `report`; `what` is for the help text."""
    return click.option(
        "--report",
        type=OutputFile(),
        metavar="FILE",
        help=f"Write an HTML report too: {what}.",
    )


def common_options(command: F) -> F:
    """-q, -v and --debug."""
    options = (
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            help="No warnings.",
            expose_value=False,
            callback=_set_level(logging.ERROR),
        ),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            help="Say more: versions, and how files are read.",
            expose_value=False,
            callback=_set_level(logging.INFO),
        ),
        click.option(
            "--debug",
            is_flag=True,
            help="Show tracebacks.",
            expose_value=False,
            callback=_set_debug,
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


nonfinite_option = click.option(
    "--allow-nonfinite",
    is_flag=True,
    help="Use weights that hold NaN or infinity all the same.",
)


def model_options(command: F) -> F:
    """Add how to read a MODEL whose arrays are used, and the common options."""
    return reading_options(nonfinite_option(command))


READING_NAMES = ("names", "names_encoding", "dialect", "input_size", "allow_nonfinite")
"""Of the parameters that `model_options` adds, which `read_model` takes."""


def nameless_model_options(command: F) -> F:
    """Add what `model_options` adds, but for the names, of which some commands make no use."""
    return nameless_reading_options(nonfinite_option(command))


def reading_options(command: F) -> F:
    """Add how to read a MODEL, and the common options."""
    encoding = click.option(
        "--names-encoding",
        metavar="NAME",
        help="Of names files that are not UTF-8, such as gbk or cp1251.",
    )
    path = InputFile(path_type=None)
    names = click.option("--names", type=path, help="Class names, one per line.")
    return names(encoding(nameless_reading_options(command)))


def nameless_reading_options(command: F) -> F:
    """Add what `reading_options` adds, but for the names."""
    options = (
        click.option(
            "--dialect",
            type=click.Choice(["auto", "pjreddie", "alexeyab", "yolor"]),
            default="auto",
            show_default=True,
            help="Whose rules the files follow.",
        ),
        click.option(
            "--input-size",
            type=SizeType(),
            metavar="WxH",
            help="Picture size in place of the cfg's own.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return common_options(command)


def is_number(text: str) -> bool:
    """Whether a text is a whole number, of no more digits than C can hold."""
    return text.isdecimal() and len(text) < 10


class NumberType(click.FloatRange):
    """A finite number within bounds; NaN, which is outside of none of them, is refused."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


SHARE = NumberType(0, 1)
"""Of thresholds of scores and overlaps."""


class SizeType(click.ParamType):  # type: ignore[type-arg]
    """`416x320`: width and height."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Two positive numbers."""
        if isinstance(value, tuple):
            return value
        width, _, height = value.lower().partition("x")
        if not (is_number(width) and is_number(height) and int(width) and int(height)):
            self.fail(f"{value!r} is not a size such as 416x416", param, ctx)
        return int(width), int(height)


class MessageHandler(logging.Handler):
    """Warnings as plain lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        label = "" if record.levelno < logging.WARNING else "warning:"
        echo_lines(record.getMessage(), err=True, label=label, color="yellow")


def show_messages(ctx: click.Context) -> None:
    """Send darkconv's log to stderr until the command ends."""
    logger = logging.getLogger("darkconv")
    before = logger.handlers, logger.propagate, logger.level

    def restore() -> None:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])

    logger.handlers = [MessageHandler()]
    logger.setLevel(NOTE)
    logger.propagate = False
    # what matters of a picture is told by darkconv; Pillow's own remarks are Python's warnings
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    ctx.call_on_close(restore)


def _set_level(level: int) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if not ctx.meta.get("darkconv.shows_messages"):
            show_messages(ctx)
            ctx.meta["darkconv.shows_messages"] = True
        if not value:
            return
        if ctx.meta.setdefault("darkconv.level", level) != level:
            raise click.UsageError("-q and -v exclude each other")
        logging.getLogger("darkconv").setLevel(level)
        if level == logging.INFO:
            logger.info("%s", versions())

    return callback


def versions() -> str:
    """Return which darkconv runs on which Python, with the versions of the libraries it uses."""
    from importlib.metadata import PackageNotFoundError, version

    found = [f"darkconv {__version__}", f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{library} {version(library)}")
    return ", ".join(found)


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta["darkconv.debug"] = value


@dataclass(frozen=True)
class ModelWords:
    """A MODEL as it stands on the command line."""

    first: str
    weights: str | None = None

    @property
    def suffix(self) -> str:
        """Of the first word: `.onnx`."""
        return Path(self.first).suffix.lower()

    @property
    def is_exported(self) -> bool:
        """Whether it is one file that darkconv has written."""
        return self.suffix in EXPORTED_SUFFIXES

    @property
    def is_runnable(self) -> bool:
        """Whether it can be run, but not read back."""
        return self.suffix in RUNNABLE_SUFFIXES

    @property
    def is_pickle(self) -> bool:
        """Whether it is one file that must not be read."""
        return self.suffix in PICKLE_SUFFIXES


class Word(ReadType):
    """A file, the name of a bundled network, or another source."""

    name = "file"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it is."""
        if not value:
            self.fail("an empty word names no file", param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Files; where none is meant, bundled networks."""
        if incomplete and not glob.glob(f"{glob.escape(incomplete)}*"):
            found = [name for name in bundled_names() if name.startswith(incomplete)]
            if found:
                return [CompletionItem(name) for name in found]
        return [CompletionItem(incomplete, type="file")]


def words_argument(metavar: str = "MODEL") -> Callable[[F], F]:
    """The words of a command: files, and names of bundled networks."""
    return click.argument("words", nargs=-1, metavar=metavar, type=Word())


class ModelType(ReadType):
    """A MODEL as the value of an option: two words, or one exported file."""

    name = "model"

    def note(self, value: ModelWords) -> None:
        """See `ReadType`."""
        for word in (value.first, value.weights):
            if word:
                note_input(word)

    def convert(
        self, value: str | ModelWords, param: click.Parameter | None, ctx: click.Context | None
    ) -> ModelWords:
        """Split what `ModelCommand` has joined."""
        if isinstance(value, ModelWords):
            return value
        first, _, second = value.partition(_JOINT)
        return ModelWords(first, second or None)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Files."""
        return [CompletionItem(incomplete, type="file")]


def split_model(words: Sequence[str]) -> tuple[ModelWords, list[str]]:
    """The MODEL at the start of a command's words, and the words behind it."""
    if not words:
        raise click.UsageError("Missing argument 'MODEL': net.cfg net.weights")
    model = ModelWords(words[0])
    if model.is_exported or model.is_pickle or len(words) == 1:
        return model, list(words[1:])
    return ModelWords(words[0], words[1]), list(words[2:])
