"""Tables and texts that show the results of surgery: plans, pruned models and grafts."""

from collections.abc import Callable

from darkconv.core.layer_table import ranges
from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.files.sizes import format_size
from darkconv.presentation.notebook import html_table
from darkconv.presentation.numerals import format_count, format_large
from darkconv.surgery.changes import changed_layers, total_costs
from darkconv.surgery.chooser import AMOUNTS
from darkconv.surgery.graft import GraftResult
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.recipes import count_classes

OF_CHANGES = ("layer", "type", "channels", "parameters", "MACs")
LEFT_OF_CHANGES = (1, 2, 3, 4)
OF_PLAN = ("layer", "type", "channels", "removed")


def change_rows(before: Model, after: Model) -> list[tuple[object, ...]]:
    """Return a row of `OF_CHANGES` for each layer that changed.

    Args:
        before: the original model.
        after: the model made from it, with the same layers.
    """
    return [_change_row(*pair) for pair in changed_layers(before, after)]


def _change_row(old: Layer, new: Layer) -> tuple[object, ...]:
    cells = (
        (old.out_shape.c, new.out_shape.c, format_count),
        (old.parameters, new.parameters, format_count),
        (old.macs, new.macs, format_large),
    )
    arrows = (show(a) if a == b else f"{show(a)} -> {show(b)}" for a, b, show in cells)
    return old.index, old.type, *arrows


def change_totals(before: Model, after: Model) -> list[str]:
    """Return lines with the parameters, MACs and bytes of two models.

    Args:
        before: the original model.
        after: the model made from it.
    """
    old, new = total_costs(before), total_costs(after)
    shown: tuple[tuple[str, str, Callable[[int], str]], ...] = (
        ("parameters    ", "parameters", format_count),
        ("MACs          ", "macs", format_large),
        ("weights file  ", "bytes", format_size),
    )
    return [label + change(old[key], new[key], show) for label, key, show in shown]


def change(before: int, after: int, show: Callable[[int], str]) -> str:
    """Format a change of a number as `100 -> 40 (40.0%)`.

    Args:
        before: the old number.
        after: the new number.
        show: formats a number.
    """
    return f"{show(before)} -> {show(after)} ({after / max(before, 1):.1%})"


def plan_remarks(plan: PrunePlan, *, compensate: bool) -> list[str]:
    """Return remarks about the choice of channels; a plan from a file has none.

    Args:
        plan: the plan.
        compensate: True if removed channels are compensated, which makes constant ones free.
    """
    if plan.file is not None:
        return []
    folded = plan.notes.get("folded", 0)
    lines = []
    if folded and compensate:
        noun = "channel" if folded == 1 else "channels"
        lines.append(f"{folded} constant {noun} folded at no cost")
    return [*lines, *plan.notes.get("remarks", ())]


def classes_as_text(before: Model, after: Model) -> str:
    """Return a text that says which classes of a model are kept, and which are not its own.

    Args:
        before: the original model.
        after: the model made from it.
    """
    total, count = (count_classes(model.network) for model in (before, after))
    old = {before.class_name(index) for index in range(total)}
    names = [after.class_name(index) for index in range(count)]
    kept = [name for name in names if name in old]
    made = [name for name in names if name not in old]
    lines = [f"kept {len(kept)} of {total} classes: {', '.join(kept)}"] if kept else []
    if made:
        lines.append(f"merged, renamed or new: {', '.join(made)}")
    return "\n".join(lines)


def plan_as_text(plan: PrunePlan) -> str:
    """Return one line that describes a plan.

    Args:
        plan: the plan to describe.
    """
    said = [f"{name}={value:g}" for name, value in plan.notes.items() if _is_number(name, value)]
    said += [f"{name}={value}" for name, value in plan.notes.items() if name == "cut"]
    score = [f"score {plan.notes['score']}"] if "score" in plan.notes else []
    return ", ".join([f"PrunePlan: {_removal(plan)}", *score, *said])


def _is_number(name: str, value: object) -> bool:
    return name in AMOUNTS and isinstance(value, int | float)


def _removal(plan: PrunePlan) -> str:
    counts = {index: count for index, (_, count) in plan.declared.items() if count is not None}
    layers = f"{len(plan.declared or plan.keep)} layers"
    if not counts:
        return f"channels of {layers} go"
    gone = sum(count - len(plan.keep[index]) for index, count in counts.items())
    return f"{gone:,} of {sum(counts.values()):,} channels of {layers} go"


def plan_as_html(plan: PrunePlan) -> str:
    """Return an HTML table with a row for each layer of a plan that makes channels.

    Args:
        plan: the plan to describe.
    """
    rows = []
    for index, (kind, count) in plan.declared.items():
        kept = len(plan.keep[index])
        cells = (f"{count} -> {kept}", str(count - kept)) if count is not None else (str(kept), "")
        rows.append([str(index), kind or "", *cells])
    return html_table(OF_PLAN, rows, (1, 2), caption=[plan_as_text(plan)])


def graft_as_text(result: GraftResult) -> str:
    """Return a text that describes a graft: runs of layers taken, and layers left.

    Args:
        result: the result of the graft.
    """
    total = len(result.taken) + len(result.fresh)
    lines = [f"taken: {len(result.taken)} of {total} layers with arrays"]
    for (a, b), (c, d) in result.runs:
        donor, receiver = (str(x) if x == y else f"{x}-{y}" for x, y in ((a, c), (b, d)))
        lines.append(f"  donor {donor} -> receiver {receiver}")
    for word, indices in (
        ("fresh, keep the receiver's values", result.fresh),
        ("unused, of the donor", result.unused),
        ("taken, but behind fresh ones", result.behind_fresh),
    ):
        lines.append(f"{word}: {ranges(indices) if indices else 'none'}")
    return "\n".join(lines)


def graft_as_html(result: GraftResult) -> str:
    """Return an HTML table of the runs of layers taken.

    Args:
        result: the result of the graft.
    """
    rows = [
        [*(str(x) if x == y else f"{x}-{y}" for x, y in zip(*run, strict=True))]
        for run in result.runs
    ]
    return html_table(("donor", "receiver"), rows, (), caption=graft_as_text(result).split("\n"))
