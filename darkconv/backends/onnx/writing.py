"""Writing an ONNX file: whole, with its weights beside it, or pointing into a weights file.

Weights go out piece by piece from the memory map that they lie in; only those that are computed,
such as folded ones, are in memory at all, a piece at a time.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from darkconv.backends.onnx.digest import digests
from darkconv.backends.onnx.graph import SHARED_SIZE, plain_proto
from darkconv.backends.onnx.heads import build_outputs
from darkconv.backends.onnx.metadata import file_metadata
from darkconv.backends.onnx.network import NetworkGraph
from darkconv.backends.onnx.options import OnnxOptions
from darkconv.backends.onnx.tensors import pieces
from darkconv.backends.onnx.trial import try_out
from darkconv.backends.onnx.wire import ModelStream
from darkconv.core.model import Model
from darkconv.core.network import Network
from darkconv.darknet.weights import FileArrays, WeightsFile
from darkconv.errors import DarkconvError
from darkconv.files import Chunks, PathLike, is_utf8, write_together

logger = logging.getLogger("darkconv")

DATA_SUFFIX = ".data"  # of the file beside net.onnx: net.onnx.data
PAGE = 4096  # large arrays begin at a page, so that runtimes can map them
LINE = 64  # others at a line of the processor's cache

Tensors = Mapping[str, ir.TensorProtocol]


@dataclass(frozen=True)
class Places:
    """Where large arrays stand outside the ONNX file.

    Attributes:
        location: name of a file in the same folder.
        offsets: in it, by name; arrays that have none are in the ONNX file itself.
    """

    location: str = ""
    offsets: Mapping[str, int] = field(default_factory=dict)


def build_model(model: Model, options: OnnxOptions) -> ir.Model:
    """The whole graph, with all metadata but the digests of Darknet's files."""
    built = NetworkGraph(model, options)
    outputs = build_outputs(built)
    return built.finish(outputs, file_metadata(built))


def write_onnx(
    model: Model,
    path: PathLike,
    *,
    external: bool = False,
    in_place: bool = False,
    check: bool = True,
    **options: Any,
) -> int:
    """Write the ONNX file of a model.

    Args:
        model: what to write.
        path: of the file.
        external: put large arrays into a second file beside it, `net.onnx.data`.
        in_place: leave them where they are, in the weights file that the model was loaded from.
            The ONNX file must be put beside it. Batch norm is not folded.
        check: run the file once before it takes its name: see `darkconv.backends.onnx.trial`.
        options: those of `to_onnx`.

    Returns:
        How many values are NaN when the file is run once.

    Raises:
        UnsupportedError: a layer that is not expressed in ONNX with these options.
        DarkconvError: an unknown option, the file cannot be written, is too large or does not run,
            a name that the graph cannot hold, or `in_place` where the arrays are not those of a
            weights file in that folder.
    """
    if external and in_place:
        raise DarkconvError("external and in_place cannot both hold")
    path = Path(path)
    weights = weights_beside(model, path) if in_place else None
    named = weights.real_path if weights else path if external else None
    if named and not is_utf8(named.name):
        raise DarkconvError(
            f"{named}: its name is no UTF-8, so that an ONNX file cannot say where its arrays are"
        )
    if weights:
        options = unfolded(options)
    with hashing(model, in_place=in_place) as digests_of_files:
        graph = build_model(model, OnnxOptions(**options))
        tensors = large_tensors(graph)
        if weights:
            places = places_in(weights, tensors)
        else:
            places = laid_out(tensors, data_path(path).name) if external else Places()
        stream = ModelStream(*split(graph, tensors, places))
        beside: dict[PathLike, Chunks] = {}
        if external:
            beside[data_path(path)] = data_chunks(tensors, places)
        trial = Trial(path, model.network)
        check = check and not graph.graph.opset_imports.keys() - {""}  # ours alone run here
        write_together(
            {**beside, path: stream.chunks(digests_of_files)}, check=trial if check else None
        )
    return trial.missing


class Trial:
    """Runs an ONNX file, and what lies beside it, under temporary names.

    Attributes:
        missing: how many values of the outputs were NaN.
    """

    def __init__(self, path: Path, network: Network) -> None:
        """Of a file that is to be called `path`."""
        self._path = path
        self._network = network
        self.missing = 0

    def __call__(self, temporaries: Mapping[Path, Path]) -> None:
        """Run the file: see `try_out`."""
        beside = {name.name: file for name, file in temporaries.items() if name != self._path}
        self.missing = try_out(temporaries[self._path], self._path, self._network, beside)


def data_path(path: Path) -> Path:
    """The file beside an ONNX file: net.onnx.data."""
    return path.with_name(path.name + DATA_SUFFIX)


@contextmanager
def hashing(model: Model, *, in_place: bool) -> Iterator[Callable[[], dict[str, str]]]:
    """Compute the digests of Darknet's files while other things are done."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(digests, model, in_place=in_place).result


def large_tensors(graph: ir.Model) -> dict[str, ir.TensorProtocol]:
    """The arrays worth a treatment of their own, by name."""
    return {
        name: value.const_value
        for name, value in graph.graph.initializers.items()
        if value.const_value is not None and value.const_value.size > SHARED_SIZE
    }


def laid_out(tensors: Tensors, location: str) -> Places:
    """One array behind the other, each at a round offset."""
    offsets, end = {}, 0
    for name, tensor in tensors.items():
        step = PAGE if tensor.nbytes >= PAGE else LINE
        offsets[name] = -(-end // step) * step
        end = offsets[name] + tensor.nbytes
    return Places(location, offsets)


def data_chunks(tensors: Tensors, places: Places) -> Iterator[bytes | memoryview]:
    """The bytes of a data file."""
    end = 0
    for name, tensor in tensors.items():
        yield bytes(places.offsets[name] - end)
        yield from pieces(tensor)
        end = places.offsets[name] + tensor.nbytes


def split(
    graph: ir.Model, tensors: Tensors, places: Places
) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """The model without the data of large arrays, and those that belong into its file."""
    for name, tensor in tensors.items():
        graph.graph.initializers[name].const_value = ir.ExternalTensor(
            places.location,
            places.offsets.get(name),
            tensor.nbytes,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=name,
        )
    proto = plain_proto(graph)
    inside = {name: tensors[name] for name in tensors if name not in places.offsets}
    for initializer in proto.graph.initializer:
        if initializer.name in inside:
            initializer.ClearField("external_data")
            initializer.ClearField("data_location")
    return proto, inside


def weights_beside(model: Model, path: Path) -> WeightsFile:
    """The weights file that a graph at `path` can point into.

    Raises:
        DarkconvError: the model's arrays are not those of a file, or it lies elsewhere.
    """
    if not isinstance(model.arrays, FileArrays):
        raise DarkconvError(
            "an ONNX file in place needs the arrays as a whole weights file holds them",
            found="a model that was changed, or not loaded from one",
            hint="save the model first, and convert what was saved",
        )
    file = model.arrays.file
    if not file.is_unchanged:
        raise file.error("has been moved or changed since it was loaded")
    folder, target = file.real_path.parent, path.parent.resolve()
    if folder != target:
        raise DarkconvError(
            f"{path}: an ONNX file in place must lie beside the weights, for runtimes refuse "
            "paths that lead elsewhere",
            expected=str(folder),
            found=str(target),
        )
    if file.real_path.stat().st_nlink > 1:
        logger.warning(
            "%s: has several names (hard links): onnx.checker refuses to look into such a file",
            file.path,
        )
    return file


def places_in(file: WeightsFile, tensors: Tensors) -> Places:
    """Those arrays that stand in a weights file as they are."""
    offsets = {name: file.offset_of(tensor.numpy()) for name, tensor in tensors.items()}
    known = {name: offset for name, offset in offsets.items() if offset is not None}
    return Places(file.real_path.name, known)


def unfolded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under which arrays are used as they stand in the weights file.

    Raises:
        DarkconvError: half precision was asked for.
    """
    if options.get("fp16"):
        raise DarkconvError("in_place", expected="float32, as the weights file holds it")
    if options.get("fold", True):
        logger.warning("in place, batch norm is not folded: the weights stay as they are")
    return {**options, "fold": False}
