"""What the readers of channels read: mean and covariance of their windows over pictures."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from darkconv.backends.torch import DarknetModule, in_float32
from darkconv.backends.torch.conv import Block
from darkconv.core.network import Layer
from darkconv.profiling.fitting import windows_at
from darkconv.profiling.walking import Sampling, Share, last_readers, run_batched

Doubles = npt.NDArray[np.float64]

CHUNK = 4096
"""Positions whose products are summed in float32, before double precision takes over."""


@dataclass(frozen=True, eq=False)
class InputMoments:
    """What a convolution reads, a column for each input channel and tap of its kernel.

    Attributes:
        mean: (columns,) of each.
        covariance: (columns, columns) between them.
    """

    mean: Doubles
    covariance: Doubles


def input_moments(
    module: DarknetModule,
    share: Share,
    sampling: Sampling,
    wanted: Collection[int],
    *,
    device: torch.device,
    batch: int,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[Layer, InputMoments | None]]:
    """Walk a network over pictures, and measure what some of its convolutions read.

    Args:
        module: the network, which is not changed.
        share: the pictures of this process.
        sampling: which output pixels count.
        wanted: the convolutions.
        device: where it runs.
        batch: pictures that are run together.
        progress: called with the number of layers done.

    Yields: every layer in turn, with its moments if it is wanted.
    """
    network, last = module.network, last_readers(module.network)
    x = share.x.to(device)
    values = {-1: x}
    for layer in network.layers:
        read = [values[source] for source in layer.sources]
        found = None
        with in_float32(device), torch.inference_mode():
            if layer.index in wanted:
                pixels = sampling.draw(layer, share.total)[share.rows].to(device)
                block = module.layers[layer.index]
                assert isinstance(block, Block)
                assert isinstance(block.conv, nn.Conv2d)
                found = _moments(windows_at(block.conv, read[0], pixels).flatten(0, 1), share)
            values[layer.index] = run_batched(module, layer, read, x, batch)
        values = {i: v for i, v in values.items() if last.get(i, -1) > layer.index}
        if progress:
            progress(layer.index + 1)
        yield layer, found


def _moments(seen: Tensor, share: Share) -> InputMoments:
    """Moments of rows (columns, positions), over the positions of all processes."""
    columns = len(seen)
    count = torch.tensor(float(seen.shape[1]), dtype=torch.float64, device=seen.device)
    count = share.summed(count)
    mean = share.summed(seen.sum(1, dtype=torch.float64)) / count
    products = np.zeros((columns, columns))
    for part in torch.split(seen, CHUNK, dim=1):
        centred = part - mean.float().unsqueeze(1)
        products += _squared(centred)
    covariance = share.summed(torch.from_numpy(products)) / count.cpu()
    return InputMoments(mean.cpu().numpy(), covariance.numpy())


def _squared(rows: Tensor) -> npt.NDArray[np.float32]:
    """(n, n) products of the rows with each other; NumPy computes half of the matrix only."""
    if rows.device.type == "cpu":
        values = np.ascontiguousarray(rows.numpy())
        products: npt.NDArray[np.float32] = values @ values.T
        return products
    found: npt.NDArray[np.float32] = (rows @ rows.mT).cpu().numpy()
    return found
