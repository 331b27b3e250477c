"""docs/benchmarks.json, in which measurements are kept, and docs/benchmarks.md, made of it."""

import datetime
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from row import OURS, Facts, Goal, Measured, Ratio, Row, is_reached, ratio

DOCS = Path(__file__).resolve().parents[2] / "docs"
JSON, PAGE = DOCS / "benchmarks.json", DOCS / "benchmarks.md"
LIBRARIES = (
    "torch",
    "onnx",
    "onnxruntime",
    "opencv-python-headless",
    "keras",
    "tensorflow-cpu",
    "numpy",
)
MEGABYTE = 1e6


def environment() -> dict[str, str]:
    """Machine, versions and date."""
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return {
        "machine": f"{cpu}, {platform.system()}, Python {platform.python_version()}",
        "versions": versions,
        "date": datetime.date.today().isoformat(),
    }


@dataclass
class Results:
    """Everything measured so far.

    Attributes:
        now: the environment of what is measured now.
        rows: by row and case: facts, candidates, environment.
    """

    now: dict[str, str]
    rows: dict[str, dict[str, dict]]

    @classmethod
    def read(cls, now: dict[str, str]) -> "Results":
        """Read the results of earlier runs."""
        return cls(now, json.loads(JSON.read_text())["rows"] if JSON.exists() else {})

    def keep(
        self, row: str, case: str, facts: Facts, found: Mapping[str, Measured], threads: int
    ) -> None:
        """Replace what was known of a case."""
        self.rows.setdefault(row, {})[case] = {
            "environment": {**self.now, "threads": threads},
            "facts": facts,
            "candidates": {name: _rounded(asdict(one)) for name, one in found.items()},
        }

    def case(self, row: str, case: str) -> tuple[Facts, dict[str, Measured]]:
        """Return what was measured of one case."""
        entry = self.rows[row][case]
        found = {name: Measured(**one) for name, one in entry["candidates"].items()}
        return entry["facts"], found

    def write(self) -> None:
        """Keep it all in docs/benchmarks.json."""
        JSON.write_text(json.dumps({"rows": self.rows}, separators=(",", ":"), indent=None) + "\n")


def _rounded(measured: dict) -> dict:
    """Four digits are more than a measurement is worth."""
    seconds = [float(f"{value:.4g}") for value in measured["seconds"]]
    return {**measured, "seconds": seconds, "first": float(f"{measured['first']:.4g}")}


def print_case(row: Row, case: str, facts: Facts, found: Mapping[str, Measured]) -> None:
    """Print the figures of a case when it ends."""
    print(f"\n{row.title}: {case}")
    for name, measured in found.items():
        print(f"  {name:45s} {_time(measured)}  {measured.memory / MEGABYTE:.1f} MB")
    for goal, value in _goals(row, case, facts, found):
        reached = "reached" if is_reached(goal, value, facts) else "NOT REACHED"
        print(f"  {_name_of(goal)}: {value.text()}; goal {_bound(goal, facts)}: {reached}")


def write_page(results: Results, rows: Mapping[str, Row]) -> None:
    """Write docs/benchmarks.md."""
    parts = [_HEAD.format(**results.now)]
    parts += _summary(results, rows)
    for name, row in rows.items():
        if name in results.rows:
            parts += _section(results, name, row)
    if (DOCS / "scaling.json").exists():
        parts.append(_SCALING)
    PAGE.write_text("\n".join(parts) + "\n")


_HEAD = """# Benchmarks

`tools/bench/run.py` measures all of this and writes this page; nothing in it is edited.
Candidates take turns, each in a process of its own (in rows of PyTorch in three, one after the
other) that is stopped while others are measured; short tasks are repeated within a turn. Files lie
in the page cache unless a row says cold, and times are those after imports. Two processors are
shared with other machines, so read ratios, which compare within one run: by median, in brackets the
quartiles of the single turns, and by best turn.

Machine: {machine}. Versions: {versions}. Last written on {date};
each row says when it was measured. Bundled networks have random weights that keep activations
about 1.
"""


_SCALING = """## Scaling

`python tools/bench/scaling.py`: against the size of the model, where all have ten convolutions of
as many filters, of which those of at most 4 million parameters are small enough for PyTorch to take
copies (their last bits would depend on where they lie); against the number of pictures, where the
samples behind a profile's histograms grow to their full size and stay there; against the number of
processes, of one thread and one processor each.

![time and memory against parameters](scaling-models.png)

![time and memory of a profile against pictures](scaling-pictures.png)

![time of a profile against processes](scaling-processes.png)
"""


def _summary(results: Results, rows: Mapping[str, Row]) -> Iterator[str]:
    yield "## Goals\n"
    yield "| what | case | ratio | found | goal | |\n|---|---|---|---|---|---|"
    for name, row in rows.items():
        for case in results.rows.get(name, {}):
            facts, found = results.case(name, case)
            for goal, value in _goals(row, case, facts, found):
                mark = "✓" if is_reached(goal, value, facts) else "✗"
                yield (
                    f"| [{row.title}](#{_anchor(row.title)}) | {case} | {_name_of(goal)} "
                    f"| {value.text()} | {_bound(goal, facts)} | {mark} |"
                )
    yield ""


def _section(results: Results, name: str, row: Row) -> Iterator[str]:
    yield f"## {row.title}\n"
    dates = sorted({entry["environment"]["date"] for entry in results.rows[name].values()})
    yield f"`python tools/bench/run.py --only {name}` ({' and '.join(dates)})\n"
    yield "| case | | median | best | first | memory, MB |\n|---|---|---:|---:|---:|---:|"
    for case in results.rows[name]:
        _, found = results.case(name, case)
        for candidate, measured in found.items():
            label = f"**{candidate}**" if candidate.startswith(OURS) else candidate
            yield f"| {case} | {label} | {_cells(measured)} |"
    yield ""
    for case in results.rows[name]:
        facts, _ = results.case(name, case)
        if facts:
            yield f"- {case}: " + ", ".join(f"{key} {_number(v)}" for key, v in facts.items())
    yield f"\n{row.notes.strip()}\n" if row.notes else ""


def _number(value: float) -> str:
    return f"{value / MEGABYTE:.1f} MB" if value >= MEGABYTE else f"{value:.3g}"


def _cells(measured: Measured) -> str:
    if not measured.seconds:
        return f"{measured.error or 'not measured'} | | | "
    first = _duration(measured.first) if measured.first else ""
    memory = f"{measured.memory / MEGABYTE:.1f}"
    return f"{_duration(measured.median)} | {_duration(measured.low)} | {first} | {memory}"


def _goals(
    row: Row, case: str, facts: Facts, found: Mapping[str, Measured]
) -> Iterator[tuple[Goal, Ratio]]:
    for goal in row.goals:
        value = ratio(goal, found, facts) if not goal.cases or case in goal.cases else None
        if value is not None:
            yield goal, value


def _name_of(goal: Goal) -> str:
    if isinstance(goal.to, float):
        return f"{goal.of} / {1000 * goal.to:g} ms"
    if goal.at_least is not None:
        return f"{goal.to} / {goal.of}"
    return f"memory of {goal.of} / {goal.to}" if goal.of_memory else f"{goal.of} / {goal.to}"


def _bound(goal: Goal, facts: Facts) -> str:
    scale = facts[goal.fact] if goal.fact else 1.0
    if goal.at_least is not None:
        return f"≥ {goal.at_least * scale:.3g}"
    return f"≤ {goal.at_most * scale:.3g}"


def _time(measured: Measured) -> str:
    if not measured.seconds:
        return measured.error
    return f"{_duration(measured.median)} (best {_duration(measured.low)})"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s"


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -")
    return kept.replace(" ", "-")
