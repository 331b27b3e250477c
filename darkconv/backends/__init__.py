"""The spokes: one framework each. Nothing is imported before a spoke is used."""

import os
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from darkconv.arguments import checked
from darkconv.backends import tracing
from darkconv.backends.quiet import quiet
from darkconv.core.model import Array, Model
from darkconv.errors import DarkconvError, MissingDependencyError
from darkconv.files import PathLike
from darkconv.libraries import telling_missing

if TYPE_CHECKING:
    from darkconv.backends.torch import DarknetModule

SPOKES = ("torch", "onnx", "keras")
OTHER_KERAS_BACKENDS = {"torch": "torch", "jax": None, "openvino": None}
"""What Keras runs on, in place of TensorFlow, where its user says so, and what extra brings it."""


def spoke(name: str) -> ModuleType:
    """Import one spoke.

    Raises:
        DarkconvError: there is no such spoke; Keras is to run on what it does not know.
        MissingDependencyError: its framework is not installed.
    """
    if name not in SPOKES:
        raise DarkconvError("unknown backend", expected=", ".join(SPOKES), found=name)
    with telling_missing(f"the {name} backend", extra=name):
        return _import_keras() if name == "keras" else import_module(f"darkconv.backends.{name}")


def _import_keras() -> ModuleType:
    """Import the Keras spoke; Keras runs on what its user says."""
    try:
        with quiet():
            return import_module("darkconv.backends.keras")
    except ModuleNotFoundError as error:
        if error.name not in OTHER_KERAS_BACKENDS:
            raise
        chosen = os.environ.get("KERAS_BACKEND")
        source = f"KERAS_BACKEND={chosen}" if chosen else "by its keras.json"
        extra = OTHER_KERAS_BACKENDS[error.name]
        raise MissingDependencyError(error.name, extra=extra, task=f"Keras ({source})") from None
    except ValueError as error:
        if "Unable to import backend" not in str(error):
            raise
        is_chosen = bool(os.environ.get("KERAS_BACKEND"))
        raise DarkconvError(
            "KERAS_BACKEND" if is_chosen else "backend in Keras's keras.json",
            expected=", ".join(["tensorflow", *OTHER_KERAS_BACKENDS]),
            found=str(error).rpartition(" ")[2],
            hint="unset KERAS_BACKEND" if is_chosen else None,
        ) from error


@checked
def to_torch(model: Model) -> "DarknetModule":
    """Build the PyTorch module of a model: see `darkconv.backends.torch.to_torch`."""
    module: DarknetModule = spoke("torch").to_torch(model)
    return module


def from_torch(module: Any) -> Model:
    """The model that a module of `to_torch` holds now, bit for bit."""
    model: Model = spoke("torch").from_torch(module)
    return model


@checked
def to_keras(model: Model, **options: Any) -> Any:
    """Build the Keras model of a model: see `darkconv.backends.keras.to_keras`."""
    return spoke("keras").to_keras(model, **options)


def from_keras(kmodel: Any, cfg: PathLike | None = None, **options: Any) -> Model:
    """The model that a Keras model holds now: see `darkconv.backends.keras.from_keras`."""
    model: Model = spoke("keras").from_keras(kmodel, cfg, **options)
    return model


@checked
def to_onnx(model: Model, **options: Any) -> Any:
    """Build the ONNX graph of a model: see `darkconv.backends.onnx.to_onnx`."""
    return spoke("onnx").to_onnx(model, **options)


@overload
def trace(model: Model, x: Array, *, backend: str = ...) -> list[Array]: ...
@overload
def trace(model: Model, x: list[Array], *, backend: str = ...) -> list[list[Array]]: ...
@checked
def trace(
    model: Model, x: Array | list[Array], *, backend: str = "torch"
) -> list[Array] | list[list[Array]]:
    """Run a model and return every layer's output, in the C program's meaning and shape.

    Args:
        model: what to run.
        x: float32 (C, H, W) or (N, C, H, W), or for networks without pictures (inputs,),
            (N, inputs) or (inputs, 1, 1). A list means successive calls with kept state.
        backend: "torch", "keras" or "onnx".

    Returns: one array per layer; [cost] and [contrastive] give zeros, recurrent state starts at
        zero. For a list of inputs, a list of such lists.
    """
    return tracing.trace(model, x, spoke(backend).trace_steps)
