"""safetensors files and exported programs: a module and all that it needs, in one file.

A safetensors file holds the state_dict of the module; its metadata hold the cfg, the class names,
the header of the weights file and the class trees, so that the file can be converted back into
Darknet's files.
"""

import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from darkconv.backends.program_archive import DESCRIPTION, PROGRAM_HEADS
from darkconv.backends.torch.arrays import array_names, parameter_names, require_values
from darkconv.backends.torch.network import DarknetModule
from darkconv.backends.torch.tensor_file import TensorFile
from darkconv.core.model import Model
from darkconv.darknet.description import describe, read_description
from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike, write_bytes

EXAMPLE_BATCH = 2  # torch.export would take a batch of 1 for a constant
ALIGNMENT = 8  # the arrays in a safetensors file begin at a multiple of so many bytes


def write_safetensors(module: DarknetModule, path: PathLike) -> None:
    """Write the parameters of a module and its network as a safetensors file.

    Args:
        module: module of `to_torch`, on any device.
        path: file to write.

    Raises:
        DarkconvError: the file cannot be written, or the module is on the meta device.
    """
    state = module.state_dict()
    owned = {name: state[name] for name in sorted(parameter_names(module).values())}
    for name, tensor in owned.items():
        require_values(tensor, name)
    write_bytes(path, safetensors_chunks(owned, file_metadata(module)))


def safetensors_chunks(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a safetensors file: the header's length, the header, the float32 arrays.

    The safetensors library is not used: it writes the metadata in another order in every run.

    Args:
        tensors: tensors by name, in the order in which they are written.
        metadata: texts by key.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    yield len(text).to_bytes(8, "little") + text
    for tensor in tensors.values():
        array = np.ascontiguousarray(tensor.detach().cpu().numpy(), "<f4")
        yield array.reshape(-1).view(np.uint8).data


def file_metadata(module: DarknetModule) -> dict[str, str]:
    """Return the metadata of a file of the module: its format and network, as texts by key.

    Args:
        module: module of `to_torch`.
    """
    return {"format": "pt", **describe(module.network, module.header, module.names)}


def read_safetensors(path: PathLike) -> Model:
    """Read a file of `write_safetensors` as a model.

    Args:
        path: file to read.

    Raises:
        DarkconvError: the file is damaged, or was not written by darkconv.
    """
    file, where = TensorFile(path), Where(file=os.fspath(path))
    network, header, names = read_description(file.metadata, where)
    places = array_names(network)
    strange = sorted(file.entries.keys() - set(places.values()))
    if strange:
        raise DarkconvError(
            "holds an array that its network has no place for", where=where, found=strange[0]
        )
    shapes = {key: slot.shape for key, _, slot in network.keyed_slots()}
    arrays = {key: file.read(name, shapes[key]) for key, name in places.items()}
    return Model(network, arrays, header, names)


class HeadInputs(nn.Module):
    """A module that returns the inputs of each head, before any activation."""

    def __init__(self, module: DarknetModule) -> None:
        """Take the layers of a module, without a copy.

        Args:
            module: module of `to_torch`.

        Raises:
            DarkconvError: the network has no head.
        """
        super().__init__()
        network = module.network
        if not network.heads:
            raise DarkconvError(
                f"{network.file}: has no head, whose inputs head=logits is about",
                hint="its outputs as they are: head=raw",
            )
        self.module = module
        self.entering = [layer.sources[0] for layer in network.heads]
        module.part(self.entering)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the value of the layer that each head reads, in the order of the heads."""
        values = self.module.select(x, self.entering)
        return tuple(values[index] for index in self.entering)


def write_program(module: DarknetModule, path: PathLike, *, head: str = "raw") -> None:
    """Write the module as a `torch.export` program (.pt2), for batches of any size.

    The file also holds the network's cfg, class names and header as JSON: `torch.export.load` puts
    it into its `extra_files` under the name `DESCRIPTION`.

    Args:
        module: module of `to_torch`.
        path: file to write.
        head: "raw" for the outputs of the module; "logits" for the inputs of each head, before any
            activation.

    Raises:
        DarkconvError: the file cannot be written, the module is on the meta device, `head` is
            another word, or "logits" is asked of a network that has no head.
    """
    if head not in PROGRAM_HEADS:
        raise DarkconvError("head", expected=", ".join(PROGRAM_HEADS), found=head)
    run: nn.Module = HeadInputs(module) if head == "logits" else module
    for name, tensor in module.state_dict().items():
        require_values(tensor, name)
    shape = module.network.input_shape
    example = torch.zeros(EXAMPLE_BATCH, *(shape if shape.is_map else (shape.size,)))
    batch = ({0: torch.export.Dim.DYNAMIC},)
    with torch.no_grad(), warnings.catch_warnings():
        # the state of recurrent layers, which begins anew in every call of a program
        warnings.filterwarnings("ignore", "The tensor attribute", UserWarning)
        program = torch.export.export(run, (example,), dynamic_shapes=batch)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it has the paths of this machine
    told = file_metadata(module) | {"head": head}
    buffer = io.BytesIO()  # PyTorch ends the process if a file cannot be written
    torch.export.save(program, buffer, extra_files={DESCRIPTION: json.dumps(told)})
    write_bytes(path, [buffer.getbuffer()])
