"""The kit for Triton Inference Server: a model repository."""

import json
from typing import Any

from darkconv.exporting.kits.kit import Filling, Kit

TYPES = {"FLOAT": "TYPE_FP32", "INT32": "TYPE_INT32", "INT64": "TYPE_INT64", "UINT8": "TYPE_UINT8"}
"""Triton's names of ONNX's dtypes."""
MOST_AT_ONCE = 8
"""Largest number of pictures in a batch, where the file takes any number."""
DELAY = 1000
"""Longest time, in microseconds, that a picture waits for others to join its batch."""
LABELS = "labels.txt"


def fill(kit: Filling) -> None:
    """Write the repository: the model in version 1, its configuration and its labels.

    Args:
        kit: folder to fill.
    """
    import onnx

    name = kit.facts.name
    path = kit.write_model(f"{name}/1/model.onnx")
    graph = onnx.load(path, load_external_data=False).graph
    is_batched = _lengths(graph.input[0])[0] < 0
    kit.write(f"{name}/{LABELS}", kit.facts.labels)
    kit.write(f"{name}/config.pbtxt", config(kit, graph, is_batched=is_batched))
    ports = [f"| `{one.name}` | {_type(one)[5:]} | {_shown(one)} |" for one in _ports(graph)]
    kit.fill_in("README.md", ports="\n".join(ports), batch=MOST_AT_ONCE if is_batched else 1)


def config(kit: Filling, graph: Any, *, is_batched: bool) -> str:
    """Return the text of config.pbtxt.

    Args:
        kit: folder to fill.
        graph: graph of the ONNX file.
        is_batched: True if the file takes any number of pictures at once.
    """
    facts = kit.facts
    lines = [
        f"name: {json.dumps(facts.name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {MOST_AT_ONCE if is_batched else 0}",
    ]
    for what, ports in (("input", graph.input), ("output", graph.output)):
        lines += [line for one in ports for line in _port(kit, what, one, is_batched=is_batched)]
    if is_batched:
        lines += ["dynamic_batching {", f"  max_queue_delay_microseconds: {DELAY}", "}"]
    told = {"labels": LABELS, "resize": "letterbox" if facts.is_letterbox else "stretch"}
    if facts.finds_boxes:
        told |= {"threshold": f"{facts.threshold:g}", "nms": f"{facts.nms:g}"}
    for key, value in told.items():
        text = json.dumps(value)
        lines += [f"parameters {{ key: {json.dumps(key)} value {{ string_value: {text} }} }}"]
    return "\n".join(lines) + "\n"


def _port(kit: Filling, what: str, one: Any, *, is_batched: bool) -> list[str]:
    """Return the lines of an input or an output.

    A tensor that has only the batch axis is declared with one value, and reshaped.
    """
    lengths = _lengths(one)[is_batched:]
    lines = [f"{what} {{", f"  name: {json.dumps(one.name)}", f"  data_type: {_type(one)}"]
    lines.append(f"  dims: [{', '.join(map(str, lengths or [1]))}]")
    if not lengths:
        lines.append("  reshape { shape: [] }")
    if what == "output" and not kit.facts.finds_boxes and lengths == [len(kit.facts.names)]:
        lines.append(f"  label_filename: {json.dumps(LABELS)}")
    return [*lines, "}"]


def _ports(graph: Any) -> list[Any]:
    return [*graph.input, *graph.output]


def _type(one: Any) -> str:
    from onnx import TensorProto

    return TYPES[TensorProto.DataType.Name(one.type.tensor_type.elem_type)]


def _lengths(one: Any) -> list[int]:
    """Return the lengths of all axes, -1 for free ones."""
    axes = one.type.tensor_type.shape.dim
    return [axis.dim_value if axis.HasField("dim_value") else -1 for axis in axes]


def _shown(one: Any) -> str:
    axes = one.type.tensor_type.shape.dim
    return ", ".join(a.dim_param or str(a.dim_value) for a in axes)


KIT = Kit(
    name="triton",
    what="Triton Inference Server",
    fill=fill,
    fixed={"nms_op": "onnx"},
    usual={"head": "boxes"},
    takes_classifiers=True,
    takes_others=True,
    channels=(1, 2, 3, 4),
)
