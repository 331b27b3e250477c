"""Observing the values of a graph for calibration pictures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from darkconv.backends.onnx.running import make_session, told_failures
from darkconv.backends.ranges import Observed


def observe(
    proto: onnx.ModelProto,
    values: Sequence[str],
    inputs: Iterable[Mapping[str, npt.NDArray[Any]]],
) -> dict[str, Observed]:
    """Return the statistics of values of a graph, by name, after the graph has run on some inputs.

    Args:
        proto: float32 graph.
        values: names of the values to observe.
        inputs: inputs of the graph by name, for one picture each.

    Raises:
        DarkconvError: onnxruntime cannot run the graph.
    """
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    known = {value.name for value in proto.graph.output}
    given = {value.name for value in proto.graph.input}
    wanted = [name for name in values if name not in given]
    for name in wanted:
        if name not in known:
            shown.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = make_session(shown.SerializeToString()) if wanted else None
    found = {name: Observed() for name in values}
    for one in inputs:
        with told_failures(None):
            results = session.run(wanted, dict(one)) if session else []
        for name, array in zip(wanted, results, strict=True):
            found[name].add(array)
        for name in found.keys() - set(wanted):
            found[name].add(np.asarray(one[name], np.float32))
    return found
