"""Accept the old names of renamed options for one release, without listing them in the help."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
NOTES = "darkconv.renamed"
"""Key of the messages about old names in the context of a command."""

logger = logging.getLogger("darkconv")


class RenamedOption(click.Option):
    """An option that also goes by a name of an earlier release, which the help does not list."""

    def __init__(self, *args: Any, was: str | None = None, **attributes: Any) -> None:
        """Keep the old name.

        Args:
            args: arguments of click's options.
            was: the old name, as it is written: `--parts`; None for an option without one.
            attributes: keyword arguments of click's options.
        """
        super().__init__(*args, **attributes)
        self.was = was

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser read the old name as another option.

        Args:
            parser: click's parser of the command.
            ctx: context of the command.
        """
        super().add_to_parser(parser, ctx)
        if self.was is None:
            return
        name, self.name = self.name, self.was
        words, self.opts = self.opts, [self.was]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.name, self.opts = name, words

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Take the value of the old name where it was given.

        Args:
            ctx: context of the command.
            opts: values of the options that were given, by name.
            args: arguments that are left.

        Returns:
            The value, and the arguments that are left.

        Raises:
            click.UsageError: both names were given.
        """
        if self.was is not None and self.was in opts:
            usual = max(self.opts, key=len)
            if self.name in opts:
                raise click.UsageError(f"{self.was} is an old name of {usual}: give one of them")
            ctx.meta.setdefault(NOTES, []).append(
                f"{self.was} is called {usual} now; the old name goes with the next release"
            )
            opts = {**opts, str(self.name): opts[self.was]}
        return super().handle_parse_result(ctx, opts, args)


def tell_old_names(ctx: click.Context) -> None:
    """Warn of the old names that were given, once the command's log level is known.

    Args:
        ctx: context of the command.
    """
    for note in ctx.meta.get(NOTES, []):
        logger.warning("%s", note)


def option(*names: str, was: str | None = None, **attributes: Any) -> Callable[[F], F]:
    """Return a decorator that adds an option of click, which may have an old name.

    Args:
        names: names as click takes them: `--iou`, and the parameter's name where it is another.
        was: the old name; None for none.
        attributes: keyword arguments of click's options.
    """
    return click.option(*names, cls=RenamedOption, was=was, **attributes)
