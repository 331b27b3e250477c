"""Cases of golden/loss: our own layer, its input, our own truths, and what C has for them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc

CLASS_ONLY = 100_000  # x and y above it: a label without a box, for trees


@dataclass(frozen=True)
class LossCase:
    """One file.

    Attributes:
        arrays: of the file, by name.
        meta: of the file.
        folder: where its network is written.
    """

    arrays: dict[str, np.ndarray]
    meta: dict
    folder: Path

    @classmethod
    def read(cls, file, folder):
        with np.load(file) as stored:
            arrays = dict(stored)
        return cls(arrays, json.loads(str(arrays.pop("meta"))), folder)

    @cached_property
    def layer(self):
        """The layer, in a network of its own."""
        meta = self.meta
        if "tree" in meta:
            (self.folder / "tree.txt").write_text(meta["tree"])
        net = f"[net]\nwidth={meta['grid_w']}\nheight={meta['grid_h']}\n"
        path = self.folder / "net.cfg"
        channels = meta["channels"]
        path.write_text(f"{net}channels={channels}\n\n{meta['section']}")
        return dc.load(path, dialect=meta["dialect"]).network.layers[0]

    @property
    def spec(self):
        return self.layer.spec

    @property
    def input_size(self):
        return self.meta["net_width"], self.meta["net_height"]

    @cached_property
    def truths(self):
        """As `head_loss` takes them; rows of lists behind the first whose x is 0 are -1."""
        stored = self.arrays["truth"]
        layout = self.meta["truth_layout"]
        if layout.startswith("rows"):
            truths = stored[:, :, [4, 0, 1, 2, 3]].copy()
            truths[(stored[:, :, 0] == 0).cumsum(axis=1) > 0] = -1
            return truths
        return self._from_cells(stored) if layout.startswith("per cell") else stored

    def _from_cells(self, stored):
        side, classes = self.spec.side, self.spec.classes
        truths = np.full((*stored.shape[:2], 5), -1, np.float32)
        for image, cell in np.argwhere(stored[:, :, 0] != 0):
            _, *hot = stored[image, cell, : 1 + classes]
            x, y, w, h = stored[image, cell, 1 + classes :]
            row, column = divmod(cell, side)
            truths[image, cell] = np.argmax(hot), (column + x) / side, (row + y) / side, w, h
        return truths

    @property
    def gradient(self):
        """What the previous layer is to get; on CPU pjreddie's region passes nothing on."""
        is_region = self.meta["dialect"] == "pjreddie" and self.layer.type == "region"
        stored = self.arrays
        return stored["delta"] if is_region or "grad" not in stored else stored["grad"]


def parametrize_cases(metafunc, fixture, wanted=lambda head: True):
    """A test for each case whose head (`yolo`, `cost` ...) is wanted; skipped where none is."""
    root = metafunc.config.getoption("--golden") / "loss"
    files = [file for file in sorted(root.glob("*.npz")) if wanted(file.stem.split("-")[1])]
    missing = pytest.mark.skip(reason=f"no cases at {root}")
    params = files or [pytest.param(None, marks=missing, id="none")]
    ids = [file.stem for file in files] or None
    metafunc.parametrize(fixture, params, ids=ids, scope="module", indirect=True)
