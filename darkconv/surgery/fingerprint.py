"""Fingerprints, which identify models without reading all their values."""

import hashlib

import numpy as np

from darkconv.core.model import Model

SAMPLES = 64
"""At most this number of values of each array enter a fingerprint."""


def fingerprint(model: Model) -> str:
    """Return a short text that differs for other networks and, almost surely, for other arrays.

    It is computed from layer types, shapes and up to 64 evenly spaced values of each array.

    Args:
        model: the model to identify.
    """
    digest = hashlib.blake2b(digest_size=16)
    for layer in model.network.layers:
        digest.update(f"{layer.type} {layer.sources} {layer.out_shape}\n".encode())
    for key, array in model.arrays.items():
        step = max(1, array.size // SAMPLES)
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(array.ravel()[::step][:SAMPLES]).tobytes())
    return digest.hexdigest()
