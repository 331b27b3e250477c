"""Suggest a command where the user misspelt its name."""

import click

from darkconv.console.suggestions import meant_commands


class SuggestingGroup(click.Group):
    """A group that suggests the nearest command for an unknown name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; click's own groups suggest only commands that are imported."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = meant_commands(name, self.list_commands(ctx))
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)
