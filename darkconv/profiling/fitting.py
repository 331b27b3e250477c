"""The equations of refitting: input windows and outputs at some pixels, and their solution."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn


def outputs_at(conv: nn.Module, x: Tensor, pixels: Tensor, batch: int) -> Tensor:
    """Return a convolution's output (filters, positions) at some pixels of each picture.

    Args:
        conv: the convolution.
        x: (N, C, H, W) its input.
        pixels: (N, k) numbers of output pixels, row by row from 0; there are N * k positions.
        batch: number of pictures that are run together.
    """
    found = []
    for some, where in zip(torch.split(x, batch), torch.split(pixels, batch), strict=True):
        out = conv(some).flatten(2)
        found.append(out.gather(2, where.unsqueeze(1).expand(-1, out.shape[1], -1)))
    return torch.cat(found).transpose(0, 1).flatten(1)


def windows_at(conv: nn.Conv2d, x: Tensor, pixels: Tensor) -> Tensor:
    """Return a convolution's input windows at some pixels: (input channels, taps, positions).

    Args:
        conv: the convolution, which pads with zeros.
        x: (N, C, H, W) its input.
        pixels: (N, k) numbers of output pixels, row by row from 0; there are N * k positions.
    """
    (rows, columns), (down, across) = conv.kernel_size, conv.stride
    (top, left), (step_y, step_x) = cast(tuple[int, int], conv.padding), conv.dilation
    padded = nn.functional.pad(x, [left] * 2 + [top] * 2)
    out_width = (padded.shape[3] - step_x * (columns - 1) - 1) // across + 1
    y, z = pixels // out_width * down, pixels % out_width * across
    flat = padded.flatten(2)
    taps = []
    for row in range(rows):
        for column in range(columns):
            place = (y + row * step_y) * padded.shape[3] + z + column * step_x
            seen = flat.gather(2, place.unsqueeze(1).expand(-1, x.shape[1], -1))
            taps.append(seen.transpose(0, 1).flatten(1))
    return torch.stack(taps, 1)


@dataclass(frozen=True)
class RefittedWeights:
    """Weights of a convolution, and their error.

    Attributes:
        weights: new weights, of the kernel's shape.
        offsets: (filters,) values to add to the convolution's output.
        error: mean squared error divided by the variance of the target.
        error_before: the same of the old weights, with the best offsets.
    """

    weights: Tensor
    offsets: Tensor
    error: float
    error_before: float


@torch.no_grad()
def fit_weights(
    conv: nn.Conv2d,
    seen: Tensor,
    wanted: Tensor,
    ridge: float,
    *,
    summed: Callable[[Tensor], Tensor] = lambda own: own,
) -> RefittedWeights:
    """Compute the weights of least squares, with a penalty on their change (ridge regression).

    Args:
        conv: the convolution, which does not change.
        seen: (input channels, taps, positions) input windows.
        wanted: (filters, positions) target outputs.
        ridge: penalty on a squared change of a weight, as a share of the inputs' mean variance.
        summed: sums a tensor over processes, each of which has positions of its own.

    Returns:
        The new weights and offsets, with their error.
    """
    groups, own = conv.groups, seen.shape[2]
    tiny = torch.finfo(torch.float32).tiny
    a = seen.reshape(groups, seen.shape[0] * seen.shape[1] // groups, own).double()
    y = wanted.reshape(groups, len(wanted) // groups, own).double()
    old = conv.weight.double().reshape(groups, y.shape[1], -1)
    count = summed(torch.tensor(float(own), dtype=torch.float64, device=a.device))
    mean_a, mean_y = (summed(one.sum(2, keepdim=True)) / count for one in (a, y))
    a, y = a - mean_a, y - mean_y
    gram = summed(a @ a.mT) / count
    rest = y - old @ a
    size = gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=tiny)
    held = gram + ridge * torch.diag_embed(size.unsqueeze(1).expand(-1, gram.shape[1]))
    change = torch.linalg.solve(held, summed(a @ rest.mT) / count).mT
    new = old + change
    sums = [one.square().sum() for one in (rest - change @ a, rest, y)]
    error, before, spread = summed(torch.stack(sums)).tolist()
    return RefittedWeights(
        new.reshape(conv.weight.shape).float(),
        (mean_y - new @ mean_a).flatten().float(),
        error / max(spread, tiny),
        before / max(spread, tiny),
    )
