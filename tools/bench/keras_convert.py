"""What it takes to make a Keras model of a large network, beside what Keras itself needs.

    python tools/bench/keras_convert.py [--network yolov4] [--rounds 5]

Every sample is a process of its own that makes the model of `net.cfg` and `net.weights`:
`sampling.py` says what counts. All have made a small model before. The candidates take turns:

- darkconv: `dc.load` and `dc.to_keras`.
- assignment: the same variables, of a model that is there, filled from the mapped file, their axes
  turned, by `variable.assign`.
- Keras and assignment: `keras.models.model_from_json` of the same model, then that.

"darkconv takes" so many times as long, by median.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sampling import Samples, Task, measure, serve, write_network

HEADER = 20  # bytes of net.weights before the first value
SMALL = "yolov3-tiny"


def darkconv_convert() -> Task:
    """From the files to the model."""
    import darkconv as dc

    dc.to_keras(dc.load("small.cfg", "small.weights"))
    return lambda: dc.to_keras(dc.load("net.cfg", "net.weights"))


def bare_assignment() -> Task:
    """What must be done whoever does it."""
    import keras

    kmodel = keras.models.model_from_json(Path("net.json").read_text())
    variables = variables_of(kmodel)
    return lambda: assign(variables)


def keras_and_assignment() -> Task:
    """A model made by Keras with its own initial values, then filled."""
    import keras

    keras.models.model_from_json(Path("small.json").read_text())
    text = Path("net.json").read_text()

    def convert() -> object:
        kmodel = keras.models.model_from_json(text)
        assign(variables_of(kmodel))
        return kmodel

    return convert


def variables_of(kmodel: Any) -> list[Any]:
    """The variables of a Keras model in the order of the weights file."""
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


CANDIDATES: dict[str, Callable[[], Task]] = {
    "darkconv": darkconv_convert,
    "assignment": bare_assignment,
    "Keras and assignment": keras_and_assignment,
}
"""What imports all that is needed, and returns what makes the model."""


def print_table(results: dict[str, Samples], weights: float) -> None:
    medians = {name: statistics.median(found.seconds) for name, found in results.items()}
    print("| | s: median (low-high) | CPU s | darkconv takes | memory MB | of the weights |")
    print("|---|---|---|---|---|---|")
    for name, found in results.items():
        print(
            f"| {name} | {medians[name]:.2f} ({min(found.seconds):.2f}-{max(found.seconds):.2f}) "
            f"| {statistics.median(found.cpu):.2f} | {medians['darkconv'] / medians[name]:.2f} "
            f"| {max(found.megabytes):.0f} | {max(found.megabytes) / weights:.2f} |"
        )


def write_files(network: str, folder: Path) -> float:
    """What the candidates need; returns the weights' MB."""
    import darkconv as dc
    from darkconv.backends.keras.arrays import variable_places

    write_network(SMALL, folder)
    for suffix in (".cfg", ".weights"):
        (folder / f"net{suffix}").rename(folder / f"small{suffix}")
    weights = write_network(network, folder)
    for name in ("small", "net"):
        model = dc.load(folder / f"{name}.cfg")
        (folder / f"{name}.json").write_text(dc.to_keras(model).to_json())
    places = [(place.part, place.variable) for place in variable_places(model.network).values()]
    (folder / "net.places").write_text(json.dumps(places))
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="yolov4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(CANDIDATES[options.serve])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = write_files(options.network, folder)
        results = {name: Samples() for name in CANDIDATES}
        for _ in range(options.rounds):
            for name, samples in results.items():
                measure(__file__, name, folder, samples, {"TF_CPP_MIN_LOG_LEVEL": "2"})
        print(f"{options.network}, {weights:.1f} MB of weights, {options.rounds} rounds\n")
        print_table(results, weights)


if __name__ == "__main__":
    main()
