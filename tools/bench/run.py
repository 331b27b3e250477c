"""Measure darkconv beside its peers and beside what is physically possible.

    python tools/bench/run.py [--only ROW[:CASE] ...] [--quick] [--keep-going]

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
from peers import install
from report import Results, environment, print_case, write_page
from row import Candidate, Facts, Measured, Row
from workers import Worker, WorkerError, evict, serve

ROWS = [module.name for module in pkgutil.iter_modules(rows.__path__)]
ROUNDS_AT_LEAST = 3
QUICK_ROUNDS = 3


def row_of(name: str) -> Row:
    """A row by the name of its module."""
    return importlib.import_module(f"rows.{name}").ROW


def start(row: str, name: str, candidate: Candidate, folder: Path, threads: int) -> Worker:
    """The process of a candidate."""
    path = os.pathsep.join([str(install(candidate.peer))] if candidate.peer else [])
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", row, name, str(folder)]
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment["PYTHONDONTWRITEBYTECODE"] = ""  # users have their modules compiled
    return Worker(command, environment)


def measure_case(
    row_name: str, case: str, folder: Path, rounds: int, threads: int
) -> dict[str, Measured]:
    """All candidates on one case, in turns."""
    row = row_of(row_name)
    found = {
        name: Measured()
        for name, one in row.candidates.items()
        if not one.cases or case in one.cases
    }

    def take_turn(name: str, worker: Worker) -> None:
        measured = found[name]
        sample = worker.turn()
        measured.memory = max(measured.memory, sample.memory)
        if measured.first or row.fresh:
            measured.seconds.append(sample.seconds)
        else:
            measured.first = sample.seconds

    with ExitStack() as stack:
        workers: dict[str, Worker] = {}

        def worker_of(name: str) -> Worker:
            if row.evict:
                evict(folder)
            return start(row_name, name, row.candidates[name], folder, threads)

        spent = 0.0
        for turn in range(rounds + (not row.fresh)):
            if turn >= ROUNDS_AT_LEAST and spent > row.seconds:
                break
            for name in list(found)[:: 1 if turn % 2 else -1]:
                if found[name].error:
                    continue
                try:
                    if row.fresh:
                        with worker_of(name) as worker:
                            take_turn(name, worker)
                    else:
                        if name not in workers:
                            workers[name] = stack.enter_context(worker_of(name))
                        take_turn(name, workers[name])
                    spent += found[name].seconds[-1] if found[name].seconds else 0.0
                except WorkerError as error:
                    found[name] = Measured(error=str(error))
    return found


def measure(row_name: str, cases: list[str], results: Results, quick: bool, threads: int) -> None:
    """A row; what is found is kept after each case."""
    row = row_of(row_name)
    for case in cases or row.cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            facts: Facts = row.make(case, folder)
            rounds = QUICK_ROUNDS if quick else row.rounds
            found = measure_case(row_name, case, folder, rounds, threads)
        results.keep(row_name, case, facts, found, threads)
        print_case(row, case, facts, found)


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
    if not options.quick:
        results.write()
        write_page(results, {name: row_of(name) for name in ROWS})


if __name__ == "__main__":
    main()
