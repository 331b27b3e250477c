"""Define the options of choosing the channels that are removed."""

from collections.abc import Callable
from typing import Any

import click

from darkconv.console.given import refuse
from darkconv.console.options import options_as
from darkconv.console.renamed import option
from darkconv.console.values import SHARE, BytesType, NumberType, seed_option
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
    found = f"not {words}" if given else "none is given"
    raise click.UsageError(
        f"One of {wanted}, or several of {several} says how much goes; {found}"
        if given
        else f"One of {wanted} says how much goes; {found}"
    )


_SHARE = NumberType(0, 1, min_open=True)


def _ratio_option(was: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    text = "Every layer keeps this share of its channels: 0.5 keeps half."
    return option("--ratio", was=was, type=_SHARE, metavar="SHARE", help=text)


def _budget(name: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    help_text = f"At most this share {what}"
    return click.option(name, type=_SHARE, metavar="SHARE", help=help_text)


_OPTIONS = (
    click.option("--count", type=click.IntRange(min=1), metavar="N",
                 help="Every layer keeps at most N channels."),
    click.option("--threshold", type=NumberType(), metavar="T",
                 help="Channels that score below T go."),
    _budget("--params", "of the parameters stays."),
    _budget("--macs", "of the MACs stays."),
    _budget("--latency", "of the time stays, by layers measured here."),
    click.option("--size", type=BytesType(), metavar="5MB",
                 help="The weights file has at most this size."),
    click.option("--cut", type=click.Choice(["auto"]),
                 help="Where a layer's scores fall into two clusters, the lower one goes."),
    click.option("--score", type=click.Choice(list(SCORES)), default="nll0", show_default=True,
                 help="What makes a channel matter."),
    click.option("--min-keep", type=SHARE, default=MIN_KEEP, show_default=True,
                 help="Share of its channels that every layer keeps at least."),
    click.option("--skip-first", type=click.IntRange(min=0), default=SKIP_FIRST, show_default=True,
                 help="So many first layers lose none."),
    click.option("--multiple", type=click.IntRange(min=1), default=MULTIPLE, show_default=True,
                 help="Every layer keeps a multiple of so many channels, where it had one."),
    click.option("--lock", multiple=True, metavar="LAYER", help="Layer that loses none: an index, "
                 "or a pattern of names such as '*_connected'."),
    seed_option("the score random"),
    click.option("--allocation", type=click.Choice(ALLOCATIONS), default=EVEN, show_default=True,
                 help="Which layers pay for --params and other budgets: all alike, or those whose "
                 "cuts were measured to cost least on the pictures."),
    click.option("--compensate/--no-compensate", default=True, show_default=True,
                 help="Put the means of channels that go into the biases behind them."),
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
