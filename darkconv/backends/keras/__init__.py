"""The Keras backend: functional models of stock layers and `keras.ops`, for any Keras backend."""

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras

from darkconv.backends.keras import conv, dense, head, inert, merge, norm, pool, recurrent, resize
from darkconv.backends.keras.arrays import as_array, read_arrays
from darkconv.backends.keras.files import (
    KerasFile,
    read_keras,
    read_keras_file,
    write_keras,
    write_saved_model,
)
from darkconv.backends.keras.heads import build_outputs
from darkconv.backends.keras.litert import LitertFile, read_litert, write_litert
from darkconv.backends.keras.network import NetworkGraph, is_cell_major
from darkconv.backends.keras.origin import Origin, origin_of, remember
from darkconv.backends.keras.running import Runner, in_darknet
from darkconv.core.model import Array, Model
from darkconv.core.net import check_resize
from darkconv.errors import DarkconvError
from darkconv.files import PathLike
from darkconv.surgery.folding import fold_batchnorm

__all__ = [
    "KerasFile",
    "LitertFile",
    "Origin",
    "conv",
    "dense",
    "from_keras",
    "head",
    "inert",
    "make_runner",
    "merge",
    "norm",
    "on_device",
    "pool",
    "read_keras",
    "read_keras_file",
    "read_litert",
    "recurrent",
    "resize",
    "settle",
    "to_keras",
    "trace_steps",
    "write_keras",
    "write_litert",
    "write_saved_model",
]


def to_keras(
    model: Model, *, head: str = "raw", fold_bn: bool = False, resize: str | None = None
) -> keras.Model:
    """Build the Keras model of a model: functional, channels last (NHWC), trainable.

    The input is float32 (N, H, W, C), RGB in 0..1, or (N, inputs). Outputs are (N, H, W, C) or (N,
    values): a single one by itself, several in a list. A Darknet layer's Keras layers are named
    after it: `000_convolutional`, `000_convolutional_bn`, `000_convolutional_leaky`; arrays of
    layers without a stock counterpart are the only row of an Embedding. A recurrent layer has its
    state as inputs and outputs, `003_lstm_h_in` and `003_lstm_h_out`, beside `input`: the model
    then takes and returns dicts. The returned state is a tensor, and Keras takes no NumPy array
    beside a tensor: `input` too needs `keras.ops.convert_to_tensor` then. Everything consists of
    stock layers and `keras.ops`, so that a saved file can be loaded without darkconv.

    Args:
        model: network, arrays, header and class names.
        head: "raw": the outputs of the heads, activated as in C. "boxes": a dict of `boxes` (N,
            boxes, 4), xyxy relative to the input, and `scores` (N, boxes, classes) of all heads, in
            C's order, and `confidences` if ONNX files have them; of a classifier its probabilities.
            "logits": the inputs of the heads, which the losses take.
        fold_bn: fold batch norm into weights and biases first: see `fold_batchnorm`.
        resize: how pictures are fitted to the input, "stretch" or "letterbox", as the metadata of a
            file say it; None for what the dialect and `letter_box=` say.

    Raises:
        UnsupportedError: a layer or head cannot be expressed in Keras.
        DarkconvError: the network has no such head, or `head` or `resize` is another word.
    """
    if resize is not None:
        check_resize(resize)
    if fold_bn:
        model = fold_batchnorm(model)
    built = NetworkGraph(model)
    outputs = build_outputs(built, head)
    kmodel = built.finish(outputs)
    remember(kmodel, Origin.of(model, kmodel, head, resize))
    return kmodel


def from_keras(kmodel: keras.Model, cfg: PathLike | None = None, *, dialect: str = "auto") -> Model:
    """Return the model that a Keras model of `to_keras` holds now: its inverse, bit for bit.

    Layers are found by their names, so a clone, a model with another head or one loaded from a file
    can be given. If `to_keras` was given `resize=`, the cfg gets the `letter_box=` that says the
    same.

    Args:
        kmodel: model that `to_keras` built.
        cfg: the network; needed for a clone and for a model that Keras itself loaded from a file.
        dialect: dialect of the cfg. With "auto" it is that of the network that the Keras model
            comes from, which a model of `to_keras` or `read_keras` knows; for others it is guessed
            from the cfg alone, as by `load` without weights.

    Raises:
        DarkconvError: no cfg is known, or the layers are not those of its network.
    """
    origin = origin_of(kmodel, cfg, dialect)
    arrays = read_arrays(kmodel, origin.network, origin.spare)
    network = origin.network.with_resize(origin.resize) if origin.resize else origin.network
    return Model(network, arrays, origin.header, origin.names)


def make_runner(
    model: Model,
    layers: Sequence[int] | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
) -> Callable[[Array], list[Array]]:
    """Build a function from float32 inputs (N, ...) to the float32 values of some layers.

    The inputs and values are in Darknet's layout, (N, C, H, W) or (N, values).

    Args:
        model: model that is run.
        layers: indices of the layers as Darknet counts them, from 0; None for the network's
            outputs.
        device: name of the device, see `on_device`.
        threads: must be None: the library that Keras runs on has its own setting.

    Raises:
        DarkconvError: the device does not exist, or a number of threads is given.
    """
    if threads is not None:
        raise DarkconvError(
            "threads",
            expected="None: Keras has no setting for it",
            found=threads,
            hint="OMP_NUM_THREADS and TF_NUM_INTRAOP_THREADS, before Python starts",
        )
    with on_device(device):
        run = _runner(model, model.network.outputs if layers is None else layers)

    def call(x: Array) -> list[Array]:
        with on_device(device):
            return run(x)

    return call


def on_device(name: str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which Keras computes on a device.

    Args:
        name: "auto" for Keras's own choice, "cpu", "cuda" for the first GPU, or "cuda:N" for the
            GPU of index N, from 0.

    Raises:
        DarkconvError: the name is not one of these, or the device does not exist on this machine.
    """
    if name == "auto":
        return contextlib.nullcontext()
    kind, _, number = name.partition(":")
    place = f"{'gpu' if kind == 'cuda' else kind}:{number or 0}"
    known = [*keras.distribution.list_devices("cpu"), *keras.distribution.list_devices("gpu")]
    if kind != "cpu" and place not in known:
        there = ", ".join(one.replace("gpu", "cuda") for one in known)
        raise DarkconvError("device", expected=f"auto, or what Keras finds: {there}", found=name)
    scope: contextlib.AbstractContextManager[Any] = keras.device(place)
    return scope


def trace_steps(model: Model, steps: Sequence[Array]) -> list[list[Array]]:
    """Return the outputs of every layer for successive calls that keep recurrent state.

    Args:
        model: model that is run.
        steps: the float32 input of each call, (N, C, H, W) or (N, values).

    Returns:
        For each call a list with the (N, ...) output of every layer, by layer index from 0.
    """
    run = _runner(model, range(len(model.network.layers)))
    return [run(step) for step in steps]


def _runner(model: Model, layers: Sequence[int]) -> Callable[[Array], list[Array]]:
    built = NetworkGraph(model)
    built.build(layers)
    values: Any = {str(index): built.values[index] for index in layers}
    run = Runner(built.finish(values))
    cell_major = {str(index): is_cell_major(model.network.layers[index]) for index in layers}

    def call(x: Array) -> list[Array]:
        results = run(x)
        return [
            in_darknet(as_array(results[name]), is_cell_major=has_cells)
            for name, has_cells in cell_major.items()
        ]

    return call


@cache
def settle() -> None:
    """Let TensorFlow print its messages about the processor, which it does at its first use."""
    keras.ops.zeros(())
