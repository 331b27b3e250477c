"""The original C program, through its library."""

import ctypes
import os
import re
from pathlib import Path

import numpy as np

from peers import C_LIBRARY, C_PROGRAM, FOLDER


class Network:
    """A network of the C program, freed by `with`.

    Args:
        cfg: of the original dialect, whose batch is the batch.
        weights: its weights.
    """

    def __init__(self, cfg: str, weights: str) -> None:
        self._library = ctypes.CDLL(str(FOLDER / C_PROGRAM / C_LIBRARY))
        self._library.load_network.restype = ctypes.c_void_p
        self._library.network_predict.restype = ctypes.POINTER(ctypes.c_float)
        self._network = ctypes.c_void_p(
            self._library.load_network(os.fsencode(cfg), os.fsencode(weights), 0)
        )

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self._library.free_network(self._network)

    def predict(self, x: np.ndarray) -> "ctypes._Pointer[ctypes.c_float]":
        """Return the output of the last layer, for as many pictures as the cfg's batch says."""
        values = np.ascontiguousarray(x, np.float32)
        return self._library.network_predict(self._network, ctypes.c_void_p(values.ctypes.data))


def write_cfg(cfg: Path, batch: int, to: Path) -> None:
    """Write the same cfg with another batch, for which the C program makes its network."""
    text = re.sub(r"(?m)^(batch|subdivisions)\s*=.*\n", "", cfg.read_text())
    options = f"[net]\nbatch={batch}\nsubdivisions=1"
    to.write_text(re.sub(r"(?m)^\[net(work)?\]", options, text, count=1))
