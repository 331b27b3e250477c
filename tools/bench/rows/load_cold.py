"""Opening cfg and weights that nobody has read before."""

from row import OURS, Candidate, Goal, Row
from rows.load import LARGE, load, load_and_sum, make, memmap, memmap_and_sum, opencv
from workers import Task


def read_and_sum() -> Task:
    import numpy as np

    return lambda: np.fromfile("net.weights", "<f4").sum()


ROW = Row(
    title="Opening cfg and weights, cold",
    cases=LARGE,
    candidates={
        OURS: Candidate(load),
        f"{OURS}, all summed": Candidate(load_and_sum),
        "numpy.memmap": Candidate(memmap),
        "numpy.memmap, all summed": Candidate(memmap_and_sum),
        "numpy.fromfile, all summed": Candidate(read_and_sum),
        "OpenCV 4": Candidate(opencv),
    },
    make=make,
    goals=(
        Goal(OURS, "OpenCV 4", at_least=8),
        Goal(f"{OURS}, all summed", "numpy.memmap, all summed", at_most=1.15),
    ),
    cold="net.*",
    rounds=15,
    notes="""
Before each turn the files are dropped from the page cache, so that they come from the disk, which
gives some GB/s here. `darkconv` reads no weights before they are used.
""",
)
