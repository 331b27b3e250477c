"""Groups of commands that know what a misspelt name may mean."""

from difflib import get_close_matches

import click


class SuggestingGroup(click.Group):
    """A group that names the nearest command where there is none of a name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; click's own groups know only the commands that are imported."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            known, lower = self.list_commands(ctx), name.lower()
            near = [lower] if lower in known else get_close_matches(lower, known)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)
