"""List the pictures and labels that an evaluation could not use, on a page."""

from collections.abc import Sequence

from darkconv.evaluation.result import Evaluation
from darkconv.presentation.markup import escape
from darkconv.report.page import section, table

SHOWN = 50


def unread_section(result: Evaluation, what_follows: str) -> str:
    """Return sections that list pictures that could not be read, and labels that were skipped.

    Args:
        result: the evaluation.
        what_follows: a sentence on how pictures that could not be read are counted.

    Returns:
        HTML, or "" if there are none.
    """
    unread = [(one.picture, one.reason) for one in result.unread]
    skipped = [(line,) for line in result.problems]
    said = "They take no part."
    return _section("Pictures that could not be read", ("file", "reason"), unread, what_follows) + (
        _section("Pictures and labels that were skipped", ("what",), skipped, said)
    )


def _section(
    title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], what_follows: str
) -> str:
    if not rows:
        return ""
    more = f" The first {SHOWN} are shown." if len(rows) > SHOWN else ""
    note = f'<p class="note">{len(rows):,}. {escape(what_follows)}{more}</p>'
    left = range(len(headers))
    return section(title, note, table(headers, rows[:SHOWN], left=tuple(left)))
