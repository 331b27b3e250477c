"""A layer's input in the order in which Darknet counts its values: channels, rows, columns."""

from keras import ops

from darkconv.backends.keras.scope import Tensor


def flat(x: Tensor) -> Tensor:
    """Return a layer's input as (N, values).

    Args:
        x: (N, H, W, C), or (N, values), which is returned as it is.
    """
    if len(x.shape) == 4:
        x = ops.transpose(x, (0, 3, 1, 2))
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
    return x


def unflat(values: Tensor, like: Tensor) -> Tensor:
    """Return values in the shape that they came from: the inverse of `flat`.

    Args:
        values: (N, values) values.
        like: tensor of that shape.
    """
    if len(like.shape) == 4:
        _, rows, columns, channels = like.shape
        maps = ops.reshape(values, (-1, channels, rows, columns))
        return ops.transpose(maps, (0, 2, 3, 1))
    return values
