"""The networks that benchmarks run on."""

import shutil
from pathlib import Path

import numpy as np

import darkconv as dc
from darkconv.darknet.bundled import bundled_cfg

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
BUNDLED = (
    "yolov1-tiny",
    "yolov2-tiny-voc",
    "yolov3-tiny",
    "yolov4-tiny",
    "yolov3",
    "yolov4",
)
REAL = ("yolo-fastest-1.1-coco", "mobilenetv2-yolov3-nano-voc", "mobilenetv2-yolo-fastest-voc-v2")
"""Trained models that are not bundled: they lie in folders of their names in `MODELS`."""
ORIGINAL = ("yolov1-tiny", "yolov2-tiny-voc", "yolov3-tiny", "yolov3", *REAL[:2])
"""Those that the original C program runs, if only in its own dialect."""


def available(*names: str) -> tuple[str, ...]:
    """Those of some networks that are here."""
    return tuple(name for name in names if name not in REAL or (MODELS / name).is_dir())


def write_network(name: str, folder: Path) -> dict[str, float]:
    """net.cfg and net.weights in a folder; returns the bytes of the weights.

    Bundled networks get random weights that keep activations about 1.
    """
    cfg, weights = folder / "net.cfg", folder / "net.weights"
    if name in REAL:
        (original,) = (MODELS / name).glob("*.cfg")
        shutil.copy(original, cfg)
        shutil.copy(original.with_suffix(".weights"), weights)
    else:
        dc.save(random_model(name), cfg, weights)
    return {"weights": float(weights.stat().st_size)}


def random_model(name: str) -> dc.Model:
    """Return a bundled network with random weights."""
    cfg = bundled_cfg(name)
    if cfg is None:
        raise SystemExit(f"no bundled network {name}")
    model, stream = dc.load(cfg), np.random.default_rng(0)
    return dc.replace_arrays(
        model, {key: _plausible(key, array.shape, stream) for key, array in model.arrays.items()}
    )


def _plausible(key: str, shape: tuple[int, ...], stream: np.random.Generator) -> np.ndarray:
    if key.endswith(("scales", "rolling_variance")):
        return np.ones(shape, np.float32)
    deviation = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
    values = stream.standard_normal(shape, np.float32)
    return values * np.float32(deviation)
