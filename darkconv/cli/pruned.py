"""Print what was pruned from a model."""

from darkconv.console.printing import echo, echo_table
from darkconv.core.model import Model
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.tables import (
    LEFT_OF_CHANGES,
    OF_CHANGES,
    change_rows,
    change_totals,
    plan_remarks,
)


def show_pruning(before: Model, after: Model, plan: PrunePlan, *, compensate: bool) -> None:
    """Print the layers that change, the totals, and warnings about the choice of channels.

    Args:
        before: the model before pruning.
        after: the model after pruning.
        plan: the plan that was carried out.
        compensate: True if the means of removed channels went into biases.
    """
    rows = change_rows(before, after)
    if rows:
        echo_table(OF_CHANGES, rows, left=LEFT_OF_CHANGES)
        echo()
    else:
        echo("nothing goes; `darkconv prune --explain LAYER` says what keeps a layer's channels")
    for line in (*change_totals(before, after), *plan_remarks(plan, compensate=compensate)):
        echo(line)
