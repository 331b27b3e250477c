"""Define the commands of darkconv: how their words are read, and what they say at the end."""

import shlex
from typing import Any

import click

from darkconv.console.files import FilesCommand
from darkconv.console.pairs import join_pairs
from darkconv.console.suggestions import ARGUMENTS
from darkconv.loading.formats import CHECKPOINT_SUFFIXES
from darkconv.options.next_step import show_next
from darkconv.options.params import ModelType, OutputType


class ModelCommand(FilesCommand):
    """A command in which two words may follow `-o` and every option whose value is a model."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join `-o a.cfg b.weights` into one value, which click cannot do."""
        ctx.meta[ARGUMENTS] = tuple(args)
        kinds = {OutputType: (".weights",), ModelType: (".weights", *CHECKPOINT_SUFFIXES)}
        seconds = {n: ends for p in self.get_params(ctx) for kind, ends in kinds.items()
                   if isinstance(p.type, kind) for n in p.opts}  # fmt: skip
        return super().parse_args(ctx, join_pairs(args, seconds))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and say which one usually follows."""
        result = super().invoke(ctx)
        show_next(ctx)
        return result


def command_line(*, without: str, more: str) -> str:
    """Return the running command as a shell takes it, without one flag and with another.

    Args:
        without: the flag to leave out.
        more: the flag to add at the end.
    """
    context = click.get_current_context()
    words = [word for word in context.meta[ARGUMENTS] if word not in (without, more)]
    return shlex.join([*context.command_path.split(), *words, more])
