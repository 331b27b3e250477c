"""Weights files, each read as one of some small networks."""

import functools
from pathlib import Path

import darkconv as dc
from darkconv.core.dialect import DIALECTS
from darkconv.darknet.dialect import choose_dialect
from darkconv.darknet.weights import WeightsFile, header_bytes, map_weights, weights_chunks
from untrusted.cfg import MICRO
from untrusted.mutation import OF_BYTES, flip_bit, overwrite
from untrusted.reader import Reader

NETWORKS = (
    "alexeyab-conv-3x3-bn-leaky",
    "alexeyab-conv-dontloadscales",
    "alexeyab-conv-flipped",
    "alexeyab-connected-bn",
    "alexeyab-conv-lstm-peephole",
    "alexeyab-header-seen32",
    "alexeyab-header-transpose",
    "alexeyab-mini-yolov3-tiny",
    "alexeyab-shortcut-per-channel-relu",
    "pjreddie-batchnorm",
    "pjreddie-conv-3x3-bn-leaky",
    "pjreddie-deconv-2x2-stride2",
    "pjreddie-gru",
    "pjreddie-header-seen32",
    "pjreddie-header-transpose",
    "pjreddie-local-3x3-pad",
)


def check(name: str, data: bytes, folder: Path) -> None:
    network = dc.load(MICRO / name / "net.cfg", dialect=name.partition("-")[0]).network
    path = folder / "net.weights"
    path.write_bytes(data)
    file = WeightsFile(path)
    assert choose_dialect(network.config, file.unread_header) in DIALECTS.values()
    header = file.header(network.dialect)
    assert data.startswith(header_bytes(header, network.dialect))
    model = map_weights(file, network)
    assert b"".join(weights_chunks(model)) == data
    dc.save(model, folder / "again.cfg", folder / "again.weights")
    again = dc.load(folder / "again.cfg", folder / "again.weights", dialect=network.dialect.name)
    assert b"".join(weights_chunks(again)) == data


def seeds(name: str) -> list[bytes]:
    return [(MICRO / name / "net.weights").read_bytes()]


WEIGHTS = [
    Reader(
        f"weights of {name}",
        functools.partial(check, name),
        functools.partial(seeds, name),
        (*OF_BYTES, flip_bit, overwrite),
    )
    for name in NETWORKS
]
