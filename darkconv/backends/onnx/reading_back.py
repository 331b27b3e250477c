"""Reading an ONNX file that darkconv wrote in float32 back as a model.

Arrays have the names of their layers and slots. No list says which of them a graph holds unchanged.
So the graph is built again from the arrays that were found, and must have exactly the same arrays.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx.numpy_helper import to_array

from darkconv.backends.layouts import PIXELS, SPLIT
from darkconv.backends.onnx.files import described_network, weights_precision
from darkconv.backends.onnx.graph import plain_proto
from darkconv.backends.onnx.graph_file import read_graph
from darkconv.backends.onnx.metadata import read_metadata
from darkconv.backends.onnx.options import OnnxOptions
from darkconv.backends.onnx.picture import INPUT
from darkconv.backends.onnx.writing import build_model
from darkconv.core.model import Array, Header, Model
from darkconv.core.network import Layer
from darkconv.core.spec import Slot
from darkconv.core.unchanging import frozen
from darkconv.darknet.description import damaged, read_described_names
from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.files import PathLike
from darkconv.surgery.folding import folded_network, plan_folding

OF_LAYER = re.compile(r"\d{3,}_[^/]+/")
"""Pattern of the beginning of the name of a layer's array."""
ROUNDED = {"float16": "half precision", "int8": "8 bits"}


def read_model(path: PathLike) -> Model:
    """Read an ONNX file of darkconv back as a model.

    Batch norm that was folded stays folded: the cfg then has `batch_normalize=0`. The header of the
    weights is a new one, because the file does not hold the old one.

    Args:
        path: the ONNX file; arrays in a file beside it are read too.

    Raises:
        DarkconvError: the file is damaged, or was not written by darkconv.
        WeightsError: its numbers are rounded, or it does not hold all arrays unchanged.
        MissingDependencyError: onnx is not installed.
    """
    where = Where(file=os.fspath(path))
    proto = read_graph(path)
    metadata = read_metadata(proto)
    if "cfg" not in metadata:
        raise DarkconvError("has no cfg in its metadata: darkconv did not write it", where=where)
    try:
        network, names = described_network(metadata, where), read_described_names(metadata)
        options = _options(proto, metadata)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(error, where) from error
    precision = weights_precision(proto)
    if precision != "float32":
        raise WeightsError(
            f"its numbers are rounded to {ROUNDED[precision]}",
            where=where,
            hint="read the model that it was made from",
        )
    arrays = _arrays_of_layers(proto, where)
    plan = plan_folding(network)
    owners = (network.layers[index] for index in plan.folded)
    is_folded = not any(f"{layer.label}/rolling_variance" in arrays for layer in owners)
    if is_folded:
        network = folded_network(network, plan)
    read = _reads(proto)
    found = {
        key: _found(arrays, read[layer.label], layer, slot, where)
        for key, layer, slot in network.keyed_slots()
    }
    model = Model(network, found, Header.new(network.dialect), names)
    _check_the_same(model, replace(options, fold=is_folded), arrays, where)
    return model


def _options(proto: onnx.ModelProto, metadata: Mapping[str, str]) -> OnnxOptions:
    """Return options with which a graph has a file's arrays; NMS has none of its own."""
    head = "boxes" if metadata["head"] == "nms" else metadata["head"]
    layout = metadata.get("layout", SPLIT) if metadata["head"] == "boxes" else SPLIT
    (given,) = (value for value in proto.graph.input if value.name == INPUT)
    symbols = {axis.dim_param for axis in given.type.tensor_type.shape.dim}
    options = OnnxOptions(
        head=head, layout=layout, dynamic="batch,size" if "height" in symbols else "batch"
    )
    has_pixels = options.form is not None and metadata["boxes"] == PIXELS
    return replace(options, pixels=has_pixels and options.unit != PIXELS)


def _arrays_of_layers(proto: onnx.ModelProto, where: Where) -> dict[str, Array]:
    folder = os.path.dirname(os.path.abspath(str(where.file)))
    found = {}
    for tensor in proto.graph.initializer:
        if OF_LAYER.match(tensor.name) and tensor.data_type == onnx.TensorProto.FLOAT:
            found[tensor.name] = frozen(np.array(to_array(tensor, base_dir=folder)))
    return found


def _reads(proto: onnx.ModelProto) -> defaultdict[str, list[str]]:
    """Return the names of the inputs of each layer's operators, by the layer's label."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for node in proto.graph.node:
        found[node.name.partition("/")[0]] += node.input
    return found


def _found(
    arrays: Mapping[str, Array], read: Sequence[str], layer: Layer, slot: Slot, where: Where
) -> Array:
    """Return the array of a slot; equal arrays are stored once, under the name of one of them."""
    name = f"{layer.label}/{slot.name}"
    if name in arrays and arrays[name].size == math.prod(slot.shape):
        return arrays[name].reshape(slot.shape)
    lent = {other for other in read if other in arrays and arrays[other].shape == slot.shape}
    if len(lent) != 1:
        raise _not_held(name, where)
    return arrays[lent.pop()]


def _not_held(name: str, where: Where) -> WeightsError:
    return WeightsError(
        f"{name} is not in the file as Darknet has it",
        where=where,
        hint="what no output needs is left out, and some layers are written in another form",
    )


def _check_the_same(
    model: Model, options: OnnxOptions, arrays: Mapping[str, Array], where: Where
) -> None:
    """Raise a WeightsError unless a graph of this model has the file's arrays."""
    again = plain_proto(build_model(model, options))
    for name, values in _arrays_of_layers(again, where).items():
        if name not in arrays or not np.array_equal(values, arrays[name], equal_nan=True):
            raise _not_held(name, where)
