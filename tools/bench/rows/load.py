"""Opening cfg and weights."""

from pathlib import Path

from networks import BUNDLED, ORIGINAL, REAL, available, write_network
from peers import C_PROGRAM
from row import OURS, Candidate, Goal, Row
from workers import Task

HEADER = 20
LARGE = ("yolov3", "yolov4")


def make(case: str, folder: Path) -> dict[str, float]:
    """net.cfg, net.weights, and ends.npy: where all arrays but the last end."""
    import numpy as np

    import darkconv as dc

    facts = write_network(case, folder)
    arrays = dc.load(folder / "net.cfg", folder / "net.weights").arrays
    np.save(folder / "ends.npy", np.cumsum([array.size for array in arrays.values()])[:-1])
    return {**facts, "arrays": float(len(arrays))}


def load() -> Task:
    import darkconv as dc

    return lambda: dc.load("net.cfg", "net.weights")


def load_cfg() -> Task:
    import darkconv as dc

    return lambda: dc.load("net.cfg")


def memmap() -> Task:
    import numpy as np

    return lambda: np.memmap("net.weights", "<f4", "r", offset=HEADER)


def load_and_sum() -> Task:
    import darkconv as dc

    return lambda: sum(array.sum() for array in dc.load("net.cfg", "net.weights").arrays.values())


def memmap_and_sum() -> Task:
    import numpy as np

    return lambda: np.memmap("net.weights", "<f4", "r", offset=HEADER).sum()


def memmap_cut_and_sum() -> Task:
    import numpy as np

    ends = np.load("ends.npy")

    def run() -> None:
        whole = np.memmap("net.weights", "<f4", "r", offset=HEADER).view(np.ndarray)
        sum(array.sum() for array in np.split(whole, ends))

    return run


def load_and_copy() -> Task:
    import numpy as np

    import darkconv as dc

    warm = np.ones(_room(), np.float32)

    def copy() -> None:
        start = 0
        for array in dc.load("net.cfg", "net.weights").arrays.values():
            warm[start : start + array.size] = array.reshape(-1)
            start += array.size

    return copy


def memmap_and_copy() -> Task:
    import numpy as np

    warm = np.ones(_room(), np.float32)

    def copy() -> None:
        whole = np.memmap("net.weights", "<f4", "r", offset=HEADER)
        warm[: whole.size] = whole

    return copy


def _room() -> int:
    """Values that the whole file could hold."""
    return Path("net.weights").stat().st_size // 4


def opencv() -> Task:
    import cv2

    return lambda: cv2.dnn.readNetFromDarknet("net.cfg", "net.weights")


def c_program() -> Task:
    import time

    from c_program import Network

    def timed() -> float:
        start = time.perf_counter()
        with Network("net.cfg", "net.weights"):
            return time.perf_counter() - start

    return timed


def darknet2any() -> Task:
    from darknet2any.tool.darknet2pytorch import Darknet

    module = Darknet("net.cfg")
    return lambda: module.load_weights("net.weights")


def libreyolo() -> Task:
    from peers import libreyolo_darknet

    package = libreyolo_darknet()
    module = package.DarknetNet(*package.parse_cfg_file("net.cfg"))
    return lambda: package.load_darknet_weights_file(module, "net.weights")


def finiteness() -> Task:
    import numpy as np

    values = np.memmap("net.weights", "<f4", "r", offset=HEADER)
    return lambda: np.isfinite(values).all()


ROW = Row(
    title="Opening cfg and weights",
    cases=(*BUNDLED, *available(*REAL)),
    candidates={
        OURS: Candidate(load),
        f"{OURS}, all summed": Candidate(load_and_sum),
        f"{OURS}, all copied": Candidate(load_and_copy),
        f"{OURS}, cfg alone": Candidate(load_cfg),
        "numpy.memmap": Candidate(memmap),
        "numpy.memmap, all summed": Candidate(memmap_and_sum),
        "numpy.memmap, all copied": Candidate(memmap_and_copy),
        "numpy.memmap, all summed, cut into the same arrays": Candidate(memmap_cut_and_sum),
        "numpy.isfinite of all": Candidate(finiteness),
        "OpenCV 4": Candidate(opencv),
        "the C program": Candidate(c_program, peer=C_PROGRAM, cases=ORIGINAL),
        "darknet2any, network built before": Candidate(
            darknet2any, peer="darknet2any", cases=("yolov4", "yolov4-tiny")
        ),
        "libreyolo, network built before": Candidate(
            libreyolo, peer="libreyolo", cases=("yolov3", "yolov4", "yolov4-tiny")
        ),
    },
    make=make,
    goals=(
        Goal(OURS, 0.005, at_most=1),
        Goal(OURS, "OpenCV 4", at_least=8, cases=LARGE),
        Goal(f"{OURS}, all summed", "numpy.memmap, all summed", at_most=1.15, cases=LARGE),
        Goal(f"{OURS}, all copied", "numpy.memmap, all copied", at_most=1.15, cases=LARGE),
    ),
    turn=0.1,
    rounds=15,
    notes="""
`first` is the first turn of the process. The C program is the original code base from Debian's
source, with the options of its makefile and OpenMP; of 25 looks into it while it opened yolov3, 24
found it drawing random initial weights. The fork's source is in no registry, so that yolov4 has no
such figure.

What is left of `dc.load` is the cfg, in Python: of yolov3's 1.7 ms lines take 0.3, the 32 sections
that differ 0.2, places and shapes of 107 layers 0.4, views of 366 arrays and their checks 0.5,
which dialect it is 0.1; a bare map takes 0.01. yolov4 has 56 sections that differ, 162 layers and
541 arrays. OpenCV reads cfgs in C++, and copies all weights, which takes 16 ms here and took 48 on
an older machine. A pass over all arrays takes 14 ms here: the cfg is an eighth of it, and one call
for each of hundreds of arrays a tenth; `cut into the same arrays` is the bare map with those calls.
To map the pages in a thread while the cfg is read brought 6 ms of 29, and cost 0.7 ms of each
`dc.load`; to have the system map them all at once, before the first is read, brought 2 of 32.
Neither is done.
""",
)
