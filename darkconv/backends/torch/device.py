"""The device that a job runs on, by its name."""

import torch

from darkconv.core.processes import local_rank
from darkconv.errors import DarkconvError

EXPECTED = "auto, cpu, or cuda where PyTorch finds a GPU"


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name; under torchrun each process of a host has a GPU of its own.

    Args:
        name: "auto" for the GPU if PyTorch finds one, otherwise the CPU; "cpu"; "cuda" for the GPU
            of this process; "cuda:1" for the GPU of that index, from 0. Other names are PyTorch's.

    Raises:
        DarkconvError: the device does not exist on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DarkconvError(f"device {name}: PyTorch finds no GPU here", hint="device cpu")
    if name == "cuda":
        name = f"cuda:{local_rank() % torch.cuda.device_count()}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DarkconvError("device", expected=EXPECTED, found=name) from error
    return device
