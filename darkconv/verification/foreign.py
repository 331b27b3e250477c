"""Compare an ONNX file of another tool with a model.

Nothing in such a file says what its outputs are, so they are matched by their shapes: with the
heads, before or after activation, in the orders of axes that tools write; and with boxes and
scores. Where several have the same shape, the nearest one is taken.
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
from darkconv.verification.columns import ColumnTable, comparable, joined_tables
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
"""The numpy type of each type of input that can take a picture."""


@dataclass(frozen=True)
class InputForm:
    """The form in which a file takes pictures.

    Attributes:
        name: name of the input.
        kind: numpy type of the input; uint8 takes levels 0..255, the others take 0..1.
        batch: number of pictures that the file takes at once; None for any number.
        has_channels_last: True for (N, H, W, C), False for (N, C, H, W).
    """

    name: str
    kind: Any
    batch: int | None
    has_channels_last: bool

    def given(self, planes: Array) -> npt.NDArray[Any]:
        """Return network inputs in the form that the file takes.

        Args:
            planes: float32 (N, C, H, W) in 0..1, or (N, inputs).

        Returns:
            The inputs; a single one is repeated to the file's fixed batch.
        """
        if self.kind is np.uint8:
            planes = np.rint(planes * 255).clip(0, 255)
        values = planes.transpose(0, 2, 3, 1) if self.has_channels_last else planes
        return np.repeat(values, self.batch or 1, axis=0).astype(self.kind)


def fitted_model(model: Model, file: "ForeignFile") -> Model:
    """Return the model with the input size that a file is fixed to.

    Args:
        model: the model to compare; it is returned unchanged where the file's size is free.
        file: the ONNX file of another tool.
    """
    plan, (value,) = input_plan(model.network, file), file.session.get_inputs()
    if not model.network.input_shape.is_map:
        return model
    size = value.shape[1:3] if plan.has_channels_last else value.shape[2:4]
    if not all(isinstance(length, int) for length in size):
        return model
    return model.with_input_size(size[1], size[0])


def input_plan(network: Network, file: "ForeignFile") -> InputForm:
    """Return the form in which a file takes a network's input.

    Args:
        network: the network of the model to compare.
        file: the ONNX file of another tool.

    Raises:
        DarkconvError: the file has several inputs, or one of another shape or type.
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
    return InputForm(value.name, KINDS[value.type], batch, axes[0] == 3)


def compare_foreign(
    model: Model, file: "ForeignFile", inputs: Inputs, *, device: str = "cpu"
) -> FileVerification:
    """Run a file of another tool and a model on the same inputs, and compare their outputs.

    A warning names each output that matches nothing, and each head that no output matches.

    Args:
        model: the model that `fitted_model` returned.
        file: the file that `darkconv.backends.onnx.read_any` opened.
        inputs: the inputs of `several_inputs`.
        device: the device that PyTorch runs on.

    Returns:
        One row for each matched output, and those of the columns where the file is in 8 bits.

    Raises:
        DarkconvError: the file takes another input, or none of its outputs matches anything.
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
    model: Model, file: "ForeignFile", plan: InputForm, group: Sequence[Array], device: str
) -> Iterator[tuple[dict[str, npt.NDArray[Any]], list[Like]]]:
    """Yield a file's outputs by name for each input of a group, and everything that they may be.

    Args:
        model: the model, which PyTorch runs.
        file: the file to compare.
        plan: the form in which the file takes pictures.
        group: inputs (C, H, W) that run together.
        device: the device that PyTorch runs on.

    Raises:
        DarkconvError: the model's outputs hold NaN.
    """
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
"""For each input the values of one output, and everything that they may be, in the same order."""


def nearest(each: Each, precision: str) -> int | None:
    """Return the index of the candidate that an output is nearest to; None if no shape matches.

    Args:
        each: the values of the output and the candidates, for each input.
        precision: "float32", "float16" or "int8".
    """
    values, known = each[0]
    fits = [place for place, one in enumerate(known) if one.values.shape == values.shape]
    return min(fits, key=lambda place: row_of("", each, place, precision).error, default=None)


def row_of(name: str, each: Each, place: int, precision: str) -> Agreement:
    """Return the row of an output that is compared with one of its candidates.

    Args:
        name: name of the output.
        each: the values of the output and the candidates, for each input.
        place: index of the candidate, from 0.
        precision: "float32", "float16" or "int8".
    """
    allowed = ALLOWED[precision]
    rows = [known[place].compared_with(name, values, allowed) for values, known in each]
    return JOINS[precision](rows)


def tables_of(each: Each, place: int) -> list[ColumnTable]:
    """Return the columns of an output over all inputs.

    Args:
        each: the values of the output and the candidates, for each input.
        place: index of the candidate that the output was matched with, from 0.
    """
    apart = [list(known[place].tables(values)) for values, known in each]
    return [comparable(table) for table in joined_tables(apart)]


def tell_missing(network: Network, file: "ForeignFile", sources: set[str]) -> None:
    """Warn of each output of the network that no output of the file matches.

    Args:
        network: the network of the model.
        file: the file that was compared.
        sources: labels of the layers that were matched, or `ALL_HEADS`.
    """
    if ALL_HEADS in sources:
        return
    for index in network.outputs:
        if network.layers[index].label not in sources:
            logger.warning("%s: no output is like %s", file.path, network.layers[index].label)
