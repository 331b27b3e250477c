"""Define the options of choosing the channels that are removed."""

from collections.abc import Callable
from typing import Any

import click

from darkconv.console.given import refuse
from darkconv.console.options import options_as
from darkconv.console.renamed import option
from darkconv.console.values import SHARE, BytesType, NumberType, UnboundedType, seed_option
from darkconv.surgery.budget import KINDS
from darkconv.surgery.chooser import MIN_KEEP, MULTIPLE, SKIP_FIRST
from darkconv.surgery.importance import SCORES
from darkconv.surgery.planning import ALLOCATIONS, AMOUNTS, EVEN, Planning


def require_amount(planning: Planning) -> None:
    """Raise a usage error unless one option says how many channels go, or several budgets do.

    Args:
        planning: options of choosing channels.

    Raises:
        UsageError: no option says it, or two that exclude each other.
    """
    given = planning.amounts
    if len(given) == 1 or (given and given.keys() <= set(KINDS)):
        return
    wanted, several = (", ".join(f"--{name}" for name in names) for names in (AMOUNTS, KINDS))
    words = " and ".join(f"--{name}" for name in given)
    raise click.UsageError(
        f"{words} exclude each other: give one of {wanted}, or several of {several}"
        if given
        else f"Nothing says how many channels to remove: give one of {wanted}"
    )


_SHARE = NumberType(0, 1, min_open=True)


def _ratio_option(was: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    text = "Every layer keeps this share of its channels: 0.5 keeps half."
    return option("--ratio", was=was, type=_SHARE, metavar="SHARE", help=text)


def _budget(name: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    help_text = f"Keep at most this share of {what}"
    return click.option(name, type=_SHARE, metavar="SHARE", help=help_text)


_OPTIONS = (
    click.option("--count", type=click.IntRange(min=1), metavar="N",
                 help="Every layer keeps at most N channels."),
    click.option("--threshold", type=UnboundedType(), metavar="T",
                 help="Remove the channels whose importance score is below T."),
    _budget("--params", "the parameters."),
    _budget("--macs", "the MACs."),
    _budget("--latency", "the time; each layer is timed on this "
        "machine."),
    click.option("--size", type=BytesType(), metavar="5MB",
                 help="Largest size of the weights file."),
    click.option("--cut", type=click.Choice(["auto"]),
                 help="Where a layer's scores fall into two clusters, remove the lower one."),
    click.option("--score", type=click.Choice(list(SCORES)), default="nll0", show_default=True,
                 help="Importance score: the channels with the lowest ones are removed first. "
                 "docs/surgery.md explains each."),
    click.option("--min-keep", type=SHARE, default=MIN_KEEP, show_default=True,
                 help="Smallest share of its channels that a layer keeps."),
    click.option("--skip-first", type=click.IntRange(min=0), default=SKIP_FIRST, show_default=True,
                 help="Number of layers at the start that lose no channels."),
    click.option("--multiple", type=click.IntRange(min=1), default=MULTIPLE, show_default=True,
                 help="Every layer keeps a multiple of this number of channels, if it had one."),
    click.option("--lock", multiple=True, metavar="LAYER", help="Layer that loses no channels: an "
                 "index, or a pattern of names such as '*_connected'."),
    seed_option("the score random"),
    click.option("--allocation", type=click.Choice(ALLOCATIONS), default=EVEN, show_default=True,
                 help="Which layers lose channels for --params and other budgets: all alike, or "
                 "first those where this is measured to do the least harm on the pictures."),
    click.option("--compensate/--no-compensate", default=True, show_default=True,
                 help="Make up for the means of removed channels in the biases of the layers "
                 "that read them."),
)  # fmt: skip


def plan_options(was: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the options of choosing channels; the command gets them as `planning`.

    The command calls `require_amount` where it needs a plan.

    Args:
        was: an old name of --ratio.
    """
    ratio, title = _ratio_option(was), "Choosing channels"
    return options_as("planning", Planning, ratio, *_OPTIONS, title=title)


def refuse_idle_choices(planning: Planning, *, searches: bool = False) -> None:
    """Raise a usage error for options that this score does not use, and for shares of no budget.

    Args:
        planning: options of choosing channels.
        searches: True if there are budgets even where none is given.
    """
    for score, name in {"random": "seed", "taylor": "taylor", "obs": "obs"}.items():
        if planning.score != score:
            refuse(name, because=f"only the score {score} looks at it")
    if not (planning.has_budget or searches):
        refuse("allocation", because="only budgets such as --params are shared out among layers")
