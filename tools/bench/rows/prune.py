"""Plan and prune: 30 % of the channels go, by the L1 norm of their filters."""

from networks import write_network
from row import OURS, Candidate, Goal, Row
from workers import Task

KEEP = 0.7
PRUNING = "Torch-Pruning, a user's own module"
FLOOR = "norms and indexing both axes, numpy"


def ours() -> Task:
    import darkconv as dc

    def run() -> object:
        model = dc.load("net.cfg", "net.weights")
        return dc.prune(
            model, dc.plan(model, score="l1", keep=KEEP, skip_first=0, min_keep=0, multiple=1)
        )

    return run


def torch_pruning() -> Task:
    import torch
    import torch_pruning

    from plain import Conv, build, parameters

    def run() -> object:
        module = build().train(False)
        for parameter in module.parameters():
            parameter.requires_grad_(True)
        heads = [
            module.layers[index - 1].conv
            for index, (kind, _) in enumerate(module.sections)
            if kind == "yolo" and isinstance(module.layers[index - 1], Conv)
        ]
        torch_pruning.pruner.MagnitudePruner(
            module,
            torch.rand(1, *module.shape),
            importance=torch_pruning.importance.MagnitudeImportance(p=1),
            pruning_ratio=1 - KEEP,
            ignored_layers=heads,
        ).step()
        return parameters(module)

    return run


def floor() -> Task:
    import numpy as np

    import darkconv as dc

    def run() -> None:
        model = dc.load("net.cfg", "net.weights")
        for key, array in model.arrays.items():
            if key.endswith("weights"):
                norms = np.abs(array).sum((1, 2, 3))
                rows = np.sort(np.argsort(norms)[int((1 - KEEP) * len(norms)) :])
                columns = np.arange(int((1 - KEEP) * array.shape[1]), array.shape[1])
                array[rows[:, None], columns]

    return run


ROW = Row(
    title="Plan and prune",
    cases=("yolov4", "yolov3", "yolov4-tiny"),
    candidates={
        OURS: Candidate(ours),
        FLOOR: Candidate(floor),
        PRUNING: Candidate(torch_pruning, peer="torch-pruning"),
    },
    make=write_network,
    goals=(Goal(OURS, PRUNING, at_least=8, cases=("yolov4", "yolov3")),),
    turn=0.3,
    processes=3,
    rounds=9,
    notes="""
From the files to the pruned model in memory. Torch-Pruning's result of yolov4-tiny, whose routes
read halves of a layer, does not run; those of the others do, but need not keep darkconv's choice.
""",
)
