"""Costs and gradients of Keras losses, on whichever backend Keras runs, for arrays as torch's."""

import keras
import numpy as np

from darkconv.backends.keras.arrays import as_array
from darkconv.backends.keras.losses import loss_parts

PARTS = ("total", "box", "objectness", "no_object", "classes")


def costs_and_gradient(layer, x, truths, **setting):
    """Each part (N,), and the derivative of the total's sum at x (N, C, H, W) or (N, values)."""
    parts = loss_parts(layer, **setting)
    found, gradient = differentiate(parts, channels_last(x), truths)
    return found, channels_first(gradient)


def differentiate(parts, x, truths):
    """The same for x (N, H, W, C), by the backend's own means."""
    if keras.backend.backend() == "torch":
        import torch

        given = torch.tensor(x, requires_grad=True)
        found = vars(parts(torch.tensor(truths), given))
        (gradient,) = torch.autograd.grad(found["total"].sum(), given)
    elif keras.backend.backend() == "jax":
        import jax

        def total(given):
            found = vars(parts(truths, given))
            return found["total"].sum(), found

        gradient, found = jax.grad(total, has_aux=True)(jax.numpy.asarray(x))
    else:
        import tensorflow as tf

        given = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(given)
            found = vars(parts(tf.constant(truths), given))
            total = tf.reduce_sum(found["total"])
        gradient = tape.gradient(total, given)
    return {name: as_array(value) for name, value in found.items()}, as_array(gradient)


def channels_last(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim == 4 else x


def channels_first(x):
    return np.moveaxis(x, -1, 1) if x.ndim == 4 else x
