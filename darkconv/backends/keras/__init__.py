"""The Keras spoke: functional models of stock layers and `keras.ops`, for any Keras backend."""

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
    """Build the Keras model of a model: functional, channels last, trainable.

    The input is float32 (N, H, W, C), RGB in 0..1, or (N, inputs); outputs are (N, H, W, C) or
    (N, values), one by itself, several in a list. A Darknet layer's Keras layers are named
    after it: `000_convolutional`, `000_convolutional_bn`, `000_convolutional_leaky`; arrays of
    layers without a stock counterpart lie in an Embedding of one row. A recurrent layer has its
    state as inputs and outputs, `003_lstm_h_in` and `003_lstm_h_out`, beside `input`: the model
    then takes and gives dicts. State that is handed on is a tensor, and Keras takes no numpy array
    beside one: `keras.ops.convert_to_tensor` for `input` too. Everything is made of stock layers
    and `keras.ops`, so that a saved file needs no darkconv.

    Args:
        model: what to build.
        head: "raw": what the heads give, activated as in C. "boxes": a dict of `boxes`
            (N, boxes, 4), x0 y0 x1 y1 relative to the input, and `scores` (N, boxes, classes)
            of all heads, in C's order, and `confidences` where ONNX files have them; of a
            classifier its probabilities. "logits": what enters the heads, which is what the
            losses take.
        fold_bn: write batch norm into weights and biases first: see `fold_batchnorm`.
        resize: how pictures are fitted to the input, "stretch" or "letterbox", for what a file says
            of itself; by default what the dialect and `letter_box=` say.

    Raises:
        UnsupportedError: a layer or head that is not expressed in Keras.
        DarkconvError: a head that the network does not have.
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
    """The model that a Keras model of `to_keras` holds now: its inverse, bit for bit.

    Layers are found by their names, so a clone, a model with another head or one that was
    loaded from a file will do. What `to_keras` was told by `resize=` stands in the cfg's
    `letter_box=` then.

    Args:
        kmodel: what `to_keras` built.
        cfg: the network; needed for a clone and for a model that Keras itself loaded from a file.
        dialect: of the cfg. With "auto" it is that of the network that the Keras model comes from,
            which a model of `to_keras` or `read_keras` knows; of others it is guessed from the cfg
            alone, as by `load` without weights.

    Raises:
        DarkconvError: no cfg is known, or the layers are not its network's.
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
    """A function from float32 inputs (N, ...) to the values of some layers.

    Args:
        model: that is run.
        layers: by Darknet's numbers; the network's outputs if not given.
        device: see `on_device`.
        threads: None: what Keras runs on has its own setting.

    Raises:
        DarkconvError: there is no such device, or a number of threads is given.
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
    """A block in which Keras computes on a device.

    Args:
        name: "auto" for what Keras takes, "cpu", "cuda" or "cuda:N".

    Raises:
        DarkconvError: there is none of this name, or none here.
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
    """Outputs of every layer for successive calls with kept state, as (N, ...) arrays."""
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
    """Let TensorFlow say what it has to say about the processor: it does so at its first use."""
    keras.ops.zeros(())
