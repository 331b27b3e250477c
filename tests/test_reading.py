"""Reading batches: what they hold and how they lie in memory, and work in gaps."""

import os
import threading

import pytest
import torch
from torch.utils.data import DataLoader

from darkconv.finetune import reading
from darkconv.finetune.batch import stacked
from darkconv.finetune.reading import Batches, Gaps, as_it_is

needs_idle = pytest.mark.skipif(
    not hasattr(os, "SCHED_IDLE"), reason="only Linux has a policy for gaps"
)


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
    batches = Batches(Numbered(), stacked, in_gaps=workers > 0)
    loader = DataLoader(batches, batch_sampler=draws, num_workers=workers, collate_fn=as_it_is)
    for found, numbers in zip(loader, draws, strict=True):
        assert torch.equal(found, torch.stack([Numbered()[number] for number in numbers]))
        assert found.is_shared() == bool(workers)


def test_errors_come_out_of_gaps():
    with pytest.raises(ZeroDivisionError):
        Gaps().run(lambda: 1 // 0)


@needs_idle
def test_work_in_gaps_leaves_the_caller_as_it_was():
    before = os.sched_getscheduler(0)
    assert Gaps().run(lambda: os.sched_getscheduler(0)) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == before


@needs_idle
def test_starved_work_is_done_as_an_equal_for_a_while(monkeypatch):
    monkeypatch.setattr(reading, "STARVED", 0)  # whatever it takes is too long
    monkeypatch.setattr(reading, "FIRST_PAUSE", 2)
    monkeypatch.setattr(reading, "LONGEST_PAUSE", 3)
    gaps, here = Gaps(), threading.get_ident()
    is_equal = [gaps.run(threading.get_ident) == here for _ in range(11)]
    assert is_equal == [False, True, True, *([False, True, True, True] * 2)]


@needs_idle
def test_work_that_is_not_starved_stays_in_gaps(monkeypatch):
    monkeypatch.setattr(reading, "STARVED", float("inf"))
    gaps, here = Gaps(), threading.get_ident()
    assert not any(gaps.run(threading.get_ident) == here for _ in range(5))
