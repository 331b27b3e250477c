"""safetensors and exported programs: a module and all it needs, in one file.

A safetensors file holds the module's state under its torch names; the cfg, the class names,
the weights header and class trees are in its metadata, so that it can be turned back into
Darknet's files.
"""

import os
from collections.abc import Mapping

import torch

from darkconv.backends.torch.arrays import array_names, parameter_names
from darkconv.backends.torch.network import DarknetModule
from darkconv.core.model import Array, Model, frozen
from darkconv.darknet.description import describe, read_description
from darkconv.errors import DarkconvError, MissingDependencyError, Where
from darkconv.files import PathLike, replacing

EXAMPLE_BATCH = 2  # torch.export takes 1 for a constant


def write_safetensors(module: DarknetModule, path: PathLike) -> None:
    """Write a module's state with its network.

    Raises:
        MissingDependencyError: safetensors is not installed.
        DarkconvError: the file cannot be written.
    """
    try:
        from safetensors.torch import save_file
    except ModuleNotFoundError:
        raise MissingDependencyError("safetensors", extra="torch", task="safetensors") from None
    state = module.state_dict()
    owned = {name: state[name].contiguous() for name in parameter_names(module).values()}
    with replacing(path) as temporary:
        save_file(owned, temporary, metadata=file_metadata(module))


def file_metadata(module: DarknetModule) -> dict[str, str]:
    """What a reader needs beside the tensors, as text."""
    return {"format": "pt", **describe(module.network, module.header, module.names)}


def read_safetensors(path: PathLike) -> Model:
    """Read a file of `write_safetensors` as a model.

    Raises:
        DarkconvError: the file is damaged, or was not written by darkconv.
        MissingDependencyError: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        raise MissingDependencyError("safetensors", extra="torch", task="safetensors") from None
    where = Where(file=os.fspath(path))
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DarkconvError(f"cannot be read as safetensors: {error}", where=where) from error
    return _model(metadata, tensors, where)


def _model(metadata: Mapping[str, str], tensors: Mapping[str, Array], where: Where) -> Model:
    network, header, names = read_description(metadata, where)
    arrays = {}
    for key, name in array_names(network).items():
        if name not in tensors:
            raise DarkconvError("damaged", where=where, expected=f"a tensor {name}")
        arrays[key] = frozen(tensors[name])
    return Model(network, arrays, header, names)


def write_program(module: DarknetModule, path: PathLike) -> None:
    """Write the module as a `torch.export` program (.pt2), for batches of any size.

    Raises:
        DarkconvError: the file cannot be written.
    """
    shape = module.network.input_shape
    example = torch.zeros(EXAMPLE_BATCH, *(shape if shape.is_map else (shape.size,)))
    batch = ({0: torch.export.Dim.DYNAMIC},)
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=batch)
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.export.save(program, file)
