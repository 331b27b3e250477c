"""A layer's input as Darknet counts its values: channels, rows, columns."""

from keras import ops

from darkconv.backends.keras.scope import Tensor


def flat(x: Tensor) -> Tensor:
    """(N, H, W, C) or (N, values) as (N, values)."""
    if len(x.shape) == 4:
        x = ops.transpose(x, (0, 3, 1, 2))
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
    return x


def unflat(values: Tensor, like: Tensor) -> Tensor:
    """The way back: values (N, values) in the shape of what they came from."""
    if len(like.shape) == 4:
        _, rows, columns, channels = like.shape
        maps = ops.reshape(values, (-1, channels, rows, columns))
        return ops.transpose(maps, (0, 2, 3, 1))
    return values
