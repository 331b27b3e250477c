"""What a row of the benchmarks is: candidates on cases, and the ratios that it should reach."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers import Task

Facts = dict[str, float]
"""Numbers that a case is known by, such as the size of its weights."""
OURS = "darkconv"


@dataclass(frozen=True)
class Candidate:
    """Something that is measured.

    Attributes:
        prepare: in the worker, with the case's folder as working directory: imports all that is
            needed and returns the task.
        peer: the program it comes from, by a name that `peers.install` knows.
        cases: that it can do; all if there are none.
    """

    prepare: Callable[[], Task]
    peer: str | None = None
    cases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Goal:
    """A ratio to reach: `of` takes at most so many times what `to` does, or is so much faster.

    Attributes:
        of: the candidate that has the goal.
        to: what it is compared with: a candidate, a fact of the case, or a number of seconds.
        at_most: bound of `of` / `to`.
        at_least: bound of `to` / `of`; give one of the two.
        cases: that the goal holds for; all if there are none.
        of_memory: whether memory is compared, not seconds.
        fact: of the case, that `at_most` or `at_least` is multiplied with.
    """

    of: str
    to: str | float
    at_most: float | None = None
    at_least: float | None = None
    cases: tuple[str, ...] = ()
    of_memory: bool = False
    fact: str | None = None


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Attributes:
        title: what is measured.
        cases: mostly networks.
        candidates: by name.
        make: writes what a case needs into an empty folder.
        goals: ratios.
        fresh: whether each turn is a process of its own.
        processes: of each candidate, one after the other, that share its rounds: where its memory
            lies makes a process faster or slower for all its life.
        writes: pattern of the files that candidates write; removed before each turn.
        cold: pattern of files that are dropped from the page cache before each turn.
        turn: seconds that a turn lasts at least: short tasks are repeated, and their median is
            taken, as collections of Python's garbage only come to who repeats. The first turn
            is one run.
        rounds: turns of each candidate.
        seconds: after which a case ends even if it has had fewer rounds, but at least three.
        notes: what a reader should know, in Markdown.
    """

    title: str
    cases: tuple[str, ...]
    candidates: Mapping[str, Candidate]
    make: Callable[[str, Path], Facts]
    goals: tuple[Goal, ...] = ()
    fresh: bool = False
    processes: int = 1
    writes: str = ""
    cold: str = ""
    turn: float = 0.0
    rounds: int = 20
    seconds: float = 60.0
    notes: str = ""


@dataclass
class Measured:
    """Turns of one candidate on one case.

    Attributes:
        first: seconds of the first turn, which warms up; not among `seconds`.
        seconds: of the others.
        memory: bytes over the imports, the most of all turns.
        error: why there are no more.
    """

    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def low(self) -> float:
        return min(self.seconds)


@dataclass(frozen=True)
class Ratio:
    """How two candidates compare: by median, by best, and turn by turn with its quartiles."""

    median: float
    low: float
    quartiles: tuple[float, float] | None = None

    def text(self) -> str:
        spread = "" if self.quartiles is None else " ({:.3g} to {:.3g})".format(*self.quartiles)
        return f"{self.median:.3g}{spread}, best {self.low:.3g}"


def ratio(goal: Goal, found: Mapping[str, Measured], facts: Facts) -> Ratio | None:
    """Return the figure of one case that a goal is about; None if something was not measured."""
    of = found.get(goal.of)
    to = goal.to if isinstance(goal.to, float) else found.get(goal.to) or facts.get(goal.to)
    if not of or not of.seconds or not to or (isinstance(to, Measured) and not to.seconds):
        return None
    if goal.of_memory:
        value = of.memory / (to.memory if isinstance(to, Measured) else to)
        return Ratio(value, value)
    others = to.seconds if isinstance(to, Measured) else [to] * len(of.seconds)
    above, below = (others, of.seconds) if goal.at_least else (of.seconds, others)
    turns = [a / b for a, b in zip(above, below, strict=False)]
    low, _, high = (
        statistics.quantiles(turns, n=4, method="inclusive") if len(turns) > 1 else (turns[0],) * 3
    )
    medians = statistics.median(above) / statistics.median(below)
    return Ratio(medians, min(above) / min(below), (low, high))


def is_reached(goal: Goal, value: Ratio, facts: Facts) -> bool:
    """By median and by best."""
    scale = facts[goal.fact] if goal.fact else 1.0
    if goal.at_least is not None:
        return min(value.median, value.low) >= goal.at_least * scale
    assert goal.at_most is not None
    return max(value.median, value.low) <= goal.at_most * scale
