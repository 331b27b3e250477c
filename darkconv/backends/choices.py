"""What can be chosen about exported files, known without importing a framework."""

from collections.abc import Mapping

from darkconv.errors import DarkconvError

HEADS = ("raw", "boxes", "nms", "logits")
INPUTS = ("float32-nchw", "float32-nhwc", "uint8-nhwc", "uint8-nhwc-bgr")
FULL = "full"
"""The form of 8 bits in which nothing else is computed with, from input to outputs."""
FULL_HEADS = ("logits", "raw")
"""What files in it can give."""
BGR: Mapping[int, tuple[int, ...]] = {3: (2, 1, 0), 4: (2, 1, 0, 3)}
"""Places of red, green and blue, and of a fourth channel, by the number of channels."""
HEADS_OF: Mapping[str, tuple[str, ...]] = {
    "layout": ("boxes", "nms"),
    "nms_op": ("nms",),
    "pixels": ("boxes", "nms"),
    "threshold_inputs": ("nms",),
    "max_detections": ("nms",),
}
"""With which of the heads an option acts; others act with all of them."""
RUNTIMES = ("onnxruntime", "openvino", "openvino:bf16")
"""What runs ONNX graphs, the usual one first; bf16 says that OpenVINO computes in bfloat16."""
BFLOAT16 = "bfloat16"


def parse_runtime(runtime: str | None) -> tuple[str, str]:
    """Return what runs an ONNX graph, "onnxruntime" or "openvino", and what it computes in.

    Args:
        runtime: of `RUNTIMES`; None for the usual one.

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
