"""Files -> PyTorch module."""

from networks import REAL, available, write_network
from row import OURS, Candidate, Goal, Row
from workers import Task

PLAIN = "a user's own module on views"


def to_torch() -> Task:
    import torch  # noqa: F401

    import darkconv as dc
    from darkconv.backends.torch import to_torch

    return lambda: to_torch(dc.load("net.cfg", "net.weights"))


def plain() -> Task:
    from plain import build

    return build


def darknet2any() -> Task:
    from darknet2any.tool.darknet2pytorch import Darknet

    def build() -> object:
        module = Darknet("net.cfg")
        module.load_weights("net.weights")
        return module

    return build


def libreyolo() -> Task:
    from peers import libreyolo_darknet

    package = libreyolo_darknet()

    def build() -> object:
        module = package.DarknetNet(*package.parse_cfg_file("net.cfg"))
        package.load_darknet_weights_file(module, "net.weights")
        return module

    return build


ROW = Row(
    title="Files to a PyTorch module",
    cases=("yolov4", "yolov3", "yolov4-tiny", *available(REAL[1])),
    candidates={
        OURS: Candidate(to_torch),
        PLAIN: Candidate(plain),
        "darknet2any": Candidate(darknet2any, "darknet2any", cases=("yolov4", "yolov4-tiny")),
        "libreyolo": Candidate(libreyolo, "libreyolo", cases=("yolov4", "yolov3", "yolov4-tiny")),
    },
    make=write_network,
    goals=(
        Goal(OURS, "darknet2any", at_least=8, cases=("yolov4",)),
        Goal(OURS, "libreyolo", at_least=15, cases=("yolov4",)),
        Goal(OURS, PLAIN, at_most=1.1),
    ),
    turn=0.1,
    processes=3,
    rounds=21,
    notes="""
Making the modules takes nearly all of it, in PyTorch's own constructors, and is as long for both.
What is over in small networks is reading the cfg with all its checks (`dc.load`, 1.0 ms of
yolov4-tiny's 4.2, where the bare reader of cfgs takes 0.07).
""",
)
