"""Options that say which channels go, and the plan that is made of them."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import click

from darkconv.cli.given import refuse
from darkconv.cli.params import SHARE, NumberType
from darkconv.core.model import Model
from darkconv.surgery.chooser import MIN_KEEP, MULTIPLE, SKIP_FIRST
from darkconv.surgery.importance import SCORES
from darkconv.surgery.plan import PrunePlan, plan
from darkconv.surgery.profile import Profile

AMOUNTS = ("ratio", "count", "threshold", "params", "macs", "size", "cut")
"""Of these options, one is given."""

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30}


class BytesType(click.ParamType):  # type: ignore[type-arg]
    """`5MB`, `500kB`, `1.5MiB`, or a plain number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes, rounded down."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z]*)", value.strip().lower())
        if not found or found[2] not in UNITS or int(float(found[1]) * UNITS[found[2]]) < 1:
            self.fail(f"{value!r} is not a size such as 5MB, 500kB or 1.5MiB", param, ctx)
        return int(float(found[1]) * UNITS[found[2]])


@dataclass(frozen=True, kw_only=True)
class Planning:
    """What the planning options said; see `darkconv.surgery.plan.plan`.

    Attributes:
        ratio: share of its channels that every layer keeps; `keep` of the plan.
        compensate: put means of removed channels into biases.
    """

    ratio: float | None = None
    count: int | None = None
    threshold: float | None = None
    params: float | None = None
    macs: float | None = None
    size: int | None = None
    cut: str | None = None
    score: str = "nll0"
    min_keep: float = MIN_KEEP
    skip_first: int = SKIP_FIRST
    multiple: int = MULTIPLE
    lock: tuple[str, ...] = ()
    seed: int = 0
    compensate: bool = True

    @property
    def amounts(self) -> dict[str, Any]:
        """Those of `AMOUNTS` that were given."""
        values = {name: getattr(self, name) for name in AMOUNTS}
        return {name: value for name, value in values.items() if value is not None}

    def require_amount(self) -> None:
        """Raise a usage error unless exactly one option says how much goes."""
        given = [f"--{name}" for name in self.amounts]
        if len(given) != 1:
            wanted = ", ".join(f"--{name}" for name in AMOUNTS)
            found = f"not {' and '.join(given)}" if given else "none is given"
            raise click.UsageError(f"One of {wanted} says how much goes; {found}")


def plan_options(
    *ratio_aliases: str, default: dict[str, Any] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that say which channels go; the command gets them as `planning`.

    The command calls `Planning.require_amount` where it needs a plan.

    Args:
        ratio_aliases: other names for --ratio, such as `--keep`.
        default: what counts if none of `AMOUNTS` is given: {"cut": "auto"}.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def collected(*args: Any, **values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in fields(Planning)}
            planning = Planning(**own)
            if not planning.amounts and default:
                planning = Planning(**(own | default))
            return command(*args, planning=planning, **values)

        for option in reversed((_ratio_option(*ratio_aliases), *_OPTIONS)):
            collected = option(collected)
        return collected

    return add


_SHARE = NumberType(0, 1, min_open=True)


def _ratio_option(*aliases: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--ratio",
        *aliases,
        "ratio",
        type=_SHARE,
        metavar="SHARE",
        help="Every layer keeps this share of its channels: 0.5.",
    )


_OPTIONS = (
    click.option(
        "--count",
        type=click.IntRange(min=1),
        metavar="N",
        help="Every layer keeps at most N channels.",
    ),
    click.option(
        "--threshold", type=NumberType(), metavar="T", help="Channels that score below T go."
    ),
    click.option(
        "--params", type=_SHARE, metavar="SHARE", help="At most this share of the parameters stays."
    ),
    click.option(
        "--macs", type=_SHARE, metavar="SHARE", help="At most this share of the MACs stays."
    ),
    click.option(
        "--size", type=BytesType(), metavar="5MB", help="The weights file has at most this size."
    ),
    click.option(
        "--cut",
        type=click.Choice(["auto"]),
        help="Where a layer's scores fall into two clusters, the lower one goes.",
    ),
    click.option(
        "--score",
        type=click.Choice(list(SCORES)),
        default="nll0",
        show_default=True,
        help="What makes a channel matter.",
    ),
    click.option(
        "--min-keep",
        type=SHARE,
        default=MIN_KEEP,
        show_default=True,
        help="Share of its channels that every layer keeps at least.",
    ),
    click.option(
        "--skip-first",
        type=click.IntRange(min=0),
        default=SKIP_FIRST,
        show_default=True,
        help="So many first layers lose none.",
    ),
    click.option(
        "--multiple",
        type=click.IntRange(min=1),
        default=MULTIPLE,
        show_default=True,
        help="Every layer keeps a multiple of so many channels, where it had one.",
    ),
    click.option(
        "--lock",
        multiple=True,
        metavar="LAYER",
        help="Layer that loses none: an index, or a pattern of names such as '*_connected'.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of the score random.",
    ),
    click.option(
        "--compensate/--no-compensate",
        default=True,
        show_default=True,
        help="Put the means of channels that go into the biases behind them.",
    ),
)


def make_plan(
    model: Model, profile: Profile | None, planning: Planning, *, against: Profile | None = None
) -> PrunePlan:
    """The plan that the options describe.

    Raises:
        UsageError: not exactly one option says how much goes.
        PlanError: see `darkconv.surgery.plan.plan`.
    """
    planning.require_amount()
    if planning.score != "random":
        refuse("seed", because="only the score random draws lots")
    ((amount, value),) = planning.amounts.items()
    return plan(
        model,
        profile,
        score=planning.score,
        skip_first=planning.skip_first,
        min_keep=planning.min_keep,
        multiple=planning.multiple,
        lock=planning.lock,
        seed=planning.seed,
        against=against,
        **{"keep" if amount == "ratio" else amount: value},
    )
