"""Reading batches: what they hold and how they lie in memory."""

import pytest
import torch
from torch.utils.data import DataLoader

from darkconv.training.loader import Batches, as_it_is, stacked


class Numbered:
    """Pictures of noise by number."""

    def __len__(self):
        return 6

    def __getitem__(self, number):
        return torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_batches_are_stored_as_networks_read_them(channels):
    pictures = [torch.rand(channels, 4, 5) for _ in range(3)]
    found, expected = stacked(pictures), torch.stack(pictures)
    assert torch.equal(found, expected)
    assert found.stride() == expected.contiguous(memory_format=torch.channels_last).stride()


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_gives_whole_batches(workers):
    draws = [[0, 1, 2], [5, 4], [3]]
    batches = Batches(Numbered(), stacked)
    loader = DataLoader(batches, batch_sampler=draws, num_workers=workers, collate_fn=as_it_is)
    for found, numbers in zip(loader, draws, strict=True):
        assert torch.equal(found, torch.stack([Numbered()[number] for number in numbers]))
        assert found.is_shared() == bool(workers)
