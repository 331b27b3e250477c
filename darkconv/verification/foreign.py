"""Comparing an ONNX file of another tool with a model.

Nothing says what such a file gives, so its outputs are matched by their shapes: with the heads,
activated or not, in the orders of axes that tools write them in; and with boxes and scores. Where
several are of the same shape, the nearest is meant.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.backends import trace
from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.errors import DarkconvError, Where
from darkconv.verification.agreement import (
    Agreement,
    nan_remark,
    told_of_zeros,
)
from darkconv.verification.column_checks import check_columns, still_note
from darkconv.verification.columns import Table, comparable, joined_tables
from darkconv.verification.inputs import Inputs
from darkconv.verification.likes import ALL_HEADS, Like, likes
from darkconv.verification.outputs import ALLOWED, JOINS
from darkconv.verification.results import FileVerification

if TYPE_CHECKING:
    from darkconv.backends.onnx import ForeignFile

logger = logging.getLogger("darkconv")

KINDS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
"""Types of inputs that a picture can be given as."""


@dataclass(frozen=True)
class Plan:
    """How a file takes a picture.

    Attributes:
        name: of the input.
        kind: of its numbers; of integers these are levels, of others 0..1.
        batch: pictures that it takes at once; None for any number.
        has_channels_last: (N, H, W, C) rather than (N, C, H, W).
    """

    name: str
    kind: Any
    batch: int | None
    has_channels_last: bool

    def given(self, planes: Array) -> npt.NDArray[Any]:
        """Network inputs (N, ...) as the file takes them; of one, as many as it has to have."""
        if self.kind is np.uint8:
            planes = np.rint(planes * 255).clip(0, 255)
        values = planes.transpose(0, 2, 3, 1) if self.has_channels_last else planes
        return np.repeat(values, self.batch or 1, axis=0).astype(self.kind)


def fitted_model(model: Model, file: "ForeignFile") -> Model:
    """The model for pictures of the size that a file is fixed to.

    Raises:
        DarkconvError: the file takes no such input.
    """
    plan, (value,) = input_plan(model.network, file), file.session.get_inputs()
    if not model.network.input_shape.is_map:
        return model
    size = value.shape[1:3] if plan.has_channels_last else value.shape[2:4]
    if not all(isinstance(length, int) for length in size):
        return model
    return model.with_input_size(size[1], size[0])


def input_plan(network: Network, file: "ForeignFile") -> Plan:
    """How a file takes a network's input.

    Raises:
        DarkconvError: it does not.
    """
    shape, inputs = network.input_shape, file.session.get_inputs()
    value, channels = inputs[0], shape.c if shape.is_map else shape.size
    rank = 4 if shape.is_map else 2
    axes = [axis for axis in (1, rank - 1) if value.shape[axis : axis + 1] == [channels]]
    if len(inputs) != 1 or len(value.shape) != rank or value.type not in KINDS or not axes:
        wanted = f"(N, {channels}, height, width)" if shape.is_map else f"(N, {channels})"
        raise DarkconvError(
            "input",
            where=Where(file=file.path),
            expected=f"one of shape {wanted}",
            found=", ".join(f"{v.name} {v.shape} {v.type}" for v in inputs),
        )
    batch = value.shape[0] if isinstance(value.shape[0], int) else None
    return Plan(value.name, KINDS[value.type], batch, axes[0] == 3)


def compare_foreign(
    model: Model, file: "ForeignFile", inputs: Inputs, *, device: str = "cpu"
) -> FileVerification:
    """Run a file of another tool and a model on the same inputs.

    Outputs and heads that nothing is like are told as warnings.

    Args:
        model: of `fitted_model`.
        file: of `darkconv.backends.onnx.read_any`.
        inputs: see `several_inputs`.
        device: where PyTorch runs.

    Raises:
        DarkconvError: the file takes another input, or none of its outputs is like anything.
    """
    plan = input_plan(model.network, file)
    groups = inputs.groups() if plan.batch is None else ([x] for x in inputs.values)
    runs = [run for group in groups for run in run_both(model, file, plan, group, device)]
    rows: list[Agreement] = []
    sources, tables = set(), []
    for name in file.outputs:
        each = [(np.squeeze(values[name]), known) for values, known in runs]
        place = nearest(each, file.precision)
        if place is None:
            shape = runs[0][0][name].shape
            logger.warning("%s: output %s %s is like nothing", file.path, name, shape)
            continue
        rows.append(row_of(name, each, place, file.precision))
        sources |= {each[0][1][place].source}
        tables += tables_of(each, place) if file.precision == "int8" else []
    if not rows:
        raise DarkconvError(
            "no output has the shape of a head, or of boxes and scores",
            where=Where(file=file.path),
            expected=", ".join(sorted({str(one.values.shape) for one in runs[0][1]})),
            found=", ".join(f"{name} {shape}" for name, shape in file.outputs.items()),
        )
    tell_missing(model.network, file, sources)
    rows = told_of_zeros(rows) + check_columns(tables)
    notes = tuple(still_note(tables))
    return FileVerification(rows, inputs.words, notes, network=model.network, file=file.path)


def run_both(
    model: Model, file: "ForeignFile", plan: Plan, group: Sequence[Array], device: str
) -> Iterator[tuple[dict[str, npt.NDArray[Any]], list[Like]]]:
    """Yield a file's outputs by name for each input of a group, and all that they may be."""
    x = np.stack(group)
    if plan.kind is np.uint8:
        x = np.rint(x * 255).clip(0, 255).astype(np.float32) / np.float32(255)
    found = file.run({plan.name: plan.given(x)})
    values = trace(model, x, device=device)
    for place, own in enumerate(x):
        layers = [value[place] for value in values]
        every = np.concatenate([layers[i].ravel() for i in model.network.outputs])
        if missing := nan_remark(every):
            raise DarkconvError(f"the model's outputs agree with nothing: {missing}")
        outputs = {name: value[place : place + 1] for name, value in found.items()}
        yield outputs, list(likes(model, layers, own))


Each = Sequence[tuple[npt.NDArray[Any], list[Like]]]
"""For every input an output's values, and all that they may be, in the same order."""


def nearest(each: Each, precision: str) -> int | None:
    """Return the place of what an output is most like; None if it is like nothing."""
    values, known = each[0]
    fits = [place for place, one in enumerate(known) if one.values.shape == values.shape]
    return min(fits, key=lambda place: row_of("", each, place, precision).error, default=None)


def row_of(name: str, each: Each, place: int, precision: str) -> Agreement:
    """Return the row of an output, compared with one of what it may be.

    Args:
        name: of the output.
        each: for every input.
        place: of what it is compared with.
        precision: of the file.
    """
    allowed = ALLOWED[precision]
    rows = [known[place].compared_with(name, values, allowed) for values, known in each]
    return JOINS[precision](rows)


def tables_of(each: Each, place: int) -> list[Table]:
    """Return the columns of an output over all inputs."""
    apart = [list(known[place].tables(values)) for values, known in each]
    return [comparable(table) for table in joined_tables(apart)]


def tell_missing(network: Network, file: "ForeignFile", sources: set[str]) -> None:
    """Warn of heads that no output is like."""
    if ALL_HEADS in sources:
        return
    for index in network.outputs:
        if network.layers[index].label not in sources:
            logger.warning("%s: no output is like %s", file.path, network.layers[index].label)
