"""Run a program of several commands: handle its errors, signals and streams."""

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


class ProgramGroup(SuggestingGroup):
    """A group that imports commands when they are needed, and turns errors into one message."""

    def __init__(
        self, *args: Any, tasks: Mapping[str, Mapping[str, str]], package: str, **attributes: Any
    ) -> None:
        """Keep the table of commands.

        Args:
            args: arguments of click's groups.
            tasks: name and short help of every command, by task.
            package: name of the package that has a module for each command.
            attributes: keyword arguments of click's groups.
        """
        super().__init__(*args, **attributes)
        self._tasks = tasks
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, by task."""
        return [name for commands in self._tasks.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module, and return the command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{self._package}.{cmd_name}")
        commands = (value for value in vars(module).values() if isinstance(value, click.Command))
        return next(command for command in commands if command.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands in the help text, without importing them.

        Args:
            ctx: context of the program.
            formatter: receives the list.
        """
        width = max(map(len, self.list_commands(ctx)))
        for task, commands in self._tasks.items():
            with formatter.section(task):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line, after preparing the streams."""
        write_out_what_streams_lack()
        return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """Read the arguments in front of the command."""
        try:
            with printable_usage():
                return super().make_context(*args, **options)
        except OSError as error:  # --help and --version have printed
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
            with contextlib.suppress(OSError):  # the terminal may be closed
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
    """Check that the working folder exists: without it PyTorch would end the process.

    Raises:
        DarkconvError: it was removed.
    """
    try:
        os.getcwd()
    except OSError as error:
        hint = "cd to another folder, and run it again"
        raise DarkconvError("the working folder is gone", hint=hint) from error


FAULTS: tuple[type[Exception], ...] = (Exception,)
"""Other errors that become one line; tests narrow this, so that faults of darkconv show."""


def refusal(error: OSError) -> str:
    """Return a line that says what the system refused.

    Args:
        error: the system's error.
    """
    file = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "the system"
    return f"{printable(file)}: {error.strerror or error}"


def apology(error: Exception) -> str:
    """Return the message for an error that darkconv should have explained better.

    Args:
        error: the error.
    """
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
    """Print an error, and end with status 1.

    Args:
        ctx: context of the command.
        text: the message.

    Raises:
        Exit: always.
    """
    echo_lines(text, err=True, label="error:", color="red")
    ctx.exit(1)


def give_up_stdout() -> None:
    """Send stdout to the null device, so that Python does not try again to print at its end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
