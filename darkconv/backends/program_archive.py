"""Checks of exported programs from unknown sources, made before PyTorch reads them.

A .pt2 file is a zip archive. PyTorch unpickles members of it, compiles texts of its JSON as Python,
loads libraries from it, and calls whatever the graph names below `torch`: a file could run any
code. Accepted is here what darkconv writes: arrays as plain bytes, and a graph of known operators.
What PyTorch is given is a new archive of what was checked, and of nothing else.
"""

import io
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from darkconv.backends.exported import parse_texts
from darkconv.errors import DarkconvError, Where, shortened
from darkconv.files import PathLike
from darkconv.files.archive import Archive, ArchiveError, open_archive

PROGRAM_HEADS = ("raw", "logits")
"""Kinds of outputs that programs have."""
DESCRIPTION = "darkconv.json"
"""Name of the extra file in an exported program that describes its network."""
GRAPH = "models/model.json"
EXTRA = f"extra/{DESCRIPTION}"
SAMPLES = "data/sample_inputs/model.pt"
"""A pickle of inputs, which is left out: running a program does not need them."""
WEIGHTS, CONSTANTS = (
    ("data/weights/", "data/weights/model_weights_config.json"),
    ("data/constants/", "data/constants/model_constants_config.json"),
)
"""Where arrays lie, and what says which they are."""
MEMBERS = re.compile(
    r"models/model\.json|extra/darkconv\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|archive_format|archive_version|byteorder|\.data/(version|serialization_id)"
)
"""The members that such a file has."""
LEAST_LIMIT, GROWTH = 1 << 20, 2
"""Limit of the unpacked members: PyTorch does not compress its files."""
ARGUMENTS = frozenset(
    {
        "as_none", "as_tensor", "as_tensors", "as_int", "as_ints", "as_float", "as_floats",
        "as_bool", "as_string", "as_expr", "as_name", "as_sym_int", "as_sym_ints", "as_scalar_type",
        "as_layout", "as_device",
    }
)  # fmt: skip
"""Kinds of arguments: none is an object, a graph or an operator."""
OPERATORS = frozenset(
    {
        "_assert_tensor_metadata", "abs", "add", "amax", "avg_pool2d", "batch_norm", "bmm", "cat",
        "clamp", "clone", "conv2d", "conv_transpose2d", "copy_", "div", "dropout", "elu", "exp",
        "expand", "flatten", "gt", "hardtanh", "leaky_relu", "leaky_relu_", "linear", "lt",
        "max_pool2d", "mean", "mish_", "mul", "neg", "new_zeros", "ones_like", "pad", "permute",
        "pow", "reciprocal", "relu", "relu6", "relu_", "reshape", "rsub", "select", "sigmoid",
        "silu_", "slice", "softmax", "split_with_sizes", "sqrt", "sub", "sum", "sym_size", "tanh",
        "tensor_split", "to", "transpose", "unbind", "unflatten", "unfold", "unsqueeze",
        "upsample_nearest2d", "view", "where", "zeros_like",
    }
)  # fmt: skip
"""Operators of `torch.ops.aten` that networks become: others write files, or read them."""
TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+")
PLAIN = re.compile(r"[\w.+-]*")
"""Texts that are the same wherever they get into the Python that PyTorch makes of a graph."""
ATOM = re.compile(r"Symbol\('s\d+', positive=True, integer=True\)|Integer\(-?\d+\)")
CALL = re.compile(r"(?:Mul|Add|Pow)\(_(?:, _)*\)")
"""Lengths that depend on the batch, which PyTorch evaluates as Python: see `_is_length`."""
SPEC_TYPES = ("builtins.tuple", "builtins.list", "builtins.dict", None)
SPEC_CONTEXTS = ("null", "[]", None)
SPECS = ("in_spec", "out_spec")


def read_program_archive(path: PathLike) -> tuple[bytes, dict[str, str]]:
    """Check a file of `write_program`, without importing PyTorch.

    Args:
        path: the .pt2 file.

    Returns:
        An archive of what was checked, which PyTorch can read, and the metadata.

    Raises:
        DarkconvError: the file is damaged, could run code, or was not written by darkconv.
    """
    where = Where(file=os.fspath(path))
    try:
        most = max(LEAST_LIMIT, GROWTH * os.path.getsize(path))
        with open_archive(path, most=most) as archive:
            members = dict(_members(archive))
            texts = parse_texts(members[EXTRA]) if EXTRA in members else {}
            _check_arrays(members)
            members[GRAPH] = _checked_graph(members.get(GRAPH, b""))
    except FileNotFoundError:
        raise DarkconvError("no such file", where=where) from None
    except OSError as error:
        raise DarkconvError(f"cannot read: {error.strerror}", where=where) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DarkconvError(
            f"is no exported program of darkconv: {shortened(str(error))}", where=where
        ) from error
    if not texts:
        raise DarkconvError("has no cfg in it: darkconv did not write it", where=where)
    return _packed(members), texts


def _members(archive: Archive) -> Iterator[tuple[str, bytes]]:
    """Yield the members by their names below the one folder that they all lie in."""
    folders = {name.partition("/")[0] for name in archive.members}
    if len(folders) != 1:
        raise ArchiveError("its members lie in several folders")
    for name in archive.members:
        inner = name.partition("/")[2]
        if not MEMBERS.fullmatch(inner):
            raise ArchiveError(f"it has a member {inner}")
        yield inner, archive.read(name)


def _check_arrays(members: Mapping[str, bytes]) -> None:
    """Check that all arrays are bytes, as many as their shapes say, and none is a pickle."""
    for folder, told in (WEIGHTS, CONSTANTS):
        for name, one in json.loads(members[told])["config"].items():
            _check_text(name)
            content = members.get(folder + one["path_name"])
            if one["use_pickle"] is not False or content is None:
                raise ArchiveError(f"{name} is a pickle")
            sizes = [size["as_int"] for size in one["tensor_meta"]["sizes"]]
            if not 0 <= math.prod(sizes) <= len(content):
                raise ArchiveError(f"{name} cannot hold {sizes}")


def _checked_graph(content: bytes) -> bytes:
    """Return a graph without what is for its reader alone, once all that it names is known.

    Left out are notes on where a node comes from, and tests of the input, which are Python.
    """
    graph = json.loads(content)
    module = graph["graph_module"]
    graph["guards_code"] = []
    for node in module["graph"]["nodes"]:
        node["metadata"] = {}
        found = TARGET.fullmatch(node["target"])
        if not found or found[1] not in OPERATORS:
            raise ArchiveError(f"its graph calls {node['target']}")
    for entry in module["module_call_graph"]:
        for spec in SPECS if entry["signature"] else ():
            _check_spec(json.loads(entry["signature"][spec]))
    _check_values(graph)
    return json.dumps(graph).encode()


def _check_spec(spec: Any) -> None:
    """Check how inputs and outputs are nested: their types are looked up and called."""
    _, top = spec
    left = [top]
    while left:
        one = left.pop()
        if one["type"] not in SPEC_TYPES or one["context"] not in SPEC_CONTEXTS:
            raise ArchiveError(f"its inputs or outputs are a {one['type']}")
        left += one["children_spec"]


def _check_values(graph: Any) -> None:
    """Check the kinds of all arguments, and all texts but those that have checks of their own."""
    left = [graph]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            for key, value in one.items():
                _check_text(key)
                if key.startswith("as_") and key not in ARGUMENTS:
                    raise ArchiveError(f"its graph has an argument {key}")
                if key == "expr_str" and not _is_length(value):
                    raise ArchiveError(f"its graph has a length {value}")
                if key != "expr_str" and key not in SPECS:
                    left.append(value)
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str):
            _check_text(one)


def _check_text(text: str) -> None:
    if not PLAIN.fullmatch(text):
        raise ArchiveError(f"its graph has a text {text}")


def _is_length(text: str) -> bool:
    """Return True for sums and products of numbers and symbols, as `sympy.srepr` writes them."""
    left, count = ATOM.sub("_", text), 1
    while count:
        left, count = CALL.subn("_", left)
    return left == "_"


def _packed(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", b"" if name == SAMPLES else content)
    return buffer.getvalue()
