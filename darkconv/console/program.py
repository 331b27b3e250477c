"""A program of several commands: what it does with errors, signals and its streams."""

import contextlib
import errno
import importlib
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from darkconv.console.allocator import keep_freed_memory
from darkconv.console.groups import SuggestingGroup
from darkconv.console.printing import echo_lines, printable_usage, write_out_what_streams_lack
from darkconv.errors import LONGEST_FINDING, DarkconvError, printable, shortened
from darkconv.files import no_room
from darkconv.files.signals import Ended, ending_in_order
from darkconv.files.sources import watching_sources
from darkconv.libraries import telling_missing, too_old

UNPRINTED = "standard output: cannot write: {}"


class Program(SuggestingGroup):
    """Imports a command when it is needed, and turns errors into one message and status 1."""

    def __init__(
        self, *args: Any, tasks: Mapping[str, Mapping[str, str]], package: str, **attributes: Any
    ) -> None:
        """Take the commands.

        Args:
            args: of click's groups.
            tasks: name and short help of every command, by task.
            package: that has a module of each command's name.
            attributes: of click's groups.
        """
        super().__init__(*args, **attributes)
        self._tasks = tasks
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, by task."""
        return [name for commands in self._tasks.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{self._package}.{cmd_name}")
        commands = (value for value in vars(module).values() if isinstance(value, click.Command))
        return next(command for command in commands if command.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help text, without importing anything."""
        width = max(map(len, self.list_commands(ctx)))
        for task, commands in self._tasks.items():
            with formatter.section(task):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line, whatever its streams can show."""
        write_out_what_streams_lack()
        return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the words before the command."""
        try:
            with printable_usage():
                return super().make_context(*args, **options)
        except OSError as error:  # of --help and --version
            reason = no_room(error)
            if reason is None or error.errno == errno.EPIPE:
                raise
            give_up_stdout()
            echo_lines(UNPRINTED.format(reason), err=True, label="error:", color="red")
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; errors of the user's input go to stderr."""
        try:
            if not {"-h", "--help"} & set(ctx.args):
                check_working_folder()
                keep_freed_memory()
            missing = telling_missing("this command")
            with ending_in_order(), watching_sources(), printable_usage(), missing:
                return super().invoke(ctx)
        except Ended as end:
            with contextlib.suppress(OSError):  # the terminal may be gone
                echo_lines(f"ended by {signal.Signals(end.number).name}", err=True)
            raise
        except DarkconvError as error:
            if ctx.meta.get("darkconv.debug"):
                raise
            fail(ctx, str(error))
        except OSError as error:
            reason = no_room(error)
            if error.errno == errno.EPIPE or ctx.meta.get("darkconv.debug"):
                raise
            if reason and error.filename is None:
                give_up_stdout()
                fail(ctx, UNPRINTED.format(reason))
            fail(ctx, refusal(error))
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except FAULTS as error:
            if ctx.meta.get("darkconv.debug"):
                raise
            fail(ctx, apology(error))


def check_working_folder() -> None:
    """Raise a DarkconvError where the working folder was removed: PyTorch would end the process."""
    try:
        os.getcwd()
    except OSError as error:
        hint = "cd to another folder, and run it again"
        raise DarkconvError("the working folder is gone", hint=hint) from error


FAULTS: tuple[type[Exception], ...] = (Exception,)
"""What else can end a command and becomes a line; tests let faults of darkconv through."""


def refusal(error: OSError) -> str:
    """Return what the system refused, in a line."""
    file = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "the system"
    return f"{printable(file)}: {error.strerror or error}"


def apology(error: Exception) -> str:
    """Return the line for an error that darkconv should have told better."""
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    what = shortened(printable(" ".join(str(error).split())), LONGEST_FINDING)
    return "\n  hint: ".join(
        [
            f"this should not happen: {type(error).__name__}: {what}",
            *too_old(),
            "--debug shows where; please report it with the files that led to it",
        ]
    )


def fail(ctx: click.Context, text: str) -> NoReturn:
    """Tell what is wrong, and end with status 1."""
    echo_lines(text, err=True, label="error:", color="red")
    ctx.exit(1)


def give_up_stdout() -> None:
    """Let what could not be printed go, or Python would try again at its end, and complain."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
