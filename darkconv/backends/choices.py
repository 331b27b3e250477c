"""Possible values of the options of exported files, known without importing a framework."""

from collections.abc import Mapping

from darkconv.errors import DarkconvError

HEADS = ("raw", "boxes", "nms", "logits")
INPUTS = ("float32-nchw", "float32-nhwc", "uint8-nhwc", "uint8-nhwc-bgr")
FULL = "full"
"""Name of full 8-bit precision: everything from input to outputs is computed in 8 bits."""
FULL_HEADS = ("logits", "raw")
"""Kinds of outputs that a file in full 8-bit precision can have."""
BGR: Mapping[int, tuple[int, ...]] = {3: (2, 1, 0), 4: (2, 1, 0, 3)}
"""Indices of red, green, blue and a fourth channel in pictures in BGR order, by number of
channels."""
HEADS_OF: Mapping[str, tuple[str, ...]] = {
    "layout": ("boxes", "nms"),
    "nms_op": ("nms",),
    "pixels": ("boxes", "nms"),
    "threshold_inputs": ("nms",),
    "max_detections": ("nms",),
}
"""Kinds of head with which an option has an effect; options not named here act with every kind."""
RUNTIMES = ("onnxruntime", "openvino", "openvino:bf16")
"""Runtimes for ONNX graphs, the default first; with ":bf16" OpenVINO computes in bfloat16."""
BFLOAT16 = "bfloat16"


def parse_runtime(runtime: str | None) -> tuple[str, str]:
    """Return the runtime of an ONNX graph, "onnxruntime" or "openvino", and its computing dtype.

    Args:
        runtime: one of `RUNTIMES`; None for onnxruntime in float32.

    Raises:
        DarkconvError: there is no such runtime.
    """
    if runtime is not None and runtime not in RUNTIMES:
        raise DarkconvError("runtime", expected=", ".join(RUNTIMES), found=runtime)
    name, _, precision = (runtime or RUNTIMES[0]).partition(":")
    return name, BFLOAT16 if precision else "float32"


def backend_of_model(backend: str | None, runtime: str | None) -> str:
    """Return the backend that runs a model: PyTorch, unless a runtime of ONNX graphs is wanted.

    Args:
        backend: that was asked for, if any.
        runtime: likewise.

    Raises:
        DarkconvError: there is no such runtime, or it does not go with the backend.
    """
    parse_runtime(runtime)
    if runtime is not None and backend not in (None, "onnx"):
        raise DarkconvError(
            "runtime", expected=f"None: it is about the backend onnx, not {backend}", found=runtime
        )
    return backend or ("torch" if runtime is None else "onnx")
