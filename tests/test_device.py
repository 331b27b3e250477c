"""Devices by name."""

import pytest

pytest.importorskip("torch")

import torch
from click.testing import CliRunner

from darkconv.backends.torch.device import choose_device
from darkconv.cli import main
from darkconv.errors import DarkconvError


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, as far as names go."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    empty = torch.empty
    monkeypatch.setattr("torch.empty", lambda *size, device: empty(*size))


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    with pytest.raises(DarkconvError, match="device cuda:1: PyTorch finds no GPU here"):
        choose_device("cuda:1")


@pytest.mark.parametrize(("rank", "own"), [("0", "cuda:0"), ("1", "cuda:1"), ("2", "cuda:0")])
def test_each_process_of_a_host_has_its_own_gpu(gpus, monkeypatch, rank, own):
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert choose_device("auto") == choose_device("cuda") == torch.device(own)
    assert choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["toaster", "cuda:x"])
def test_other_names_are_refused(gpus, name):
    with pytest.raises(DarkconvError, match="expected auto, cpu, or cuda where"):
        choose_device(name)


def test_a_name_that_is_none_is_wrong_usage():
    line = ["profile", "a.cfg", "a.weights", "b", "-o", "p.npz", "--device", "toaster"]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 2
    assert "'toaster' is not auto, cpu, cuda or a GPU such as cuda:1" in result.stderr
