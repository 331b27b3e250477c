"""Run a whole Keras model and the Darknet model made from it, and compare their outputs."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from darkconv.backends import trace
from darkconv.core.model import Array, Model
from darkconv.errors import DarkconvError, shortened
from darkconv.files import PathLike
from darkconv.imports.proof import ALLOWED, Proof
from darkconv.libraries import is_installed

logger = logging.getLogger("darkconv")

LAYERS = {
    *("Functional", "Model", "Sequential", "InputLayer", "Conv2D", "DepthwiseConv2D", "Dense"),
    *("BatchNormalization", "LeakyReLU", "ReLU", "Activation", "Softmax", "Add", "Concatenate"),
    *("Multiply", "ZeroPadding2D", "MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D"),
    *("UpSampling2D", "Flatten", "Reshape", "Dropout", "SpatialDropout2D"),
}
"""The Keras layers that cannot hold code from a file."""
VALUES = {
    *("Zeros", "Ones", "Constant", "GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform"),
    *("LecunNormal", "LecunUniform", "RandomNormal", "RandomUniform", "TruncatedNormal"),
    *("VarianceScaling", "L1", "L2", "L1L2", "DTypePolicy", "Policy"),
    *("__tuple__", "__keras_tensor__"),
}
"""The other classes that a layer's options may name: initializers, regularizers, dtype policies."""


def strange_layers(config: Any) -> list[str]:
    """Return the names in a model's configuration that are not Keras's stock classes.

    A model that has such names is not run.

    Args:
        config: the configuration of a whole Keras model.
    """
    return list(dict.fromkeys(_strange(config)))


def _strange(config: Any) -> Iterator[str]:
    if isinstance(config, list):
        for one in config:
            yield from _strange(one)
    if not isinstance(config, dict):
        return
    name, module = config.get("class_name"), config.get("module")
    if name is not None and not _is_of_keras(module):
        yield f"{module}.{name}"
    elif name is not None and name not in LAYERS | VALUES:
        yield str(name)
    if isinstance(config.get("activation"), (dict, list)):
        yield "activation"
    for key, value in config.items():
        if key != "build_config":
            yield from _strange(value)


def _is_of_keras(module: Any) -> bool:
    return module is None or module == "builtins" or str(module).partition(".")[0] == "keras"


def prove_keras(model: Model, file: PathLike, config: Any) -> Proof:
    """Run a Keras model and the Darknet model made from it on the same input, and compare them.

    Args:
        model: the Darknet model that was imported from the file.
        file: the Keras model's file.
        config: the Keras model's configuration.

    Returns:
        The comparison of every output, or the reason why there was none.
    """
    strange = strange_layers(config)
    if strange:
        names = shortened(", ".join(strange), 80)
        return Proof(notes=(f"it was not run, for it has {names}: no stock layer of Keras 3",))
    if not is_installed("keras"):
        return Proof(warnings=("the file was not run, for Keras is not installed",))
    try:
        return _compared(model, file)
    except DarkconvError as error:
        return Proof(warnings=(f"the file could not be compared with the model: {error.told}",))


def _compared(model: Model, file: PathLike) -> Proof:
    import keras

    try:
        program = keras.saving.load_model(file, compile=False, safe_mode=True)
        inputs = program.inputs
    except Exception as error:  # Keras does not document what it raises on files it cannot build
        logger.debug("%s", error)
        text = shortened(str(error).splitlines()[0] if str(error) else type(error).__name__, 100)
        return Proof(notes=(f"it was not run: Keras {keras.__version__} cannot build it: {text}",))
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        return Proof(notes=(f"it was not run, for it has {len(inputs)} inputs",))
    _, height, width, _ = inputs[0].shape
    if height and width and model.network.input_shape.is_map:
        model = model.with_input_size(width, height)
    x = np.random.default_rng(0).random(tuple(model.network.input_shape), np.float32)
    outputs = program(np.moveaxis(x, 0, -1)[None], training=False)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    traced = trace(model, x)
    lines, doubts = [], []
    for i, output in enumerate(map(keras.ops.convert_to_numpy, outputs)):
        found = _nearest(model, traced, output[0])
        if found is None:
            doubts.append(f"output {i} of the file has the shape of no output of the model")
            continue
        index, distance = found
        lines.append(
            f"the file was run with Keras {keras.__version__}, output {i} is layer {index}: "
            f"relative error {distance:.1e} in {output[0].size} values"
        )
        if not distance <= ALLOWED:
            doubts.append(f"output {i} of the file is not what the model computes")
    return Proof(tuple(lines), tuple(doubts))


def _nearest(model: Model, traced: list[Array], output: Array) -> tuple[int, float] | None:
    """Return the index of the layer that an output is nearest to, and the error.

    The error is the largest difference as a fraction of the layer's largest value.
    """
    heads = model.network.heads
    indices = [head.sources[0] for head in heads] or range(len(traced))[-3:]
    flat = output.reshape(*output.shape[:2], -1) if output.ndim > 2 else output
    mine = np.moveaxis(flat, -1, 0).ravel().astype(np.float64)
    found = []
    for index in indices:
        wanted = traced[index]
        if wanted.size == mine.size and (output.ndim < 3 or wanted.shape[1:] == flat.shape[:2]):
            scale = float(np.abs(wanted).max()) or 1.0
            found.append((float(np.abs(wanted.ravel() - mine).max()) / scale, index))
    return (min(found)[1], min(found)[0]) if found else None
