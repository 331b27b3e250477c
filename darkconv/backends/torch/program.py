"""Exported programs, .pt2 files, read back to be run: see `darkconv.backends.torch.files`."""

import io
import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from darkconv.backends.exported import ExportedFile, expected_outputs
from darkconv.backends.program_archive import PROGRAM_HEADS, read_program_archive
from darkconv.core.model import Array
from darkconv.darknet.description import read_description
from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike


@dataclass(frozen=True)
class ProgramFile(ExportedFile):
    """A file of `write_program`, ready to run."""


class ProgramRunner:
    """An exported program, as a `GraphRunner`, on the CPU.

    Attributes:
        outputs: names of the outputs: those of the layers, as in files of other formats.
    """

    def __init__(self, module: torch.nn.Module, outputs: Sequence[str]) -> None:
        """Take what `torch.export.load` makes callable.

        Args:
            module: that is called.
            outputs: names of what it returns.
        """
        self._module, self.outputs = module, list(outputs)

    def __call__(self, x: npt.NDArray[Any], **_: Array) -> list[Array]:
        """Run the program once.

        Args:
            x: float32 batch (N, C, H, W) or (N, values).
            **_: other inputs of a `GraphRunner`, which are ignored.
        """
        given = torch.from_numpy(np.ascontiguousarray(x, np.float32))
        with torch.no_grad():
            found = self._module(given)
        values = found if isinstance(found, tuple | list) else [found]
        return [value.numpy() for value in values]


def read_program(path: PathLike) -> ProgramFile:
    """Read a file of `write_program` as an object that runs and returns its outputs.

    Args:
        path: the file.

    Raises:
        DarkconvError: the file is damaged, could run code, or was not written by darkconv.
    """
    where = Where(file=os.fspath(path))
    content, texts = read_program_archive(path)
    network, _, names = read_description(texts, where)
    if texts.get("head") not in PROGRAM_HEADS:
        raise DarkconvError("damaged: the metadata have no head", where=where)
    try:
        module = _loaded(content)
    except Exception as error:  # PyTorch raises whatever its parts do
        raise DarkconvError(
            f"PyTorch {torch.__version__} cannot read it as an exported program", where=where
        ) from error
    run = ProgramRunner(module, expected_outputs(network, texts))
    return ProgramFile(str(where.file), texts, network, names, run)


def _loaded(content: bytes) -> torch.nn.Module:
    """Return the program of an archive; what PyTorch logs where it fails is kept back."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(io.BytesIO(content)).module(check_guards=False)
    finally:
        logger.setLevel(level)
