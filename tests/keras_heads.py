"""Heads, inputs and truths for tests of Keras losses on any Keras backend.

As a program, `KERAS_BACKEND=... python keras_heads.py out.npz`, it writes what the heads cost and
prints the frameworks that were loaded for that.
"""

import sys

import numpy as np

from darkconv.backends.keras.losses import encode_truths
from keras_gradients import costs_and_gradient
from networks import network

INPUT = (64, 32)  # (width, height)
ANCHORED = "mask=0,1,2\nanchors=10,8, 20,14, 40,26\nnum=3\nclasses=3\n"
TEXTS = {
    "yolo": f"[yolo]\n{ANCHORED}iou_loss=ciou\niou_thresh=0.2\nmax_delta=0.1\n",
    "gaussian": f"[Gaussian_yolo]\n{ANCHORED}max_delta=0.1\n",
    "region": "[region]\nanchors=1,.8, 2,1.5, 3.5,3\nnum=3\nclasses=3\nbias_match=1\nsoftmax=1\n",
    "detection": "[detection]\nside=2\nnum=2\nclasses=3\ncoords=4\nsqrt=1\n",
    "softmax": "[softmax]\n",
    "logistic": "[logistic]\n",
    "cost": "[cost]\n",
}
SHAPES = {
    "yolo": (24, 2, 4),
    "gaussian": (36, 2, 4),
    "region": (24, 2, 4),
    "detection": (52, 1, 1),
}
LAYERS = {
    name: network(
        text, SHAPES.get(name, (6, 1, 1)), "pjreddie" if name == "logistic" else "alexeyab"
    ).layers[0]
    for name, text in TEXTS.items()
}
BOXED = tuple(SHAPES)
"""Those whose truths are boxes."""
BOXES = [
    [[0, 0.30, 0.40, 0.30, 0.50], [2, 0.80, 0.70, 0.15, 0.20], [1, 0.28, 0.35, 0.31, 0.45]],
    [],
    [[1, 0.60, 0.45, 0.45, 0.60]],
]
COMPARED = (("yolo", "default"), ("yolo", "darknet"), ("region", "default"))
"""What every backend computes."""
FRAMEWORKS = {"tensorflow", "torch", "jax"}


def values_of(layer, dtype=np.float32):
    """A head's input for BOXES, (N, H, W, C) or (N, values)."""
    c, h, w = layer.in_shapes[0]
    shape = (c,) if h == w == 1 else (h, w, c)
    return np.random.default_rng(0).normal(size=(len(BOXES), *shape)).astype(dtype)


def truths_of(name):
    if name in BOXED:
        return encode_truths(BOXES)
    return np.eye(6, dtype=np.float32)[[3, 0, 5]]


def results():
    """What some heads cost by a rule, with their derivatives, by name."""
    found = {}
    for name, rule in COMPARED:
        layer, setting = LAYERS[name], {"input_size": INPUT, "rule": rule}
        x = np.moveaxis(values_of(layer), -1, 1)
        parts, gradient = costs_and_gradient(layer, x, truths_of(name), **setting)
        found |= {f"{name}-{rule}-{part}": value for part, value in parts.items()}
        found[f"{name}-{rule}-gradient"] = gradient
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **results())
    print(*sorted(FRAMEWORKS & set(sys.modules)))
