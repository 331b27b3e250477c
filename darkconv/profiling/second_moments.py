"""Mean and covariance of the input windows of convolutions, over pictures."""

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
"""Number of positions whose products are summed in float32; the sums are added in float64."""


@dataclass(frozen=True, eq=False)
class InputMoments:
    """Moments of a convolution's input, with a column for each input channel and tap of its kernel.

    Attributes:
        mean: (columns,) means.
        covariance: (columns, columns) covariance.
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
    """Run a network over pictures, and measure the inputs of some of its convolutions.

    Args:
        module: module of the network, which is not changed.
        share: pictures of this process.
        sampling: choice of output pixels.
        wanted: indices of the convolutions.
        device: device of the computation.
        batch: number of pictures that are run together.
        progress: called with the number of layers done; None for nobody.

    Yields:
        Every layer in turn, with its moments; None if they are not wanted.
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
    """Return the moments of rows (columns, positions), over the positions of all processes."""
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
    """Return the Gram matrix (n, n) of the rows; NumPy computes only half of it."""
    if rows.device.type == "cpu":
        values = np.ascontiguousarray(rows.numpy())
        products: npt.NDArray[np.float32] = values @ values.T
        return products
    found: npt.NDArray[np.float32] = (rows @ rows.mT).cpu().numpy()
    return found
