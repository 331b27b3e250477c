"""Writing an ONNX file: with its weights inside, in a file beside it, or in a Darknet weights file.

Weights are written piece by piece from the memory map that they lie in. Only computed ones, such as
folded weights, are in memory, one piece at a time.
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

DATA_SUFFIX = ".data"  # suffix of the file beside net.onnx: net.onnx.data
PAGE = 4096  # large arrays begin at a page, so that runtimes can map them
LINE = 64  # other arrays begin at a line of the processor's cache

Tensors = Mapping[str, ir.TensorProtocol]


@dataclass(frozen=True)
class ExternalData:
    """Where large arrays lie outside the ONNX file.

    Attributes:
        location: name of a file in the same folder.
        offsets: offset of each array in that file, in bytes, by name; arrays without one are in the
            ONNX file.
    """

    location: str = ""
    offsets: Mapping[str, int] = field(default_factory=dict)


def build_model(model: Model, options: OnnxOptions) -> ir.Model:
    """Build the whole graph, with all metadata but the digests of Darknet's files.

    Args:
        model: model to build.
        options: options of the graph.

    Raises:
        UnsupportedError: a layer that is not expressed in ONNX with these options.
        DarkconvError: the network has no head of the kind that is asked for.
    """
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
        model: model to write.
        path: path of the file.
        external: write large arrays to a second file beside it, `net.onnx.data`.
        in_place: leave the arrays in the weights file that the model was loaded from. The ONNX file
            must lie beside it. Batch norm is not folded.
        check: run the file once before it gets its name: see `darkconv.backends.onnx.trial`.
        options: options of `to_onnx`.

    Returns:
        How many output values are NaN when the file is run once.

    Raises:
        UnsupportedError: a layer that is not expressed in ONNX with these options.
        DarkconvError: an unknown option; a file that cannot be written, is too large or does not
            run; a file name that the graph cannot hold; or `in_place` where the arrays are not
            those of a weights file in that folder.
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
            places = laid_out(tensors, data_path(path).name) if external else ExternalData()
        stream = ModelStream(*split(graph, tensors, places))
        beside: dict[PathLike, Chunks] = {}
        if external:
            beside[data_path(path)] = data_chunks(tensors, places)
        trial = OnnxTrial(path, model.network)
        check = check and not graph.graph.opset_imports.keys() - {""}  # plugins cannot run here
        write_together(
            {**beside, path: stream.chunks(digests_of_files)}, check=trial if check else None
        )
    return trial.missing


class OnnxTrial:
    """Runs an ONNX file, and the files beside it, under temporary names.

    Attributes:
        missing: how many output values were NaN.
    """

    def __init__(self, path: Path, network: Network) -> None:
        """Prepare the trial of a file.

        Args:
            path: name that the file will have.
            network: network that the file was built from.
        """
        self._path = path
        self._network = network
        self.missing = 0

    def __call__(self, temporaries: Mapping[Path, Path]) -> None:
        """Run the file: see `try_out`.

        Args:
            temporaries: temporary names of the files, by the names that they will have.
        """
        beside = {name.name: file for name, file in temporaries.items() if name != self._path}
        self.missing = try_out(temporaries[self._path], self._path, self._network, beside)


def data_path(path: Path) -> Path:
    """Return the path of the file beside an ONNX file: net.onnx.data.

    Args:
        path: path of the ONNX file.
    """
    return path.with_name(path.name + DATA_SUFFIX)


@contextmanager
def hashing(model: Model, *, in_place: bool) -> Iterator[Callable[[], dict[str, str]]]:
    """Yield a function that returns the digests of Darknet's files, computed in another thread.

    Args:
        model: model whose files are hashed.
        in_place: True if the graph points into the weights file.

    Yields:
        The function; it waits until the digests are computed.
    """
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(digests, model, in_place=in_place).result


def large_tensors(graph: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Return the arrays of a graph that are written piece by piece, by name.

    Args:
        graph: complete graph.
    """
    return {
        name: value.const_value
        for name, value in graph.graph.initializers.items()
        if value.const_value is not None and value.const_value.size > SHARED_SIZE
    }


def laid_out(tensors: Tensors, location: str) -> ExternalData:
    """Return places for arrays one after the other, each at an aligned offset.

    Args:
        tensors: arrays by name, in the order of the file.
        location: name of the data file.
    """
    offsets, end = {}, 0
    for name, tensor in tensors.items():
        step = PAGE if tensor.nbytes >= PAGE else LINE
        offsets[name] = -(-end // step) * step
        end = offsets[name] + tensor.nbytes
    return ExternalData(location, offsets)


def data_chunks(tensors: Tensors, places: ExternalData) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a data file.

    Args:
        tensors: arrays by name, in the order of the file.
        places: offsets of the arrays.

    Yields:
        Consecutive bytes, with zeros between arrays.
    """
    end = 0
    for name, tensor in tensors.items():
        yield bytes(places.offsets[name] - end)
        yield from pieces(tensor)
        end = places.offsets[name] + tensor.nbytes


def split(
    graph: ir.Model, tensors: Tensors, places: ExternalData
) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """Return the model without the data of large arrays, and the arrays that belong into its file.

    Args:
        graph: complete graph; its initializers are changed.
        tensors: large arrays by name.
        places: where arrays lie outside the ONNX file.
    """
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
    """Return the weights file that a graph can point into.

    Args:
        model: model that was loaded from it.
        path: path of the ONNX file.

    Raises:
        DarkconvError: the model's arrays are not those of a file, or the file lies in another
            folder.
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


def places_in(file: WeightsFile, tensors: Tensors) -> ExternalData:
    """Return the places of those arrays that a weights file holds unchanged.

    Args:
        file: weights file of the model.
        tensors: large arrays by name.
    """
    offsets = {name: file.offset_of(tensor.numpy()) for name, tensor in tensors.items()}
    known = {name: offset for name, offset in offsets.items() if offset is not None}
    return ExternalData(file.real_path.name, known)


def unfolded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with which arrays are used unchanged from the weights file.

    Args:
        options: options of `to_onnx`.

    Raises:
        DarkconvError: half precision was asked for.
    """
    if options.get("fp16"):
        raise DarkconvError("in_place", expected="float32, as the weights file holds it")
    if options.get("fold", True):
        logger.warning("in place, batch norm is not folded: the weights stay as they are")
    return {**options, "fold": False}
