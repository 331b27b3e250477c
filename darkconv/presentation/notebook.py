"""Tables for notebooks, which have their own style."""

from collections.abc import Collection, Iterable

import numpy as np

from darkconv.core.markup import escape
from darkconv.surgery.profile import Profile

OF_PROFILE = ("layer", "channels", "constant", "mean", "deviation", "nll0")


def html_table(
    headers: Iterable[str],
    rows: Iterable[Iterable[str]],
    left: Collection[int],
    caption: Iterable[str],
) -> str:
    """A plain table.

    Args:
        headers: of the columns.
        rows: plain text.
        left: columns of text, the others being numbers.
        caption: lines above.
    """

    def line(tag: str, cells: Iterable[str]) -> str:
        styled = (
            f'<{tag} style="text-align: {"left" if i in left else "right"}">{escape(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(styled)}</tr>"

    lines = "<br>".join(map(escape, caption))
    body = "".join(line("td", cells) for cells in rows)
    return f"<p>{lines}</p><table><thead>{line('th', headers)}</thead><tbody>{body}</tbody></table>"


def profile_as_text(profile: Profile) -> str:
    """Return what a profile is in a line."""
    return f"Profile of {', '.join(counted(profile))}"


def profile_as_html(profile: Profile) -> str:
    """Return a table with a row for each layer of a profile."""
    rows = [
        [
            str(index),
            str(len(layer.mean)),
            str(int(layer.constant.sum())),
            f"{layer.mean.mean():.3g}",
            f"{np.sqrt(layer.variance).mean():.3g}",
            f"{layer.nll0.min():.3g} to {layer.nll0.max():.3g}",
        ]
        for index, layer in profile.layers.items()
    ]
    return html_table(OF_PROFILE, rows, (), caption=counted(profile))


def counted(profile: Profile) -> list[str]:
    """Return how many pictures, layers and channels a profile is of."""
    channels = sum(len(layer.mean) for layer in profile.layers.values())
    return [
        f"{profile.pictures:,} pictures",
        f"{len(profile.layers):,} layers",
        f"{channels:,} channels",
    ]
