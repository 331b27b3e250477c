"""The command line: `darkconv COMMAND ...`.

Each command lives in a module of its own, imported when it is called, so that help is quick.
"""

import contextlib
import errno
import importlib
import os
import signal
import sys
from typing import Any, NoReturn

import click

from darkconv import __version__
from darkconv.console.allocator import keep_freed_memory
from darkconv.console.groups import SuggestingGroup
from darkconv.console.printing import echo_lines, printable_usage, write_out_what_streams_lack
from darkconv.errors import LONGEST_FINDING, DarkconvError, printable, shortened
from darkconv.files import no_room
from darkconv.files.notice import telling_once
from darkconv.files.signals import Ended, ending_in_order
from darkconv.files.sources import watching_sources
from darkconv.libraries import telling_missing, too_old

TASKS = {
    "Convert": {
        "info": "Show the layers of a network: shapes, parameters, cost.",
        "convert": "Write a model as ONNX, Keras, LiteRT, PyTorch or Darknet files.",
        "verify": "Compare the layers of a model between frameworks.",
        "fetch": "Download a well-known model.",
    },
    "Use and measure": {
        "detect": "Find objects in pictures and draw boxes.",
        "eval": "Measure how well a model finds what is labelled.",
    },
    "Make smaller": {
        "reclass": "Make a model for some of its classes.",
        "dissect": "Keep some classes, and the channels that they need.",
        "profile": "Measure what channels do on pictures.",
        "prune": "Remove channels that matter least.",
    },
    "Train": {
        "finetune": "Train a model with labels, or from the model it was cut from.",
        "graft": "Put one network's layers into another.",
        "data": "Look at a data set.",
        "anchors": "Find anchors for a data set.",
    },
    "And": {
        "weights": "Fold, average, cut and compare weights files.",
        "demo": "Show the main job on the bundled model.",
        "completion": "Let the shell complete commands and options.",
    },
}
"""Name and short help of every command, by task; the module has the command's name."""
COMMANDS = {name: text for commands in TASKS.values() for name, text in commands.items()}


UNPRINTED = "standard output: cannot write: {}"


class LazyGroup(SuggestingGroup):
    """Imports a command when it is needed, and turns errors into one message and status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, by task."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"darkconv.cli.{cmd_name}")
        commands = (value for value in vars(module).values() if isinstance(value, click.Command))
        return next(command for command in commands if command.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help text, without importing anything."""
        width = max(map(len, COMMANDS))
        for task, commands in TASKS.items():
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


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.version_option(__version__, "--version", message="darkconv %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Darknet models to PyTorch, Keras and ONNX and back, exactly; fewer classes, smaller files.

    A MODEL is two files, `net.cfg net.weights`, or one that darkconv has written, such as
    `net.safetensors`. Where no weights are needed, `net.cfg` alone or the name of a bundled
    network such as `yolov3` will do.
    """
    ctx.with_resource(telling_once())
    if ctx.invoked_subcommand is None:
        echo_lines(ctx.get_help())


if __name__ == "__main__":
    sys.exit(main())
