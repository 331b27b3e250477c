"""Check an import: compare a forward pass of the model with the file itself.

An ONNX file is run. Other files are no programs: for them, layers of the model's forward pass are
computed a second time, from the file's own arrays in the file's own layout, with the file's
epsilon.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from darkconv.backends import trace
from darkconv.core.model import Array, Model
from darkconv.core.network import NETWORK_INPUT, Layer
from darkconv.errors import DarkconvError
from darkconv.files import PathLike
from darkconv.imports.differences import epsilon_of
from darkconv.imports.fit import LayerPairing
from darkconv.imports.found import INNER, RATIOS, Checkpoint, LayerArray, Unit
from darkconv.imports.ratios import Doubles, program_factors
from darkconv.layers.conv import Convolutional
from darkconv.layers.merge import Shortcut
from darkconv.libraries import is_installed

POSITIONS = 4
"""The number of places of a layer's map that are computed a second time."""
SIZES = (64, 96, 128, 192, 320)
"""The widths and heights in pixels that are tried, small ones first, until one fits the layers."""
ALLOWED = 1e-3
"""The largest error of a layer that is accepted, as a fraction of its largest value; float32."""
ACTIVATIONS: Mapping[str, Callable[[Doubles], Doubles]] = {
    "linear": lambda x: x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "relu": lambda x: np.maximum(x, 0),
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
}


class Proof(NamedTuple):
    """The result of checking an import.

    Attributes:
        lines: what was computed, and its error.
        warnings: what does not agree, or could not be checked.
        notes: what was not computed, and why.
    """

    lines: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def joined(self, other: "Proof") -> "Proof":
        """Return the results of two checks together.

        Args:
            other: the result of the second check.
        """
        pairs = zip(self, other, strict=True)
        return Proof(*((*mine, *others) for mine, others in pairs))


def prove_onnx(model: Model, path: PathLike) -> Proof:
    """Run an ONNX file and the model made from it on the same input, and compare them.

    Args:
        model: the Darknet model that was imported from the file.
        path: the ONNX file, which onnxruntime runs.

    Returns:
        The relative error of every output, or the reason why the file was not run.
    """
    if not is_installed("onnxruntime"):
        return Proof(warnings=("the file was not run, for onnxruntime is not installed",))
    from darkconv.verification.verify import verify

    try:
        result = verify(model, path)
    except DarkconvError as error:
        return Proof(warnings=(f"the file could not be compared with the model: {error.told}",))
    lines = tuple(
        f"the file was run, {_once(row.name)}: relative error {row.error:.1e} in "
        f"{row.compared} values"
        for row in result.rows
    )
    if result.ok:
        return Proof(lines)
    doubt = (
        "the file does not compute what the model computes: the cfg says something else, or the "
        "file was exported in training mode"
    )
    return Proof(lines, (doubt,))


def _once(name: str) -> str:
    """Return `a` for `a: a`, the name of an output that is called like its layer."""
    first, _, second = name.partition(": ")
    return first if first == second else name


def prove_layers(
    model: Model, checkpoint: Checkpoint, fit: LayerPairing, epsilon: float | None
) -> Proof:
    """Compute layers of the model's forward pass a second time, from the file's own arrays.

    Args:
        model: the Darknet model that was imported from the file.
        checkpoint: the file, which has to be open still.
        fit: the file's layers by layer index.
        epsilon: the epsilon of the file's batch norms; None takes the file's own, or else
            Darknet's.

    Returns:
        The largest error as a fraction of the layer's largest value, or the reason why nothing was
        computed.
    """
    model = _small(model)
    stream = np.random.default_rng(0)
    x = stream.random(tuple(model.network.input_shape), np.float32)
    try:
        outputs = trace(model, x)
    except DarkconvError as error:
        return Proof(warnings=(f"no forward pass was computed: {error.told}",))
    worst, count, values = 0.0, 0, 0
    for layer, unit in _checkable(model, fit):
        inputs = [x if source == NETWORK_INPUT else outputs[source] for source in layer.sources]
        with np.errstate(all="ignore"):
            if RATIOS in unit.parts:
                factors = program_factors(checkpoint.file, unit)
                found, expected = _sums(layer, factors, inputs, outputs[layer.index])
            else:
                own = _Own(checkpoint.file, unit, model, epsilon)
                found, expected = _samples(layer, own, inputs[0], outputs[layer.index])
            scale = float(np.abs(expected).max()) or 1.0
            worst = float(np.maximum(worst, np.abs(found - expected).max() / scale))
        count, values = count + 1, values + expected.size
    if not count:
        return Proof(warnings=("no layer is of a kind that is computed once more",))
    line = (
        f"a forward pass of the model, {count} layers computed once more from the file's own "
        f"arrays: relative error {worst:.1e} in {values} values"
    )
    if worst <= ALLOWED:
        return Proof((line,))
    return Proof((line,), ("layers of the file give other values than the model's",))


def _small(model: Model) -> Model:
    """Return the model for small pictures, if its layers allow that."""
    shape = model.network.input_shape
    if not shape.is_map or shape.h * shape.w <= SIZES[0] ** 2:
        return model
    for size in SIZES:
        try:
            return model.with_input_size(size, size)
        except DarkconvError:
            continue
    return model


def _checkable(model: Model, fit: LayerPairing) -> Iterator[tuple[Layer, Unit]]:
    for layer in model.network.layers:
        spec = layer.spec
        if isinstance(spec, Shortcut) and layer.slots and spec.activation in ACTIVATIONS:
            if RATIOS in fit.units[layer.index].parts:
                yield layer, fit.units[layer.index]
            continue
        if not isinstance(spec, Convolutional) or not layer.slots or layer.index not in fit.units:
            continue
        is_plain = not (spec.xnor or spec.binary or spec.antialiasing or spec.assisted_excitation)
        divides = layer.in_shapes[0].c % spec.group_count == 0
        moves = spec.size > 1 or max(spec.strides) == 1
        if is_plain and divides and moves and spec.activation in ACTIVATIONS:
            yield layer, fit.units[layer.index]


class _Own(NamedTuple):
    """The arrays of a layer in the file's own layout."""

    file: str
    unit: Unit
    model: Model
    epsilon: float | None

    def read(self, name: str, otherwise: float) -> Doubles:
        """Return an array of one axis, or a constant if the file has no such array."""
        part: LayerArray | None = self.unit.parts.get(name)
        if part is None:
            return np.array(otherwise)
        return part.found.values(self.file).astype(np.float64).ravel()

    def normalized(self, values: Doubles) -> Doubles:
        """Apply what follows the products: biases, or batch norm with its epsilon."""
        if not self.unit.has_norm:
            return values + self.read("biases", 0)
        rules = self.model.dialect
        variance, epsilon = self.read("rolling_variance", 1), self.epsilon
        epsilon = self.unit.epsilon if epsilon is None else epsilon
        beyond = 0 if epsilon is None else epsilon - epsilon_of(rules)
        root = np.sqrt(variance + beyond + rules.variance_epsilon) + rules.deviation_epsilon
        centred = values + self.read(INNER, 0) - self.read("rolling_mean", 0)
        return centred / root * self.read("scales", 1) + self.read("biases", 0)

    def products(self, windows: Doubles, groups: int) -> Doubles:
        """Return the products of the kernel with windows (count, channels, rows, columns)."""
        part = self.unit.parts["weights"]
        kernel = part.found.values(self.file)
        if kernel.ndim != 4:
            flat: Doubles = windows.reshape(len(windows), -1) @ kernel.reshape(len(kernel), -1).T
            return flat
        axes = [part.order.index(i) if part.order else i for i in range(4)]
        filters = np.transpose(kernel, [axes.index(i) for i in range(4)]).astype(np.float64)
        share = windows.shape[1] // groups
        apart = windows.reshape(len(windows), groups, share, *windows.shape[2:])
        own = filters.reshape(groups, -1, share, *filters.shape[2:])
        made: Doubles = np.einsum("pgihw,goihw->pgo", apart, own, optimize=True)
        return made.reshape(len(windows), -1)


def _sums(
    layer: Layer, factors: Doubles, inputs: Sequence[Array], output: Array
) -> tuple[Doubles, Doubles]:
    """Return a weighted [shortcut], computed from the file's numbers, and as the model gives it."""
    spec = layer.spec
    assert isinstance(spec, Shortcut)
    total = inputs[0] * factors[0]
    for source, factor in zip(inputs[1:], factors[1:], strict=True):
        common = min(len(total), len(source))
        total[:common] += source[:common] * factor
    return ACTIVATIONS[spec.activation](total), output.astype(np.float64)


def _samples(layer: Layer, own: _Own, before: Array, output: Array) -> tuple[Doubles, Doubles]:
    """Return a layer at some places, computed from the file's arrays, and as the model gives it."""
    spec = layer.spec
    assert isinstance(spec, Convolutional)
    gap, border = spec.tap_distance, spec.border * spec.tap_distance
    wide = np.pad(before.astype(np.float64), ((0, 0), (border, border), (border, border)))
    _, height, width = output.shape
    places = np.linspace(0, height * width - 1, POSITIONS).astype(int)
    reach = (spec.size - 1) * gap + 1
    rows, columns = np.divmod(places, width)
    corners = zip(rows * spec.strides[0], columns * spec.strides[1], strict=True)
    windows = np.array(
        [wide[:, top : top + reach : gap, left : left + reach : gap] for top, left in corners]
    )
    values = own.normalized(own.products(windows, spec.group_count))
    return ACTIVATIONS[spec.activation](values), output[:, rows, columns].T.astype(np.float64)
