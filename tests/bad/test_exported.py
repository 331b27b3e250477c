"""Exported files that are damaged, hostile, or another program's."""

import json
import pickle
import shutil
import struct
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import darkconv as dc
from bad.catalogue import Accepted, Refused, check
from bad.payload import Payload

torch = pytest.importorskip("torch")

TO_DARKNET = "convert x.safetensors -o x.cfg x.weights"
DETECT = "detect x.onnx pics/0.png"
VERIFY = "verify net.cfg net.weights x.onnx"
READABLE = "expected NET.cfg NET.weights, or a file that ends in .safetensors, .keras or .onnx"
FIRST = "layers.0.conv.weight"
TENSORS = "x.safetensors: cannot be read as safetensors: "
NO_ONNX = "is no ONNX file, or is cut short"


@pytest.fixture(scope="module")
def sound(good_files, tmp_path_factory):
    """The good model as x.safetensors, x.onnx, and y.onnx with its arrays beside it."""
    from darkconv.backends.onnx import write_onnx
    from darkconv.backends.torch import write_safetensors

    folder = tmp_path_factory.mktemp("sound")
    model = dc.load(good_files / "net.cfg", good_files / "net.weights")
    write_safetensors(dc.to_torch(model), folder / "x.safetensors")
    write_onnx(model, folder / "x.onnx", head="boxes")
    write_onnx(model, folder / "y.onnx", external=True)
    return folder


@pytest.fixture
def folder(folder, sound):
    """The case's folder, with the exported files."""
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    return folder


def written(name, content):
    """A rule that writes a file."""
    return lambda folder: (folder / name).write_bytes(content)


def cut(name, size):
    """A rule that leaves the first bytes of a file; of a negative number, all but those."""

    def make(folder):
        (folder / name).write_bytes((folder / name).read_bytes()[:size])

    return make


# --- safetensors


def header(edit):
    """A rule that changes the header of x.safetensors."""

    def make(folder):
        data = (folder / "x.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        content = json.loads(data[8 : 8 + length])
        edit(content)
        text = json.dumps(content).encode()
        rest = data[8 + length :]
        (folder / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + rest)

    return make


def entry(**changes):
    return header(lambda content: content[FIRST].update(changes))


def metadata(**changes):
    return header(lambda content: content["__metadata__"].update(changes))


def moved(by):
    """The last array lies elsewhere than where the one before it ends."""

    def edit(content):
        names = [name for name in content if name != "__metadata__"]
        last = max(names, key=lambda name: content[name]["data_offsets"])
        start, end = content[last]["data_offsets"]
        content[last]["data_offsets"] = [start + by, end + by]

    def make(folder):
        header(edit)(folder)
        with (folder / "x.safetensors").open("r+b") as file:
            file.truncate((folder / "x.safetensors").stat().st_size + by)

    return make


def text_header(text, length=None):
    data = struct.pack("<Q", len(text) if length is None else length) + text
    return written("x.safetensors", data)


def anothers_safetensors(folder):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(1, np.float32)}, folder / "x.safetensors", {"format": "np"})


SAFETENSORS = [
    Refused(
        "no safetensors",
        "info none.safetensors",
        "none.safetensors: cannot read: No such file or directory",
    ),
    Refused("empty safetensors", TO_DARKNET, TENSORS + "it has no header", cut("x.safetensors", 0)),
    Refused(
        "safetensors of 5 bytes", TO_DARKNET, TENSORS + "it has no header", cut("x.safetensors", 5)
    ),
    Refused(
        "a header cut short",
        "info x.safetensors",
        TENSORS + "its header is cut short",
        cut("x.safetensors", 500),
    ),
    Refused(
        "a header longer than the file",
        TO_DARKNET,
        TENSORS + "its header is cut short",
        text_header(b"{}", length=90_000_000),
    ),
    Refused(
        "a header of 10^18 bytes",
        TO_DARKNET,
        TENSORS + "it has no header",
        text_header(b"{}", length=10**18),
    ),
    Refused(
        "a page as safetensors",
        TO_DARKNET,
        TENSORS + "it has no header",
        written("x.safetensors", b"<!DOCTYPE html><html>404</html>"),
    ),
    Refused(
        "a broken header", TO_DARKNET, TENSORS + "its header is no JSON", text_header(b'{"a":')
    ),
    Refused(
        "a deep header",
        TO_DARKNET,
        TENSORS + "its header is no JSON",
        text_header(b"[" * 100_000),
    ),
    Refused(
        "a list as header", TO_DARKNET, TENSORS + "its header is no JSON object", text_header(b"[]")
    ),
    Refused(
        "an array named twice",
        TO_DARKNET,
        TENSORS + "its header names something twice",
        text_header(b'{"a": {}, "a": {}}'),
    ),
    Refused(
        "safetensors cut in an array",
        "reclass x.safetensors --keep cat -o y.safetensors",
        "x.safetensors: cannot be read as safetensors: its arrays are cut short, or something "
        "follows: expected 1568 bytes behind the header, found 1468",
        cut("x.safetensors", -100),
    ),
    Refused(
        "arrays that overlap",
        TO_DARKNET,
        TENSORS + "layers.1.conv.weight: another overlaps it",
        moved(-4),
    ),
    Refused(
        "a gap between arrays",
        TO_DARKNET,
        TENSORS + "layers.1.conv.weight: a gap lies before it",
        moved(8),
    ),
    Refused(
        "a shape that does not fit its bytes",
        TO_DARKNET,
        TENSORS + FIRST + ": F32 (8, 3, 3, 99) takes 28512 bytes, not 864",
        entry(shape=[8, 3, 3, 99]),
    ),
    Refused(
        "an array of another shape",
        TO_DARKNET,
        f"x.safetensors: {FIRST}: expected F32 (8, 3, 3, 3), found F32 (3, 8, 3, 3)",
        entry(shape=[3, 8, 3, 3]),
    ),
    Refused(
        "an array of another type",
        TO_DARKNET,
        f"x.safetensors: {FIRST}: expected F32 (8, 3, 3, 3), found I32 (8, 3, 3, 3)",
        entry(dtype="I32"),
    ),
    Refused(
        "negative offsets",
        TO_DARKNET,
        TENSORS + FIRST + ": its place in the header is damaged",
        entry(data_offsets=[-864, 0]),
    ),
    Refused(
        "an array too many",
        TO_DARKNET,
        "x.safetensors: holds an array that its network has no place for: found layers.0.extra",
        header(
            lambda content: content.update(
                {"layers.0.extra": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
            )
        ),
    ),
    Refused(
        "an array of another name",
        TO_DARKNET,
        "x.safetensors: holds an array that its network has no place for: found layers.0.weights",
        header(lambda content: content.update({"layers.0.weights": content.pop(FIRST)})),
    ),
    Refused(
        "another program's safetensors",
        "profile x.safetensors pics -o p.npz",
        "x.safetensors: fits none of the bundled networks\n"
        "  hint: give the cfg that the program followed: NET.cfg FILE (import_weights(cfg, file))",
        anothers_safetensors,
    ),
    Refused(
        "a broken cfg in the metadata",
        "info x.safetensors",
        "x.safetensors:5: layer 0 [foo]: expected a Darknet layer type, found [foo]",
        metadata(cfg="[net]\n[foo]\n".replace("net]", "net]\nheight=8\nwidth=8\nchannels=3")),
    ),
    Refused(
        "a cfg in the metadata that is no Latin-1",
        "info x.safetensors",
        "x.safetensors: damaged metadata: cfg has characters that are no bytes",
        metadata(cfg="[net]\n# \u2603\n"),
    ),
    Refused(
        "metadata with another weights header",
        TO_DARKNET,
        "x.safetensors: damaged metadata: header is no weights header",
        metadata(header='{"major": 0}'),
    ),
    Refused(
        "metadata with a name as names",
        "info x.safetensors",
        "x.safetensors: damaged metadata: names is no list of class names",
        metadata(names='"cat"'),
    ),
    Refused(
        "metadata that are no texts",
        TO_DARKNET,
        TENSORS + "its metadata are no texts by name",
        metadata(cfg=5),
    ),
]


# --- Pickles, archives and other files as MODEL


def pickled(name):
    return lambda folder: (folder / name).write_bytes(pickle.dumps(Payload(folder / "owned")))


def zipped_weights(folder):
    with zipfile.ZipFile(folder / "z.weights", "w") as archive:
        archive.write(folder / "net.weights", "net.weights")


def refused_pickle(name):
    return (
        f"{name}: holds pickled Python objects, which would run code when they are read, so it is "
        "not read: expected a state dict: arrays by name, found pathlib.Path.write_text\n"
        "  hint: save its state dict with the program that wrote it, if you trust the file:\n"
        f"        model = torch.load('{name}', weights_only=False)"
        "  # ['model'] where it is a dict\n"
        "        torch.save(model.state_dict(), 'state.pth')"
    )


OTHERS = [
    Refused("a PyTorch pickle", "info x.pt", refused_pickle("x.pt"), pickled("x.pt")),
    Refused(
        "a PyTorch pickle in place of weights",
        "convert net.cfg x.pt -o y.cfg y.weights",
        refused_pickle("x.pt"),
        pickled("x.pt"),
    ),
    Refused(
        "a PyTorch pickle for pictures",
        "detect x.pth pics/0.png",
        refused_pickle("x.pth"),
        pickled("x.pth"),
    ),
    Refused(
        "a checkpoint as teacher",
        "finetune net.cfg net.weights --teacher x.ckpt --data net.data -o y.cfg y.weights",
        refused_pickle("x.ckpt"),
        pickled("x.ckpt"),
    ),
    Refused(
        "a pickle as weights",
        "info net.cfg x.weights",
        refused_pickle("x.weights"),
        pickled("x.weights"),
    ),
    Refused(
        "a pickle as safetensors",
        "info x.safetensors",
        TENSORS + "it has no header",
        pickled("x.safetensors"),
    ),
    Refused(
        "an exported program",
        "convert x.pt2 -o y.cfg y.weights",
        "x.pt2: Darknet's arrays cannot be read back from an exported program, which is for "
        f"PyTorch: {READABLE}",
        pickled("x.pt2"),
    ),
    Refused(
        "weights in an archive",
        "convert net.cfg z.weights -o y.onnx",
        "z.weights: is a zip archive (perhaps a PyTorch or Keras file), not a weights file\n"
        "  hint: unpack it, unless PyTorch or Keras wrote it: then commands read it in place of "
        "weights, dc.import_weights(cfg, file) in Python",
        zipped_weights,
    ),
]


# --- ONNX


def graph(edit, name="x.onnx"):
    """A rule that changes an ONNX file."""

    def make(folder):
        proto = onnx.load(folder / name, load_external_data=False)
        edit(proto)
        (folder / name).write_bytes(proto.SerializeToString())

    return make


def said(**changes):
    """A rule that changes the metadata of x.onnx; None takes a text out."""

    def edit(proto):
        kept = {p.key: p.value for p in proto.metadata_props} | changes
        del proto.metadata_props[:]
        helper.set_model_props(proto, {k: v for k, v in kept.items() if v is not None})

    return graph(edit)


def external(**changes):
    """A rule that changes where the first array of y.onnx lies."""

    def edit(proto):
        tensor = next(t for t in proto.graph.initializer if t.external_data)
        parts = {part.key: part.value for part in tensor.external_data} | changes
        tensor.name, old = "weights", tensor.name
        for node in proto.graph.node:
            node.input[:] = ["weights" if name == old else name for name in node.input]
        del tensor.external_data[:]
        for key, value in parts.items():
            tensor.external_data.add(key=key, value=value)

    return graph(edit, "y.onnx")


def hidden_outside(folder):
    """A constant inside a node, which lies in a file outside."""
    value = TensorProto(name="secret", data_type=TensorProto.UINT8, dims=[16])
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="/etc/hostname")
    node = helper.make_node("Constant", [], ["secret"], value=value)
    output = helper.make_tensor_value_info("secret", TensorProto.UINT8, [16])
    proto = helper.make_model(helper.make_graph([node], "g", [], [output]))
    (folder / "x.onnx").write_bytes(proto.SerializeToString())


def linked_outside(folder):
    """The file of the arrays is a link to one elsewhere."""
    (folder / "inner").mkdir()
    (folder / "y.onnx").rename(folder / "inner/y.onnx")
    (folder / "inner/y.onnx.data").symlink_to(folder / "net.weights")


def anothers_onnx(dims, op="Relu"):
    """A rule that writes a graph of one operator as x.onnx."""

    def make(folder):
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n in ("a", "b")]
        node = helper.make_node(op, ["a"], ["b"])
        opset = [helper.make_opsetid("", 13)]
        proto = helper.make_model(
            helper.make_graph([node], "g", ends[:1], ends[1:]), opset_imports=opset, ir_version=8
        )
        (folder / "x.onnx").write_bytes(proto.SerializeToString())

    return make


def endless(proto):
    """An array of 4 TB that the graph does not hold."""
    proto.graph.initializer[0].dims[:] = [1_000_000, 1_000_000]


def renamed_output(proto):
    proto.graph.output[0].name = "corners"
    for node in proto.graph.node:
        node.output[:] = ["corners" if name == "boxes" else name for name in node.output]


def turned_input(proto):
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    dims[1].dim_value, dims[3].dim_value = 16, 3


ONNX = [
    Refused("no ONNX file", "detect none.onnx pics/0.png", "none.onnx: no such file"),
    Refused("an empty ONNX file", DETECT, "x.onnx: is empty", cut("x.onnx", 0)),
    Refused("a text as ONNX", DETECT, f"x.onnx: {NO_ONNX}", written("x.onnx", b"not a graph\n")),
    Refused(
        "random bytes as ONNX", VERIFY, f"x.onnx: {NO_ONNX}", written("x.onnx", bytes(range(256)))
    ),
    Refused(
        "half an ONNX file",
        "eval x.onnx --data net.data",
        f"x.onnx: {NO_ONNX}",
        cut("x.onnx", 2000),
    ),
    Refused(
        "another program's graph",
        DETECT,
        "x.onnx: has no cfg in its metadata: darkconv did not write it",
        anothers_onnx([1, 3, 16, 16]),
    ),
    Refused(
        "a graph for other pictures",
        VERIFY,
        "x.onnx: input: expected one of shape (N, 3, height, width), found a [1, 4, 16, 16] "
        "tensor(float)",
        anothers_onnx([1, 4, 16, 16]),
    ),
    Refused(
        "a graph for pictures of a million columns",
        VERIFY,
        "net.cfg:1: [net]: an input of 3x1000000x1000000 has 3000000000000 values: expected at "
        "most 2147483647, as C counts them",
        anothers_onnx([1, 3, 1_000_000, 1_000_000]),
    ),
    Refused(
        "an array of 4 TB",
        DETECT,
        "x.onnx: 000_convolutional/weights: expected an array of 4000000000000 bytes, found 864",
        graph(endless),
    ),
    Refused(
        "arrays in a file outside",
        "verify net.cfg net.weights y.onnx",
        "y.onnx: weights: expected a file in the graph's folder, found ../../etc/passwd",
        external(location="../../etc/passwd"),
    ),
    Refused(
        "arrays in a file of an absolute path",
        "detect y.onnx pics/0.png",
        "y.onnx: weights: expected a file in the graph's folder, found /etc/passwd",
        external(location="/etc/passwd"),
    ),
    Refused(
        "a constant of a node in a file outside",
        DETECT,
        "x.onnx: secret: expected a file in the graph's folder, found /etc/hostname",
        hidden_outside,
    ),
    Refused(
        "arrays behind a link to a file outside",
        "detect inner/y.onnx pics/0.png",
        "inner/y.onnx: 000_convolutional/weights: expected a file in the graph's folder, found "
        "y.onnx.data, a link out of it",
        linked_outside,
    ),
    Refused(
        "no file of arrays",
        "detect y.onnx pics/0.png",
        "y.onnx: weights: other.data cannot be read: No such file or directory\n"
        "  hint: both files belong together",
        external(location="other.data"),
    ),
    Refused(
        "a file of arrays cut short",
        "verify net.cfg net.weights y.onnx",
        "y.onnx: 000_convolutional/weights: expected 864 bytes or more in y.onnx.data, found 100",
        cut("y.onnx.data", 100),
    ),
    Refused(
        "arrays that begin behind their file",
        "detect y.onnx pics/0.png",
        "y.onnx: weights: expected 1000000863 bytes or more in y.onnx.data, found 1408",
        external(offset="999999999"),
    ),
    Refused(
        "arrays that begin before their file",
        "detect y.onnx pics/0.png",
        "y.onnx: weights: offset of the array: expected a number, found -4",
        external(offset="-4"),
    ),
    Refused(
        "metadata without a kind of head",
        DETECT,
        "x.onnx: damaged metadata: the metadata have no head",
        said(head=None),
    ),
    Refused(
        "metadata with an unknown head",
        "eval x.onnx --data net.data",
        "x.onnx: damaged metadata: head: expected raw, boxes, nms, logits, found foam",
        said(head="foam"),
    ),
    Refused(
        "metadata with a threshold of text",
        DETECT,
        "x.onnx: damaged metadata: threshold: expected a number from 0 to 1, found low",
        said(threshold="low"),
    ),
    Refused(
        "metadata with states of a list",
        DETECT,
        "x.onnx: damaged metadata: states is no object of texts",
        said(states="[1]"),
    ),
    Refused(
        "metadata with a broken cfg",
        DETECT,
        "x.onnx: expected a Darknet cfg that begins with [net], found an empty file",
        said(cfg=""),
    ),
    Refused(
        "a graph without the output that its head has",
        DETECT,
        "x.onnx: damaged metadata: outputs: expected boxes, scores, found corners, scores",
        graph(renamed_output),
    ),
    Refused(
        "a graph that takes another input",
        DETECT,
        "x.onnx: damaged metadata: input: expected (N, 3, 16, 16), found (N, 16, 16, 3)",
        graph(turned_input),
    ),
]


# --- Keras and LiteRT


MODEL = {"module": "keras.src.models.functional", "class_name": "Functional", "config": {}}
DESCRIPTION = {"dialect": "pjreddie", "header": "{}", "names": "[]"}
UNREAD = "x.keras: cannot be read as a Keras model: "
FROM_KERAS = "convert x.keras -o y.cfg y.weights"
NO_CODE = ", which is none of Keras's plain layers; code is never run from a file"


def keras_file(config=MODEL, packing=zipfile.ZIP_STORED, without=(), **more):
    """A rule that writes an archive like that of a .keras file as x.keras."""

    def make(folder):
        members = {
            "config.json": config if isinstance(config, bytes) else json.dumps(config).encode(),
            "model.weights.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
            "darkconv.json": json.dumps(DESCRIPTION).encode(),
        } | {name.replace("__", "."): data for name, data in more.items()}
        with zipfile.ZipFile(folder / "x.keras", "w", packing) as archive:
            for name, data in members.items():
                if name not in without:
                    archive.writestr(name, data)

    return make


def layers(*entries):
    """A model of some layers."""
    return keras_file({**MODEL, "config": {"layers": list(entries)}})


def layer(module, name, /, **config):
    return {"module": module, "class_name": name, "config": config}


def cut_keras(folder):
    keras_file()(folder)
    cut("x.keras", 300)(folder)


def claims_20_gb(folder):
    """A member that the archive says to have 20 GB."""
    with zipfile.ZipFile(folder / "x.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.getinfo("config.json").file_size = 20 * 10**9


KERAS = [
    Refused("no .keras file", "info none.keras", "none.keras: no such file"),
    Refused("an empty .keras file", FROM_KERAS, UNREAD + "is empty", written("x.keras", b"")),
    Refused(
        "a .keras file cut short",
        "verify net.cfg net.weights x.keras",
        UNREAD + "is no zip archive, or is cut short",
        cut_keras,
    ),
    Refused(
        "an HDF5 file of Keras 2",
        FROM_KERAS,
        UNREAD + "is no zip archive, or is cut short",
        written("x.keras", b"\x89HDF\r\n\x1a\n" + bytes(500)),
    ),
    Refused(
        "no config in a .keras file",
        FROM_KERAS,
        UNREAD + "has no member config.json",
        keras_file(without=("config.json",)),
    ),
    Refused(
        "no weights in a .keras file",
        FROM_KERAS,
        UNREAD + "has no member model.weights.h5",
        keras_file(without=("model.weights.h5",)),
    ),
    Refused(
        "weights in a .keras file that are a text",
        FROM_KERAS,
        UNREAD + "its model.weights.h5 is no HDF5 file",
        keras_file(model__weights__h5=b"nothing"),
    ),
    Refused(
        "deep nesting in a .keras file",
        FROM_KERAS,
        UNREAD + "its config.json is no JSON",
        keras_file(config=b"[" * 100_000),
    ),
    Refused(
        "a Lambda layer",
        "reclass x.keras --keep cat -o y.onnx",
        UNREAD + "its config.json names keras.layers.Lambda" + NO_CODE,
        layers(layer("keras.layers", "Lambda", function={"class_name": "__lambda__"})),
    ),
    Refused(
        "code in a layer's config",
        FROM_KERAS,
        UNREAD + "its config.json names __lambda__" + NO_CODE,
        layers(layer("keras.layers", "Activation", activation={"class_name": "__lambda__"})),
    ),
    Refused(
        "a function of any module",
        FROM_KERAS,
        UNREAD + "its config.json names os.system" + NO_CODE,
        layers(layer("os", "system", command="touch owned")),
    ),
    Refused(
        "a function of Keras that downloads",
        "eval x.keras --data net.data",
        UNREAD + "its config.json names keras.utils.get_file" + NO_CODE,
        layers(layer("keras.utils", "get_file", fname="owned", origin="http://127.0.0.1/")),
    ),
    Refused(
        "a layer that reads other files",
        "verify net.cfg net.weights x.keras",
        UNREAD + "its config.json names keras.layers.StringLookup" + NO_CODE,
        layers(layer("keras.layers", "StringLookup", vocabulary="/etc/passwd")),
    ),
    Refused(
        "a layer that unpickles",
        FROM_KERAS,
        UNREAD + "its config.json names keras.layers.TorchModuleWrapper" + NO_CODE,
        layers(layer("keras.layers", "TorchModuleWrapper", module="gASV")),
    ),
    Refused(
        "a .keras member that leads outside",
        FROM_KERAS,
        UNREAD + "its member assets/../../evil lies outside of it",
        keras_file(**{"assets/../../evil": b"x"}),
    ),
    Refused(
        "a .keras member of 20 GB",
        FROM_KERAS,
        UNREAD + "would take 20 GB unpacked, 67.1 MB is the limit",
        claims_20_gb,
    ),
    Refused(
        "a .keras member that inflates a thousandfold",
        FROM_KERAS,
        UNREAD + "would take 200 MB unpacked, 67.1 MB is the limit",
        keras_file(packing=zipfile.ZIP_DEFLATED, model__weights__h5=bytes(200_000_000)),
    ),
    Refused(
        "broken metadata in a .keras file",
        FROM_KERAS,
        "x.keras: damaged: the metadata are no texts by name",
        keras_file(darkconv__json=b'{"cfg": ["net"]}'),
    ),
    Refused(
        "a broken cfg in a .keras file",
        FROM_KERAS,
        "x.keras: damaged metadata: header is no weights header",
        keras_file(darkconv__json=json.dumps({**DESCRIPTION, "cfg": "[net]"}).encode()),
    ),
]


def bombed_litert(folder):
    """The archive behind the graph unpacks to 100 MB."""
    with zipfile.ZipFile(folder / "x.tflite", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("darkconv.json", b" " * 100_000_000)


NO_TEXTS = "x.tflite: has no cfg in its metadata: darkconv did not write it, or it is cut short"
LITERT = [
    Refused(
        "random bytes as .tflite",
        "detect x.tflite pics/0.png",
        NO_TEXTS,
        written("x.tflite", bytes(99)),
    ),
    Refused(
        "a .tflite file of another program, or cut short",
        "verify net.cfg net.weights x.tflite",
        NO_TEXTS,
        written("x.tflite", b"\x1c\0\0\0TFL3" + bytes(1000)),
    ),
    Refused(
        "a .tflite file whose metadata inflate",
        "eval x.tflite --data net.data",
        NO_TEXTS,
        bombed_litert,
    ),
]

CASES = [*SAFETENSORS, *OTHERS, *ONNX, *KERAS, *LITERT]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case, folder):
    check(case, folder)
    assert not (folder / "owned").exists()


def test_links_to_where_both_files_lie_are_followed(folder):
    """As a download cache has them."""
    (folder / "cache").mkdir()
    for name in ("y.onnx", "y.onnx.data"):
        (folder / name).rename(folder / "cache" / name)
        (folder / name).symlink_to(folder / "cache" / name)
    check(Accepted("links", "verify net.cfg net.weights y.onnx", stdout="002_yolo"), folder)


def test_code_that_keras_would_run_is_not_run(folder):
    keras = pytest.importorskip("keras")
    owned = folder / "owned"
    path = str(owned)
    write = keras.layers.Lambda(
        lambda x: [x, __import__("pathlib").Path(path).write_text("ran")][0], output_shape=(4,)
    )
    keras.Sequential([keras.Input((4,)), write]).save(folder / "x.keras")
    owned.unlink(missing_ok=True)
    keras.models.load_model(folder / "x.keras", safe_mode=False)(np.zeros((1, 4)))
    assert owned.exists(), "no payload"
    owned.unlink()
    message = (  # its arrays alone are looked at, as those of another program
        "x.keras: fits none of the bundled networks\n"
        "  hint: give the cfg that the program followed: NET.cfg FILE (import_weights(cfg, file))"
    )
    check(Refused("a Lambda layer that writes a file", FROM_KERAS, message), folder)
    assert not owned.exists()


def test_arrays_that_a_keras_file_does_not_hold_are_not_made(folder):
    """HDF5 needs no room for what was never written: reading it would."""
    files = pytest.importorskip("darkconv.backends.keras.files")
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "weights.h5", "w") as file:
        file.create_dataset("layers/vars/0", (1_000_000, 1_000_000), "f4", chunks=(100, 100))
    keras_file(model__weights__h5=(folder / "weights.h5").read_bytes())(folder)
    with pytest.raises(ValueError, match=r"model.weights.h5 cannot hold layers/vars/0 of float32"):
        files.check_weights(folder / "x.keras")
