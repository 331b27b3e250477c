"""The spokes, one for each framework. A framework is imported only when its spoke is used."""

import os
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Literal, overload

from darkconv.arguments import checked
from darkconv.backends import tracing
from darkconv.backends.quiet import quiet
from darkconv.core.finite import check_kept
from darkconv.core.model import Array, Model
from darkconv.errors import DarkconvError, MissingDependencyError
from darkconv.files import PathLike
from darkconv.libraries import telling_missing

if TYPE_CHECKING:
    # under other names, as the sub-packages keras, onnx and torch become attributes of this module
    from keras import Model as KerasModel
    from onnx import ModelProto
    from torch.nn import Module as TorchModule

    from darkconv.backends.torch import DarknetModule

SPOKES = ("torch", "onnx", "keras")
OTHER_KERAS_BACKENDS = {"torch": "torch", "jax": None, "openvino": None}
"""Keras backends besides TensorFlow that a user can choose, with the extra that installs each."""


def spoke(name: str) -> ModuleType:
    """Import one spoke, and return its module.

    Args:
        name: "torch", "onnx" or "keras".

    Raises:
        DarkconvError: there is no such spoke, or Keras is set to a backend that it does not know.
        MissingDependencyError: the framework is not installed.
    """
    if name not in SPOKES:
        raise DarkconvError("unknown backend", expected=", ".join(SPOKES), found=name)
    with telling_missing(f"the {name} backend", extra=name):
        return _import_keras() if name == "keras" else import_module(f"darkconv.backends.{name}")


def _import_keras() -> ModuleType:
    """Import the Keras spoke, with the Keras backend that the user has chosen."""
    try:
        with quiet():
            keras = import_module("darkconv.backends.keras")
            keras.settle()
            return keras
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
    """Build the PyTorch module of a model, in evaluation mode, on the CPU.

    Whatever is done to the module, the model does not change. The weights of a file are not copied:
    the module maps the file, and a page of it becomes the module's own when it is written to.

    Example:
        >>> import darkconv as dc
        >>> module = dc.to_torch(dc.load("digits10.cfg", "digits10.weights"))
        >>> dc.from_torch(module).names[:2]
        ('zero', 'one')

    Args:
        model: what to build.

    Returns:
        A module that takes float32 (N, C, H, W), RGB in 0..1, or (N, inputs), and gives what the
        heads give as the C program activates it: one tensor, or several in a tuple.

    Raises:
        UnsupportedError: a layer that PyTorch cannot express.
        GraphError: a class tree that was not found.
        MissingDependencyError: PyTorch is not installed.
    """
    module: DarknetModule = spoke("torch").to_torch(model)
    return module


def from_torch(module: "TorchModule") -> Model:
    """Return the model that a module of `to_torch` holds now, bit for bit.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> module = dc.to_torch(load_digits10())
        >>> dc.save(dc.from_torch(module), "copy.cfg", "copy.weights")

    Args:
        module: module of `to_torch`; its values may have been trained or changed since.

    Returns:
        A model with copies of the module's values.

    Raises:
        DarkconvError: `to_torch` did not build the module, or it holds no values.
    """
    model: Model = spoke("torch").from_torch(module)
    return model


@checked
def to_keras(
    model: Model,
    *,
    head: Literal["raw", "boxes", "logits"] = "raw",
    fold_bn: bool = False,
    resize: Literal["stretch", "letterbox"] | None = None,
) -> "KerasModel":
    """Build the Keras model of a model: functional, NHWC, trainable, of stock layers only.

    `darkconv.backends.keras.to_keras` says how layers, states and outputs are named.

    Example:
        >>> import darkconv as dc
        >>> kmodel = dc.to_keras(dc.load("digits10.cfg", "digits10.weights"), head="boxes")
        >>> kmodel.input_shape
        (None, 160, 160, 3)

    Args:
        model: what to build.
        head: "raw": what the heads give, activated as in C. "boxes": a dict of `boxes`
            (N, boxes, 4), x0 y0 x1 y1 relative to the input, and `scores` (N, boxes, classes);
            for a classifier, its probabilities. "logits": the inputs of the heads.
        fold_bn: fold batch norm into weights and biases first.
        resize: how pictures are fitted to the input, for the metadata of a file; None means
            what the dialect and `letter_box=` say.

    Returns:
        A model that takes float32 (N, H, W, C), RGB in 0..1, or (N, inputs).

    Raises:
        UnsupportedError: a layer or head that is not expressed in Keras.
        DarkconvError: a head that the network does not have.
        MissingDependencyError: Keras is not installed.
    """
    return spoke("keras").to_keras(model, head=head, fold_bn=fold_bn, resize=resize)


@checked
def from_keras(
    kmodel: "KerasModel",
    cfg: PathLike | None = None,
    *,
    dialect: Literal["auto", "pjreddie", "alexeyab", "yolor"] = "auto",
) -> Model:
    """Return the model that a Keras model of `to_keras` holds now, bit for bit.

    Layers are found by their names, so a clone, a model with another head or one that was
    loaded from a file will do.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> dc.from_keras(dc.to_keras(model)).names == model.names
        True

    Args:
        kmodel: model that `to_keras` built.
        cfg: cfg file of the network, needed for a clone and for a model that Keras loaded itself.
        dialect: dialect of the cfg; "auto" is that of the network that the Keras model comes from.

    Returns:
        A model with copies of the Keras model's values.

    Raises:
        DarkconvError: no cfg is known, or the layers are not its network's.
        MissingDependencyError: Keras is not installed.
    """
    model: Model = spoke("keras").from_keras(kmodel, cfg, dialect=dialect)
    return model


@checked
def to_onnx(
    model: Model,
    *,
    head: Literal["raw", "logits", "boxes", "nms"] = "raw",
    layout: Literal["split", "ultralytics", "deepstream", "yolov4", "efficientnms"] = "split",
    pixels: bool = False,
    threshold: float = 0.25,
    nms: float = 0.45,
    threshold_inputs: bool = False,
    max_detections: int = 300,
    nms_op: Literal["onnx", "tensorrt"] = "onnx",
    input: Literal["float32-nchw", "float32-nhwc", "uint8-nhwc", "uint8-nhwc-bgr"] = "float32-nchw",
    dynamic: str | Iterable[str] = "batch",
    fold: bool = True,
    opset: int = 13,
    fp16: bool = False,
    resize: Literal["stretch", "letterbox"] | None = None,
    allow_nonfinite: bool = False,
) -> "ModelProto":
    """Build the ONNX graph of a model, directly: nothing is traced.

    `darkconv.export` writes it to a file, with weights of any size.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> proto = dc.to_onnx(load_digits10(), head="nms")
        >>> [value.name for value in proto.graph.output]
        ['boxes', 'scores', 'classes', 'count']

    Args:
        model: what to build.
        head: "raw": what the heads give, activated as in C. "boxes": `boxes` (N, boxes, 4),
            x0 y0 x1 y1, and `scores` (N, boxes, classes) of all heads, before any threshold; of a
            classifier `probabilities`. "nms": after non-maximum suppression (NMS) per class, padded
            with zeros: `boxes` (N, m, 4), `scores` (N, m), `classes` (N, m) int32 and `count` (N,).
            "logits": the input of each head, before any activation.
        layout: form of boxes and nms, for programs that read no other: "split" is as described
            above. With boxes also "ultralytics": `output0` (N, 4 + classes, n), centre and size in
            pixels of the input, with the metadata of such files; "deepstream": `output` (N, n, 6),
            x0 y0 x1 y1 in pixels, the best score and its class; "yolov4": `boxes` (N, n, 1, 4) and
            `confs` (N, n, classes). With nms also "efficientnms": `num_dets` (N, 1), `det_boxes`,
            `det_scores` and `det_classes`, padded with zeros.
        pixels: boxes in pixels of the network's input, not in 0..1 of it; with boxes and nms,
            where the layout leaves it open.
        threshold: least score, 0..1: a constant of the graph with nms, else for the metadata.
        nms: IoU of boxes that count as the same object, 0..1; 0 keeps them all.
        threshold_inputs: make these two inputs of the graph, not constants; with nms.
        max_detections: m, most detections of a picture; with nms.
        nms_op: what does NMS: "onnx", operators of ONNX; or "tensorrt", its plugin
            EfficientNMS_TRT in the layout "efficientnms", which runs in TensorRT alone.
        input: float32 RGB in 0..1, (N, C, H, W) or (N, H, W, C); or 8-bit levels (N, H, W, C), RGB
            or BGR.
        dynamic: axes of any length: "batch", "size", "batch,size" or "none", or several words.
        fold: fold batch norm into weights and biases.
        opset: version of ONNX's operators, 11 or later.
        fp16: half precision, but for heads, decoding, inputs and outputs.
        resize: how pictures are fitted to the input, for the metadata; by default what the dialect
            and `letter_box=` say.
        allow_nonfinite: accept arrays with NaN or infinity, and variances without a square root,
            with a warning.

    Returns:
        The graph; its metadata hold what a reader needs: see docs/onnx.md.

    Raises:
        UnsupportedError: a layer that is not expressed in ONNX with these options.
        WeightsError: an array holds NaN or infinity, or a variance has no square root.
        DarkconvError: an option has an impossible value, or would have no effect.
        MissingDependencyError: onnx is not installed.
    """
    check_kept(
        model, model.network.file, allow_nonfinite=allow_nonfinite,
        remedy="allow_nonfinite=True builds it all the same",
    )  # fmt: skip
    proto: ModelProto = spoke("onnx").to_onnx(
        model, head=head, layout=layout, pixels=pixels, threshold=threshold, nms=nms,
        threshold_inputs=threshold_inputs, max_detections=max_detections, nms_op=nms_op,
        input=input, dynamic=dynamic, fold=fold, opset=opset, fp16=fp16, resize=resize,
    )  # fmt: skip
    return proto


Backend = Literal["torch", "keras", "onnx"]


@overload
def trace(model: Model, x: Array, *, backend: Backend = ..., device: str = ...) -> list[Array]: ...
@overload
def trace(
    model: Model, x: list[Array], *, backend: Backend = ..., device: str = ...
) -> list[list[Array]]: ...
@checked
def trace(
    model: Model, x: Array | list[Array], *, backend: Backend = "torch", device: str = "cpu"
) -> list[Array] | list[list[Array]]:
    """Run a model and return every layer's output, in the C program's meaning and shape.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> values = dc.trace(model, np.zeros((3, 160, 160), np.float32))
        >>> len(values), values[0].shape
        (19, (16, 80, 80))

    Args:
        model: what to run.
        x: float32 (C, H, W) or (N, C, H, W), RGB in 0..1, or for networks without pictures
            (inputs,), (N, inputs) or (inputs, 1, 1). A list means successive calls with kept state.
        backend: "torch", "keras" or "onnx".
        device: where PyTorch runs: "cpu", "cuda", "cuda:1", or "auto", which is the GPU where there
            is one. The other backends run on the CPU.

    Returns:
        One array per layer; [cost] and [contrastive] give zeros, recurrent state starts at zero.
        For a list of inputs, a list of such lists.

    Raises:
        UnsupportedError: a layer that the backend cannot express.
        DarkconvError: an input of another shape, or a device that is not there.
        MissingDependencyError: the backend is not installed.
    """
    steps = spoke(backend).trace_steps
    if backend == "torch":
        return tracing.trace(model, x, partial(steps, device=device))
    if device not in ("cpu", "auto"):
        raise DarkconvError(
            "device", expected="cpu: it is about the backend torch", found=f"{device}, {backend}"
        )
    return tracing.trace(model, x, steps)
