"""Running a file once before it has its name, so that every written file is known to run.

A run shows errors that a checker cannot see: an index beyond an axis, shapes that do not fit, an
operator that a runtime lacks for a dtype. Graphs are run without optimization, since that would
take longer than one run.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.exported import tell_missing
from darkconv.backends.onnx.running import FATAL, reachable, told_failures
from darkconv.core.network import Network
from darkconv.core.processors import count_processors
from darkconv.errors import DarkconvError

logger = logging.getLogger("darkconv")
IN_MEMORY = "add_external_initializers_from_files_in_memory"
"""Name of a method of SessionOptions in newer versions of onnxruntime."""

TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
STEP = 32  # difference of the sizes that are tried for a graph of free size
HINT = "--no-check (check=False) leaves out the run; please report it"


def try_out(path: Path, target: Path, network: Network, beside: Mapping[str, Path]) -> int:
    """Run a file once on zeros, of the declared size, or of the least one where that is free.

    Args:
        path: path of the file.
        target: name that the file will have, for messages.
        network: network that the file was built from.
        beside: files with arrays, by the names that they will have.

    Returns:
        How many output values are NaN; a warning is logged if any are.

    Raises:
        DarkconvError: the file cannot be run.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        logger.warning("%s: was not run, for onnxruntime is not installed", target)
        return 0
    if beside and not hasattr(onnxruntime.SessionOptions, IN_MEMORY):
        logger.warning(
            "%s: was not run: onnxruntime %s takes no arrays beside a graph that has no name yet",
            target,
            onnxruntime.__version__,
        )
        return 0
    try:
        with told_failures(str(target)):
            session = plain_session(onnxruntime, path, beside)
            outputs = session.run(None, trial_inputs(session, network))
    except DarkconvError as error:
        error.hint = HINT
        raise
    return tell_missing(outputs, str(target))


def plain_session(onnxruntime: Any, path: Path, beside: Mapping[str, Path]) -> Any:
    """Return a session that is made quickly, and runs once with little memory.

    Args:
        onnxruntime: the module.
        path: path of the file.
        beside: files with arrays, by the names that the graph gives them.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    options.intra_op_num_threads = count_processors()
    # these must live until the session is made, since it keeps no reference to them
    maps = {name: np.memmap(file, np.uint8, "r") for name, file in beside.items() if size_of(file)}
    if maps:
        sizes = [file.size for file in maps.values()]
        getattr(options, IN_MEMORY)(list(maps), list(maps.values()), sizes)
    with reachable(path) as graph:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def size_of(file: Path) -> int:
    """Return the size of a file in bytes; an empty file cannot be memory-mapped.

    Args:
        file: path of the file.
    """
    return file.stat().st_size


def trial_inputs(session: Any, network: Network) -> dict[str, npt.NDArray[Any]]:
    """Return zeros for every input of a graph, for one picture, by name.

    Args:
        session: session of the graph.
        network: network that the graph was built from.
    """
    width, height = trial_size(session, network)
    lengths = {"width": width, "height": height}
    return {
        value.name: np.zeros(
            [n if isinstance(n, int) else lengths.get(n, 1) for n in value.shape],
            TYPES[value.type],
        )
        for value in session.get_inputs()
    }


def trial_size(session: Any, network: Network) -> tuple[int, int]:
    """Return the width and height for a trial run, in pixels.

    Where they are free, these are the least ones for which all layers have a map.

    Args:
        session: session of the graph.
        network: network that the graph was built from.
    """
    shape = network.input_shape
    names = {name for value in session.get_inputs() for name in value.shape}
    if names.isdisjoint(("width", "height")):
        return shape.w, shape.h
    for size in range(STEP, min(shape.w, shape.h), STEP):
        try:
            network.with_input_size(size, size)
        except DarkconvError:
            continue
        return size, size
    return shape.w, shape.h
