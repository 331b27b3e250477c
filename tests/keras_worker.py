"""Loads, runs and trains `.keras` files with Keras alone, where darkconv is not.

    python -I keras_worker.py FOLDER INTO [TRAINED ...]

Every line of standard input is a NAME: FOLDER holds NAME.keras and NAME.npy, inputs for
successive calls, (steps, N, ...). It writes INTO/NAME.json, what there is to say of the model, and
INTO/NAME.npz, its outputs by name, (steps, N, ...). The models TRAINED are trained for a step
afterwards. What fails is told as `error`. INTO/environment.json says where all this was.
"""

import importlib.util
import json
import sys
import traceback
from pathlib import Path

import keras
import numpy as np

OTHERS = ("darkconv", "jax", "onnx", "tensorflow", "torch")


def main(folder: Path, into: Path, trained: list[str]) -> None:
    found = [name for name in OTHERS if importlib.util.find_spec(name)]
    write(into / "environment.json", backend=keras.backend.backend(), found=found)
    for name in map(str.strip, sys.stdin):
        try:
            report = examine(folder / f"{name}.keras", into, is_trained=name in trained)
        except Exception:
            report = {"error": traceback.format_exc()}
        write(into / f"{name}.json", **report)


def write(path: Path, **report: object) -> None:
    path.write_text(json.dumps(report))


def examine(path: Path, into: Path, *, is_trained: bool) -> dict:
    kmodel = keras.models.load_model(path)
    steps = np.load(path.with_suffix(".npy"))
    np.savez(into / f"{path.stem}.npz", **run(kmodel, steps))
    report = {
        "inputs": {tensor.name: tensor.shape for tensor in kmodel.inputs},
        "outputs": {name: x.shape for name, x in by_name(kmodel, kmodel.output).items()},
    }
    return report | (train(kmodel, steps[0]) if is_trained else {})


def by_name(kmodel: keras.Model, outputs) -> dict:
    """What a Keras model gives: a dict already, a list, or one by itself."""
    if isinstance(outputs, dict):
        return outputs
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return dict(zip(kmodel.output_names, outputs, strict=True))


def run(kmodel: keras.Model, steps: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of successive calls; what leaves as NAME_out enters the next one as NAME_in."""
    state = {
        tensor.name: np.zeros((len(steps[0]), *tensor.shape[1:]), np.float32)
        for tensor in kmodel.inputs
        if tensor.name != "input"
    }
    calls = []
    for x in steps:
        values = by_name(kmodel, call(kmodel, {"input": x, **state} if state else x))
        state = {name: values.pop(name.removesuffix("in") + "out") for name in state}
        calls.append(values)
    return {name: np.stack([values[name] for values in calls]) for name in calls[0]}


def call(kmodel: keras.Model, x):
    """Outputs as arrays; JAX compiles in any case, and the whole sooner than every operation."""
    if keras.backend.backend() == "jax":
        return kmodel.predict_on_batch(x)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, kmodel(x))


def train(kmodel: keras.Model, x: np.ndarray) -> dict:
    """One step towards outputs of zeros: its loss, and the variables that it left as they were."""
    before = [keras.ops.convert_to_numpy(v).copy() for v in kmodel.trainable_variables]
    kmodel.compile(optimizer="sgd", loss="mse")
    loss = float(kmodel.train_on_batch(x, np.zeros_like(call(kmodel, x))))
    after = map(keras.ops.convert_to_numpy, kmodel.trainable_variables)
    pairs = zip(kmodel.trainable_variables, before, after, strict=True)
    return {"loss": loss, "unchanged": [v.path for v, a, b in pairs if np.array_equal(a, b)]}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
