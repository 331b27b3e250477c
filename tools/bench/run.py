"""Measure darkconv beside its peers and beside what is physically possible.

    python tools/bench/run.py [--only ROW[:CASE] ...] [--quick] [--threads N]

Candidates of a case take turns, each in a process of its own, so that what else the machine does
disturbs all alike. Results are kept in docs/benchmarks.json and docs/benchmarks.md is written anew
from them; `--only` measures some rows, or one case of a row, and keeps the others.
"""

import argparse
import importlib
import os
import pkgutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import rows
from peers import PeerError, install
from report import Results, environment, print_case, write_page
from row import Facts, Measured, Row
from workers import Worker, WorkerError, serve

ROWS = [module.name for module in pkgutil.iter_modules(rows.__path__)]
ROUNDS_AT_LEAST = 3
QUICK_ROUNDS = 3


def row_of(name: str) -> Row:
    """Return a row by the name of its module."""
    return importlib.import_module(f"rows.{name}").ROW


class Race:
    """The candidates of a row on one case, whose files lie in a folder."""

    def __init__(self, name: str, case: str, folder: Path, threads: int) -> None:
        self.name = name
        self.row = row_of(name)
        self.folder = folder
        self.threads = threads
        self.found = {
            candidate: Measured()
            for candidate, one in self.row.candidates.items()
            if not one.cases or case in one.cases
        }
        self.workers: dict[str, Worker] = {}

    def run(self, rounds: int) -> dict[str, Measured]:
        """Let all take turns; who comes first alternates."""
        count = min(self.row.processes, rounds)
        for _ in range(count):
            with ExitStack() as stack:
                self.workers.clear()
                self._run(-(-rounds // count), self.row.seconds / count, stack)
        return self.found

    def _run(self, rounds: int, seconds: float, stack: ExitStack) -> None:
        """Run rounds of the same processes; the first turn of each warms up."""
        spent = 0.0
        for turn in range(rounds + (not self.row.fresh)):
            if turn >= ROUNDS_AT_LEAST and spent > seconds:
                break
            for candidate in list(self.found)[:: 1 if turn % 2 else -1]:
                if not self.found[candidate].error:
                    spent += self._turn(candidate, stack)

    def _turn(self, candidate: str, stack: ExitStack) -> float:
        """One turn of a candidate, and the seconds that it took."""
        for path in self.folder.glob(self.row.writes) if self.row.writes else ():
            path.unlink()
        for path in self.folder.glob(self.row.cold) if self.row.cold else ():
            evict(path)
        measured = self.found[candidate]
        is_first = candidate not in self.workers and not self.row.fresh
        try:
            if self.row.fresh:
                with self._start(candidate) as worker:
                    sample = worker.turn()
            else:
                if is_first:
                    self.workers[candidate] = stack.enter_context(self._start(candidate))
                sample = self.workers[candidate].turn(0.0 if is_first else self.row.turn)
        except (WorkerError, PeerError) as error:
            self.found[candidate] = Measured(error=str(error))
            return 0.0
        measured.memory = max(measured.memory, sample.memory)
        if is_first:
            measured.first = measured.first or sample.seconds
        else:
            measured.seconds.append(sample.seconds)
        return max(sample.seconds, self.row.turn)

    def _start(self, candidate: str) -> Worker:
        peer = self.row.candidates[candidate].peer
        environment = {
            "PYTHONPATH": str(install(peer)) if peer else "",
            "PYTHONDONTWRITEBYTECODE": "",  # users have their modules compiled
            "OMP_NUM_THREADS": str(self.threads),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        words = ["--serve", self.name, candidate, str(self.folder)]
        return Worker([sys.executable, str(Path(__file__).resolve()), *words], environment)


def evict(path: Path) -> None:
    """Drop a file from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # what is not on the disk yet would stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(row_name: str, cases: list[str], results: Results, quick: bool, threads: int) -> None:
    """Measure a row; the figures are kept after each case."""
    row = row_of(row_name)
    for case in cases or row.cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            facts: Facts = row.make(case, folder)
            rounds = QUICK_ROUNDS if quick else row.rounds
            found = Race(row_name, case, folder, threads).run(rounds)
        results.keep(row_name, case, facts, found, threads)
        print_case(row, case, facts, found)
        if not quick:  # a run that is broken off keeps what it has
            results.write()
            write_page(results, {name: row_of(name) for name in ROWS})


def serve_candidate(row: str, name: str, folder: str) -> None:
    """In the worker."""
    os.chdir(folder)
    serve(row_of(row).candidates[name].prepare)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=ROWS, metavar="ROW[:CASE]", help=str(ROWS))
    parser.add_argument("--quick", action="store_true", help="few rounds; nothing is written")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve_candidate(*options.serve)
        return
    results = Results.read(environment())
    for word in options.only:
        name, _, case = word.partition(":")
        measure(name, [case] if case else [], results, options.quick, options.threads)


if __name__ == "__main__":
    main()
