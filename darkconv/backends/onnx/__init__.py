"""The ONNX spoke."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnx_ir as ir

from darkconv.backends.onnx import conv, dense, head, inert, merge, norm, pool, resize
from darkconv.backends.onnx.graph import OPSET
from darkconv.backends.onnx.network import INPUT, build_model
from darkconv.core.model import Array, Model
from darkconv.errors import DarkconvError, MissingDependencyError
from darkconv.files import PathLike, write_bytes

__all__ = [
    "conv",
    "dense",
    "head",
    "inert",
    "make_runner",
    "merge",
    "norm",
    "pool",
    "resize",
    "to_onnx",
    "trace_steps",
    "write_onnx",
]

OLDEST_OPSET = 11
HEADS = ("raw",)


def to_onnx(model: Model, *, head: str = "raw", opset: int = OPSET) -> onnx.ModelProto:
    """Build the ONNX model of a model, directly: nothing is traced.

    The input is `input`, float32 (batch, channels, height, width), RGB in 0..1, or (batch,
    inputs); the batch is free. Batch norm is folded into weights in double precision.

    Args:
        model: what to build.
        head: "raw": the outputs are the network's, as the C program activates them, each named
            by its layer, `082_yolo`.
        opset: version of the standard operators, 11 or later.

    Raises:
        UnsupportedError: a layer that is not expressed in ONNX.
        DarkconvError: an unknown head or opset.
    """
    if head not in HEADS:
        raise DarkconvError("head", expected=", ".join(HEADS), found=head)
    if opset < OLDEST_OPSET:
        raise DarkconvError("opset", expected=f"{OLDEST_OPSET} or later", found=opset)
    return ir.to_proto(build_model(model, outputs=model.network.outputs, opset=opset))


def write_onnx(model: Model, path: PathLike, **options: Any) -> None:
    """Write the ONNX file of a model; options are those of `to_onnx`.

    Raises:
        UnsupportedError: a layer that is not expressed in ONNX.
        DarkconvError: the file cannot be written.
    """
    write_bytes(path, [to_onnx(model, **options).SerializeToString()])


def make_session(proto: onnx.ModelProto) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "onnxruntime", extra="onnx", task="running an ONNX model"
        ) from None
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def make_runner(model: Model) -> Callable[[Array], list[Array]]:
    """A function from float32 inputs (N, ...) to the network's outputs."""
    session = make_session(to_onnx(model))

    def run(x: Array) -> list[Array]:
        values: list[Array] = session.run(None, {INPUT: x})
        return values

    return run


def trace_steps(model: Model, steps: Sequence[Array]) -> list[list[Array]]:
    """Outputs of every layer for successive calls, as (N, ...) arrays."""
    every = tuple(range(len(model.network.layers)))
    session = make_session(ir.to_proto(build_model(model, outputs=every)))
    return [session.run(None, {INPUT: step}) for step in steps]
