"""Files -> Keras model; each turn is a process of its own, which has made a small model before."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from networks import write_network
from row import OURS, Candidate, Goal, Row
from workers import Task

HEADER = 20
SMALL = "yolov3-tiny"
ASSIGNMENT = "assignment alone"
MADE = "Keras making the layers, and assignment"


def make(case: str, folder: Path) -> dict[str, float]:
    """net and small: .cfg, .weights, .json of the Keras model, and net.places."""
    import darkconv as dc
    from darkconv.backends.keras.arrays import variable_places

    write_network(SMALL, folder)
    for suffix in (".cfg", ".weights"):
        (folder / f"net{suffix}").rename(folder / f"small{suffix}")
    facts = write_network(case, folder)
    for name in ("small", "net"):
        model = dc.load(folder / f"{name}.cfg")
        (folder / f"{name}.json").write_text(dc.to_keras(model).to_json())
    places = [(place.part, place.variable) for place in variable_places(model.network).values()]
    (folder / "net.places").write_text(json.dumps(places))
    return facts


def ours() -> Task:
    import darkconv as dc

    dc.to_keras(dc.load("small.cfg", "small.weights"))
    return lambda: dc.to_keras(dc.load("net.cfg", "net.weights"))


def assignment() -> Task:
    """Prepare the least that any converter must do: fill the variables of a model that is there."""
    import keras

    variables = variables_of(keras.models.model_from_json(Path("net.json").read_text()))
    return lambda: assign(variables)


def made() -> Task:
    import keras

    keras.models.model_from_json(Path("small.json").read_text())
    text = Path("net.json").read_text()

    def convert() -> object:
        kmodel = keras.models.model_from_json(text)
        assign(variables_of(kmodel))
        return kmodel

    return convert


def variables_of(kmodel: Any) -> list[Any]:
    """Return the variables of a Keras model in the order of the weights file."""
    places = json.loads(Path("net.places").read_text())
    return [getattr(kmodel.get_layer(layer), variable) for layer, variable in places]


def assign(variables: Iterable[Any]) -> None:
    """Fill variables from net.weights; kernels have their axes turned."""
    values = np.memmap("net.weights", np.float32, "r", offset=HEADER)
    start = 0
    for variable in variables:
        count = int(np.prod(variable.shape))
        array = values[start : start + count].reshape(variable.shape[::-1])
        if array.ndim == 4:  # (columns, rows, inputs, outputs) reversed: outputs, inputs, rows ...
            outputs, inputs, columns, rows = array.shape
            array = array.reshape(outputs, inputs, rows, columns).transpose(2, 3, 1, 0)
        variable.assign(array)
        start += count


ROW = Row(
    title="Files to a Keras model",
    cases=("yolov4", "yolov4-tiny"),
    candidates={OURS: Candidate(ours), MADE: Candidate(made), ASSIGNMENT: Candidate(assignment)},
    make=make,
    goals=(Goal(OURS, MADE, at_most=1.0), Goal(OURS, ASSIGNMENT, at_most=2)),
    fresh=True,
    rounds=4,
    notes="""
No other converter runs with Keras 3. A model has to be made before it can be filled: of the time of
`darkconv` for YOLOv4 a second goes to Keras itself, which makes 383 layers; the profile is in
[keras.md](keras.md#what-it-takes).
""",
)
