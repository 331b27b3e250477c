"""Define what the commands share: MODEL, -o, and the options of reading models."""

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from darkconv.console.files import InputFile, ReadType, WrittenType
from darkconv.console.messages import common_options
from darkconv.console.options import titled
from darkconv.console.pairs import JOINT
from darkconv.console.values import SizeType
from darkconv.darknet.bundled import bundled_names
from darkconv.files.outputs import note_folder, note_input, note_output
from darkconv.loading.formats import (
    CHECKPOINT_SUFFIXES,
    DARKNET_SUFFIXES,
    EXPORTED_SUFFIXES,
    PICKLE_SUFFIXES,
    RUNNABLE_SUFFIXES,
    SAVED_MODEL_SUFFIX,
)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class OutputFiles:
    """The output of a command: one file, or a cfg and its weights."""

    path: Path
    weights: Path | None = None

    @property
    def suffix(self) -> str:
        """Return the suffix that says the format: `.onnx`."""
        return self.path.suffix.lower()

    def __str__(self) -> str:
        """Return the words as on the command line."""
        return f"{self.path} {self.weights}" if self.weights else str(self.path)


class OutputType(WrittenType):
    """An output of one word, or of two if the first ends in .cfg and the second in .weights."""

    name = "file"

    def note(self, value: OutputFiles) -> None:
        """Register the files: see `WrittenType.note`."""
        is_kit = click.get_current_context().params.get("kit")
        if is_kit or value.suffix == SAVED_MODEL_SUFFIX:
            note_folder(value.path)
        else:
            note_output(value.path)
        if value.weights:
            note_output(value.weights)

    def convert(
        self, value: str | OutputFiles, param: click.Parameter | None, ctx: click.Context | None
    ) -> OutputFiles:
        """Split the words that `ModelCommand` joined."""
        if isinstance(value, OutputFiles):
            return value
        if not value:
            self.fail("an empty word names no file", param, ctx)
        first, _, second = value.partition(JOINT)
        if second:
            return OutputFiles(Path(first), Path(second))
        if first.endswith(DARKNET_SUFFIXES):
            self.fail("Darknet's format is two files: -o OUT.cfg OUT.weights", param, ctx)
        return OutputFiles(Path(first))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete file names."""
        return [CompletionItem(incomplete, type="file")]


output_option = click.option(
    "-o",
    "--output",
    "outputs",
    type=OutputType(),
    multiple=True,
    metavar="OUT",
    help="File to write; its suffix chooses the format. For Darknet files give both: OUT.cfg "
    "OUT.weights.",
)


READING = "Reading the model"
"""Title of the options of a MODEL."""
nonfinite_option = click.option(
    "--allow-nonfinite",
    is_flag=True,
    help="Accept weights with NaN or infinity in them.",
)

nameless_reading_options = titled(
    READING,
    common_options,
    click.option(
        "--dialect",
        type=click.Choice(["auto", "pjreddie", "alexeyab", "yolor"]),
        default="auto",
        show_default=True,
        help="Whose program reads the files: pjreddie's (the original), AlexeyAB's or yolor.",
    ),
    click.option(
        "--input-size",
        type=SizeType(),
        metavar="WxH",
        help="Size of the network's input, in place of the cfg's.",
    ),
)
"""The options of `reading_options` without those about names."""
names_encoding_option = click.option(
    "--names-encoding",
    metavar="NAME",
    help="Encoding of names files that are not UTF-8, such as gbk or cp1251.",
)
reading_options = titled(
    READING,
    click.option("--names", type=InputFile(path_type=None), help="Class names, one per line."),
    names_encoding_option,
    nameless_reading_options,
)
"""Options of reading a MODEL, and the common options."""
model_options = titled(READING, reading_options, nonfinite_option)
"""Options of reading a MODEL whose arrays are used, and the common options."""
nameless_model_options = titled(READING, nameless_reading_options, nonfinite_option)
"""The options of `model_options` without those about names, which some commands do not use."""
READING_NAMES = ("names", "names_encoding", "dialect", "input_size", "allow_nonfinite")
"""Those of the parameters of `model_options` that `read_model` takes."""


@dataclass(frozen=True)
class ModelWords:
    """The words of a MODEL on the command line."""

    first: str
    weights: str | None = None

    @property
    def suffix(self) -> str:
        """Return the suffix of the first word: `.onnx`."""
        return Path(self.first).suffix.lower()

    @property
    def is_exported(self) -> bool:
        """Return True if it is one file that darkconv has written."""
        return self.suffix in EXPORTED_SUFFIXES

    @property
    def is_runnable(self) -> bool:
        """Return True if it can be run, but not read back."""
        return self.suffix in RUNNABLE_SUFFIXES

    @property
    def is_pickle(self) -> bool:
        """Return True if it is one file that must not be read."""
        return self.suffix in PICKLE_SUFFIXES


class Word(ReadType):
    """A file, the name of a bundled network, or another source."""

    name = "file"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word as it is."""
        if not value:
            self.fail("an empty word names no file", param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete file names, or names of bundled networks where no file fits."""
        if incomplete and not glob.glob(f"{glob.escape(incomplete)}*"):
            found = [name for name in bundled_names() if name.startswith(incomplete)]
            if found:
                return [CompletionItem(name) for name in found]
        return [CompletionItem(incomplete, type="file")]


def words_argument(metavar: str = "MODEL") -> Callable[[F], F]:
    """Return the argument for files and names of bundled networks.

    Args:
        metavar: name of the argument in the help text.
    """
    return click.argument("words", nargs=-1, metavar=metavar, type=Word())


class ModelType(ReadType):
    """The type of an option whose value is a MODEL: two words, or one exported file."""

    name = "model"

    def note(self, value: ModelWords) -> None:
        """Register the files: see `ReadType.note`."""
        for word in (value.first, value.weights):
            if word:
                note_input(word)

    def convert(
        self, value: str | ModelWords, param: click.Parameter | None, ctx: click.Context | None
    ) -> ModelWords:
        """Split the words that `ModelCommand` joined."""
        if isinstance(value, ModelWords):
            return value
        first, _, second = value.partition(JOINT)
        return ModelWords(first, second or None)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete file names."""
        return [CompletionItem(incomplete, type="file")]


def split_model(words: Sequence[str]) -> tuple[ModelWords, list[str]]:
    """Split a command's words into the MODEL at their start and the words after it.

    Args:
        words: the words as the user gave them.

    Raises:
        UsageError: there is no word.
    """
    if not words:
        raise click.UsageError("Missing argument 'MODEL': net.cfg net.weights")
    model = ModelWords(words[0])
    is_alone = model.is_exported or model.is_pickle or model.suffix in CHECKPOINT_SUFFIXES
    if is_alone or len(words) == 1:
        return model, list(words[1:])
    return ModelWords(words[0], words[1]), list(words[2:])


def only_model(words: Sequence[str]) -> ModelWords:
    """Return the MODEL of a command that takes nothing else.

    Args:
        words: the words as the user gave them.

    Raises:
        UsageError: another word follows the MODEL.
    """
    model, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    return model
