"""The networks of cfgs/ with random weights, for tools that try them all."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import darkconv as dc
from darkconv.layers.head import AnchorHead
from darkconv.layers.merge import Shortcut

RANGES = {"biases": (-0.1, 0.1), "rolling_mean": (-0.1, 0.1)}
"""Of random arrays; the others of one number per channel are 0.5 to 1.5."""
QUIET_BEFORE = (Shortcut, AnchorHead)
QUIET = 0.2
"""Of what is added up, or goes into an exponent, so that numbers stay moderate."""


@dataclass
class Bundled:
    """A bundled network with random arrays."""

    path: Path
    folder: Path

    def __call__(self) -> tuple[dc.Model, np.ndarray]:
        """Model and input."""
        text, cfg = self.path.read_text(), self.folder / "net.cfg"
        cfg.write_text(text)
        if tree := re.search(r"^tree=(.+)$", text, re.MULTILINE):
            write_tree(
                self.folder / tree[1], classes=int(re.findall(r"^classes=(\d+)", text, re.M)[0])
            )
        model, stream = dc.load(cfg), np.random.default_rng(0)
        arrays = {
            key: stream.uniform(*RANGES.get(key.rpartition(".")[2], (0.5, 1.5)), array.shape)
            for key, array in model.arrays.items()
            if array.ndim == 1
        }
        for key in quiet_arrays(model):
            arrays[key] = QUIET * arrays.get(key, model.arrays[key])
        arrays = {key: array.astype(np.float32) for key, array in arrays.items()}
        shape = model.network.input_shape
        return dc.replace_arrays(model, arrays), stream.random((1, *shape), np.float32)


def quiet_arrays(model: dc.Model) -> Iterator[str]:
    """Keys of the scales, or weights, of the layers whose output should stay small."""
    layers = model.network.layers
    for layer in layers:
        if isinstance(layer.spec, QUIET_BEFORE):
            maker = layers[layer.sources[0]]
            while not maker.slots:
                maker = layers[maker.sources[0]]
            names = [slot.name for slot in maker.slots]
            yield f"{maker.index}.{'scales' if 'scales' in names else 'weights'}"


def write_tree(path: Path, classes: int) -> None:
    """Ten classes of which each has ten, and so on."""
    path.parent.mkdir(exist_ok=True)
    lines = (f"n{i} {(i - 10) // 10 if i >= 10 else -1}\n" for i in range(classes))
    path.write_text("".join(lines))
