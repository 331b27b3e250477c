"""Register the files of a command: each option says by its type whether it reads or writes them.

Before a command runs, `FilesCommand` passes all of them to `darkconv.files.outputs`. It also gives
`--overwrite` to every command that has a use for it. A command passes on other files that it writes
with `note_output` itself, before it works.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from darkconv.console.options import options_by_title
from darkconv.console.renamed import option, tell_old_names
from darkconv.files.outputs import (
    guarding_files,
    note_folder,
    note_folder_use,
    note_input,
    note_output,
)

F = TypeVar("F", bound=Callable[..., Any])

OVERWRITE = "darkconv.overwrite"
"""Key of the option's value in the context of a command."""
OVERWRITE_HELP = "Also replace files that the command reads, or that darkconv did not write."


class ReadType(click.ParamType):  # type: ignore[type-arg]
    """The type of an option or argument that names files to read."""

    def note(self, value: Any) -> None:
        """Register the files that a value names as inputs.

        Args:
            value: the path that the user gave.
        """
        note_input(value)


class WrittenType(click.ParamType):  # type: ignore[type-arg]
    """The type of an option that names files to write.

    Attributes:
        has_overwrite: True if `--overwrite` has a meaning for the option.
    """

    has_overwrite = True

    def note(self, value: Any) -> None:
        """Register the files that a value names as outputs, and check that they can be written.

        Args:
            value: the path that the user gave.

        Raises:
            DarkconvError: a file is in the way, or cannot be written.
        """
        raise NotImplementedError


class InputFile(click.Path, ReadType):
    """A file to read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"path_type": Path, **options})


class OutputFile(click.Path, WrittenType):
    """A file to write."""

    def __init__(self, *, over_inputs: bool = False) -> None:
        """Set whether `--overwrite` lets the file replace one that the command reads."""
        super().__init__(dir_okay=False, path_type=Path)
        self.has_overwrite = over_inputs

    def note(self, value: Path) -> None:
        """Register the file: see `WrittenType.note`."""
        note_output(value, over_inputs=self.has_overwrite)


class ReplacedFolder(click.Path, WrittenType):
    """A folder that is made, or replaced as a whole."""

    has_overwrite = False

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def note(self, value: Path) -> None:
        """Register the folder: see `WrittenType.note`."""
        note_folder(value)


class OutputFolder(click.Path, WrittenType):
    """A folder for files that the command registers itself; or, if allowed, one file."""

    def __init__(self, *, file_okay: bool = False) -> None:
        super().__init__(file_okay=file_okay, path_type=Path)

    def note(self, value: Path) -> None:
        """Register the folder: see `WrittenType.note`."""
        if not self.file_okay:
            note_folder_use(value)


def overwrite_option(was: str | None = None, help: str = OVERWRITE_HELP) -> Callable[[F], F]:
    """Return a decorator that adds `--overwrite`, which `files.outputs.may_overwrite` reads.

    Args:
        was: an old name of the option; None for none.
        help: its help text.
    """

    def keep(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[OVERWRITE] = value

    return option(
        "--overwrite",
        was=was,
        is_flag=True,
        expose_value=False,
        callback=keep,
        help=help,
    )


def report_option(what: str, was: str | None = None) -> Callable[[F], F]:
    """Return the option --report FILE, given to the command as `report`.

    Args:
        what: is in the report, for the help text.
        was: an old name of the option.
    """
    return option(
        "--report",
        was=was,
        type=OutputFile(),
        metavar="FILE",
        help=f"Write an HTML report too: {what}.",
    )


class FilesCommand(click.Command):
    """A command whose files are checked against each other before it runs."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        """Add `--overwrite` to a command that writes files."""
        super().__init__(*args, **attributes)
        types = [param.type for param in self.params]
        has_use = any(isinstance(one, WrittenType) and one.has_overwrite for one in types)
        if has_use and not any("--overwrite" in param.opts for param in self.params):
            overwrite_option()(self)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options by their titles."""
        for title, records in options_by_title(self, ctx).items():
            with formatter.section(title):
                formatter.write_dl(records)

    def _has_outputs(self, ctx: click.Context) -> bool:
        """Return True if files are written that `--overwrite` has a meaning for."""
        return any(
            ctx.params.get(param.name or "")
            for param in self.get_params(ctx)
            if isinstance(param.type, WrittenType) and param.type.has_overwrite
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Register the files of the command, run it, and print the command that usually follows."""
        tell_old_names(ctx)
        if ctx.meta.get(OVERWRITE) and not self._has_outputs(ctx):
            raise click.UsageError("--overwrite would do nothing: nothing is written", ctx)
        with guarding_files(overwrite=ctx.meta.get(OVERWRITE, False)):
            for kind in (ReadType, WrittenType):
                for param in self.get_params(ctx):
                    if isinstance(param.type, kind):
                        for value in values_of(param, ctx.params.get(param.name or "")):
                            param.type.note(value)
            return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, and refuse an option that is given twice."""
        self._refuse_repetitions(ctx, args)
        try:
            return super().parse_args(ctx, args)
        except BaseException:  # click closes only a context that it has returned
            ctx.close()
            raise

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


def values_of(param: click.Parameter, value: Any) -> Iterable[Any]:
    """Return the values of an option, which may be given several times, or not at all.

    Args:
        param: the option.
        value: its value as click gives it.
    """
    if value is None:
        return ()
    return value if param.multiple or param.nargs != 1 else (value,)
