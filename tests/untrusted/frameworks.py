"""Exported models that need a framework to be read: safetensors and ONNX."""

from pathlib import Path

import numpy as np

from darkconv.backends.onnx import to_onnx
from darkconv.backends.onnx.files import OnnxFile, read_any
from darkconv.backends.torch import read_safetensors, to_torch, write_safetensors
from networks import network, random_model
from untrusted.exported import model, written
from untrusted.mutation import NUMBERS, OF_BYTES, change_number, exchange_words, line_from
from untrusted.reader import Reader

RECURRENT = "[lstm]\noutput=3\n[softmax]\n"
DTYPES = [b'"dtype":"F16"', b'"shape":[0]', b'"shape":[-1]', b'"data_offsets":[0,0]', *NUMBERS]


def safetensors_seeds() -> list[bytes]:
    def write(path: Path) -> None:
        write_safetensors(to_torch(model()), path)

    return [written(write, "net.safetensors")]


def check_safetensors(data: bytes, folder: Path) -> None:
    path = folder / "net.safetensors"
    path.write_bytes(data)
    found = read_safetensors(path)
    write_safetensors(to_torch(found), path)
    again = read_safetensors(path)
    for key, array in found.arrays.items():
        assert again.arrays[key].tobytes() == array.tobytes()


def onnx_seeds() -> list[bytes]:
    recurrent = random_model(network(RECURRENT, (1, 2, 2)))
    protos = [to_onnx(model()), to_onnx(model(), head="nms"), to_onnx(recurrent)]
    return [proto.SerializeToString(deterministic=True) for proto in protos]


def check_onnx(data: bytes, folder: Path) -> None:
    path = folder / "net.onnx"
    path.write_bytes(data)
    file = read_any(path)
    if not isinstance(file, OnnxFile):
        return
    assert all(isinstance(name, str) for name in file.names)
    shape = file.network.input_shape
    file.run(np.zeros((1, *(shape if shape.is_map else (shape.size,))), np.float32))


SAFETENSORS = Reader(
    "safetensors",
    check_safetensors,
    safetensors_seeds,
    (*OF_BYTES, change_number, exchange_words, line_from(DTYPES)),
)
ONNX = Reader("ONNX", check_onnx, onnx_seeds, (*OF_BYTES, change_number, exchange_words))
FRAMEWORKS = [SAFETENSORS, ONNX]
