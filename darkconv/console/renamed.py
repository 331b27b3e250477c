"""Options that have got another name: the old one works for one release, and is not listed."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
NOTES = "darkconv.renamed"
"""Where the context of a command keeps what it has to say about old names."""

logger = logging.getLogger("darkconv")


class RenamedOption(click.Option):
    """An option that also goes by a name of an earlier release, which the help does not list."""

    def __init__(self, *args: Any, was: str | None = None, **attributes: Any) -> None:
        """Take the old name.

        Args:
            args: of click's options.
            was: the old name, as it is written: `--parts`; None for an option without one.
            attributes: of click's options.
        """
        super().__init__(*args, **attributes)
        self.was = was

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser read the old name as another option."""
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
    """Warn of the old names that were given, once the command knows how much it may say.

    Args:
        ctx: of the command.
    """
    for note in ctx.meta.get(NOTES, []):
        logger.warning("%s", note)


def option(*names: str, was: str | None = None, **attributes: Any) -> Callable[[F], F]:
    """Return click's option, which may have an old name.

    Args:
        names: as click takes them: `--iou`, and the parameter's where it is another.
        was: the old name.
        attributes: of click's options.
    """
    return click.option(*names, cls=RenamedOption, was=was, **attributes)
