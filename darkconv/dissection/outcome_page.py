"""Sections of a dissection's page on recovery and on the search for the smallest model."""

from collections.abc import Callable, Mapping

from darkconv.dissection.quality import Quality, quality_table
from darkconv.dissection.search import Search, Trial
from darkconv.presentation.markup import escape
from darkconv.presentation.numerals import format_count, format_large, per_cent
from darkconv.report.curve import Point, curve
from darkconv.report.page import key, section, table

KEY = (
    ("kept", "a model that was tried, or the uncut one"),
    ("removed", "the one that was chosen"),
    ("cut", "the least that is good enough"),
)
OF_TRIALS = ("budgets", "parameters", "MACs", "ms a picture", "AP", "agreement F1", "points lost")


def quality_section(quality: Mapping[str, Quality], measured_on: str) -> str:
    """Return the HTML section on the quality in each state; empty if nothing was measured.

    Args:
        quality: quality of each state, in the order in which the model had them.
        measured_on: description of the pictures.
    """
    if not quality:
        return ""
    headers, rows = quality_table(quality)
    note = (
        f"Measured on {measured_on}. Recall and agreement count boxes with a score above 0.25; "
        "agreement is the F1 of these with those of the uncut model."
    )
    title = "What the model finds, before and after"
    return section(title, f'<p class="note">{escape(note)}</p>', table(headers, rows))


def search_section(search: Search | None) -> str:
    """Return the HTML section with the trials, as curves and a table; empty without a search.

    Args:
        search: trials and the chosen one; None if no smallest model was searched for.
    """
    if search is None:
        return ""
    charts = (
        _curve(search, "parameters", lambda one: one.parameters / 1e6, " M"),
        _curve(search, "MACs", lambda one: one.macs / 1e6, " M"),
        _curve(search, "time", lambda one: one.milliseconds, " ms"),
    )
    rows = [("uncut", *_row(search.uncut)[1:]), *map(_row, search.trials)]
    marks = {1 + search.trials.index(search.chosen): "first"}
    note = f"{search}. Milliseconds: {search.conditions}."
    return section(
        "The search for the smallest model",
        f'<p class="note">{escape(note)}</p>',
        key(KEY),
        f'<div class="plots">{"".join(charts)}</div>',
        table(OF_TRIALS, rows, marks=marks),
    )


def _curve(search: Search, what: str, cost: Callable[[Trial], float], unit: str) -> str:
    limit = _value(search, search.uncut) - search.max_loss
    points = [
        Point(cost(one), _value(search, one), ", ".join(_row(one)), one is search.chosen)
        for one in (search.uncut, *search.trials)
    ]
    return curve(f"{search.measure} in % over {what}", points, limit=limit, unit=unit)


def _value(search: Search, trial: Trial) -> float:
    return 100 * (trial.quality.value(search.measure) or 0.0)


def _row(trial: Trial) -> tuple[str, ...]:
    return (
        f"{trial.share:.1%}",
        format_count(trial.parameters),
        format_large(trial.macs),
        f"{trial.milliseconds:.1f}",
        per_cent(trial.quality.ap),
        per_cent(trial.quality.agreement),
        f"{trial.points_lost:.1f}",
    )
