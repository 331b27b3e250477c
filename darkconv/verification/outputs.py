"""Comparing what an exported file gives with what its model gives in PyTorch."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.backends import spoke, trace
from darkconv.backends.layouts import (
    BEST,
    CENTRES,
    CONFIDENCES,
    CORNERS,
    LABEL,
    NMS_OPS,
    SCORES,
)
from darkconv.boxes import as_corners
from darkconv.core.model import Array, Model
from darkconv.core.network import NETWORK_INPUT, Network
from darkconv.detection.decode import Candidates, box_heads, decode, input_size
from darkconv.detection.detect import nms_of
from darkconv.detection.engine import run_in_pieces
from darkconv.detection.exported import (
    as_input,
    graph_thresholds,
    relative_boxes,
    scores_of,
)
from darkconv.errors import DarkconvError, Where
from darkconv.layers.box_heads import box_outputs, count_boxes, tests_objectness
from darkconv.verification.agreement import (
    SCORE_FLOOR,
    Agreement,
    compare_scores,
    compare_values,
    joined,
    nan_remark,
    pooled,
    told_of_zeros,
)
from darkconv.verification.alike import compare_finds
from darkconv.verification.column_checks import check_columns, still_note
from darkconv.verification.columns import (
    Table,
    box_tables,
    comparable,
    joined_tables,
    label_tables,
    output_tables,
)
from darkconv.verification.inputs import Inputs
from darkconv.verification.results import FileVerification
from darkconv.verification.suppression import check_suppression, limited

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile
    from darkconv.backends.onnx import SuppressionProbe

ALLOWED = {"float32": 1e-4, "float16": 1e-2, "int8": 0.4}
"""The relative error of an output, by a file's precision.

In float32 it is that of whole networks. In half precision up to 7e-3 was measured, in 8 bits up to
0.29; between two models whose heads have the same shape 0.47 and more. What 8 bits leave of a
detector is therefore measured by its detections too.
"""
JOINS = {"float32": joined, "float16": joined, "int8": pooled}
"""How the rows of several inputs become one, by a file's precision."""
PLAIN = ("sort", "default")  # kinds of suppression that are the one that a graph has


Run = Callable[[npt.NDArray[Any]], list[npt.NDArray[Any]]]
"""What calls a file's graph."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A model and a file that have run on the same input.

    Attributes:
        model: what the file should be.
        file: that is compared.
        layers: what the model gives out and what enters its heads, by the index of the layer.
        planes: the input as the model took it.
        found: what the file gives, without a batch axis; of files with suppression in the graph
            boxes and scores before it.
    """

    model: Model
    file: "ExportedFile"
    layers: Mapping[int, Array]
    planes: Array
    found: Sequence[npt.NDArray[Any]]

    @classmethod
    def of_group(
        cls, model: Model, file: "ExportedFile", group: Sequence[Array], run: Run, device: str
    ) -> "Iterator[Pair]":
        """Run both on a group of inputs, the model in PyTorch on a device; yield each input's."""
        given, planes = zip(*(as_input(file, x) for x in group), strict=True)
        found = run_in_pieces(run, np.concatenate(given), file.fixed_batch)
        values = trace(model, np.stack(planes), device=device)
        network = model.network
        entering = {layer.sources[0] for layer in network.heads} - {NETWORK_INPUT}
        heads = {layer.index for layer in network.heads}
        layers = {index: values[index] for index in {*network.outputs, *heads, *entering}}
        del values  # what lies between may be large
        for place, own in enumerate(planes):
            given_out = {index: value[place] for index, value in layers.items()}
            yield cls(model, file, given_out, own, [value[place] for value in found])

    @property
    def heads(self) -> list[Array]:
        """What the model's heads give that predict boxes."""
        return [self.layers[head.index] for head in box_heads(self.model.network)]

    @property
    def missing(self) -> str:
        """Say how many values of the model's heads are NaN, which no box is read from."""
        return nan_remark(np.concatenate([values.ravel() for values in self.heads]))

    @property
    def boxes(self) -> dict[str, npt.NDArray[Any]]:
        """What is found of boxes, by the parts of layouts."""
        if self.file.head == NMS:
            return dict(zip((CORNERS, SCORES), self.found, strict=True))
        return self.file.taken_apart(self.found)

    @property
    def relative(self) -> Array:
        """The boxes that are found: corners relative to the input."""
        return as_corners(relative_boxes(self.file, self.boxes))

    @property
    def expected(self) -> dict[str, Array]:
        """What the boxes should be: centres relative to the input, and scores."""
        found = decode(self.model.network, self.heads, threshold=-np.inf)
        if self.file.head == NMS:
            threshold, _ = graph_thresholds(self.file)
            scores = kept_scores(self.model.network, found, threshold)
        else:
            scores = tested_scores(self.model.network, found)
        return {CENTRES: found.boxes, SCORES: scores, CONFIDENCES: found.scores}


def tested_scores(network: Network, found: Candidates) -> Array:
    """Return what a threshold is compared with: see `box_outputs`."""
    if CONFIDENCES in box_outputs(network):
        return np.minimum(found.objectness[:, None], found.scores)
    return found.scores


def kept_scores(network: Network, found: Candidates, threshold: float) -> Array:
    """Return the scores that enter suppression, behind a test of objectness where there is one."""
    heads = box_heads(network)
    counts, tests = map(count_boxes, heads), [tests_objectness(network, head) for head in heads]
    is_tested = np.repeat(tests, list(counts))
    is_lost = is_tested & (found.objectness <= np.float32(threshold))
    return np.where(is_lost[:, None], np.float32(0), found.scores)


def compare_outputs(
    model: Model, file: "ExportedFile", inputs: Inputs, *, device: str = "cpu"
) -> FileVerification:
    """Run a file and the model that it was exported from on the same inputs.

    Args:
        model: what the file should be.
        file: of `read_onnx`, `read_keras_file` or `read_litert`.
        inputs: see `several_inputs`.
        device: where PyTorch runs.

    Raises:
        DarkconvError: the file takes another input, or has other outputs.
    """
    expected, found = model.network.input_shape, file.network.input_shape
    if expected != found:
        raise DarkconvError(
            "input", where=Where(file=file.path), expected=f"{expected}, as the model", found=found
        )
    kind = kind_of(model, file)
    probe = suppression_probe(file) if kind == NMS else None
    run = before(file, probe) if probe else file.run
    pairs = [
        pair for group in inputs.groups() for pair in Pair.of_group(model, file, group, run, device)
    ]
    each = [COMPARISONS[kind](pair) for pair in pairs]
    join = JOINS[file.precision]
    rows = told_of_zeros([join(same) for same in zip(*each, strict=True)])
    notes = []
    if probe:
        given = (np.concatenate([as_input(file, x)[0] for x in one]) for one in inputs.groups())
        rows += check_suppression(file, probe, given)
        notes.append(suppression_note(model))
    elif kind == NMS:
        notes.append(PLUGIN_NOTE)
    if file.precision == "int8":
        more, told = compare_in_8_bits(kind, pairs)
        rows += more
        notes += told
    return FileVerification(rows, inputs.words, tuple(notes), network=model.network, file=file.path)


def compare_in_8_bits(kind: str, pairs: Sequence[Pair]) -> tuple[list[Agreement], list[str]]:
    """Return rows and notes for what 8 bits leave of a model, value by value being too little.

    Args:
        kind: of the outputs: see `kind_of`.
        pairs: of all inputs.
    """
    rows, notes = [], []
    has_numbers = all(np.isfinite(side).all() for pair in pairs for side in pair.layers.values())
    if has_numbers:
        make = TABLES.get(kind, output_columns)
        names = pairs[0].file.names
        each = [list(make(pair, names)) for pair in pairs]
        tables = [comparable(table) for table in joined_tables(each)]
        rows += check_columns(tables)
        notes += still_note(tables)
    else:
        notes.append("channels were not compared: the model gives NaN or infinity")
    if kind in FINDS:
        more, note = compare_finds([(find_in_model(pair), FINDS[kind](pair)) for pair in pairs])
        rows += more
        notes.append(note)
    return rows, notes


def before(file: "ExportedFile", probe: "SuppressionProbe") -> Run:
    """Return what runs a file up to its suppression, at its own threshold."""
    threshold, _ = graph_thresholds(file)
    return lambda x: probe.before(x, threshold)


def suppression_probe(file: "ExportedFile") -> "SuppressionProbe | None":
    """Return what looks into the suppression of a file; None where TensorRT alone runs it."""
    if file.nms_op != NMS_OPS[0]:
        return None
    probe: SuppressionProbe = spoke("onnx").SuppressionProbe(file)
    return probe


NMS = "nms"
PLUGIN_NOTE = (
    "the file suppresses by a plugin of TensorRT, which runs there alone: what enters it was "
    "compared, and what it leaves was not"
)


def kind_of(model: Model, file: "ExportedFile") -> str:
    """Return what a file's outputs are: a key of `COMPARISONS`."""
    has_boxes = model.network.finds_boxes
    if file.head == "logits":
        return "logits"
    if not has_boxes:
        return "values"
    return file.head


def compare_raw(pair: Pair) -> list[Agreement]:
    """Relative error of every layer that the network gives out."""
    return compare_arrays(pair, [pair.layers[i] for i in pair.model.network.outputs])


def compare_logits(pair: Pair) -> list[Agreement]:
    """Relative error of what enters the heads."""
    entering = [layer.sources[0] for layer in pair.model.network.heads]
    return compare_arrays(pair, [pair.layers[i] if i >= 0 else pair.planes for i in entering])


def compare_arrays(pair: Pair, expected: list[Array]) -> list[Agreement]:
    """Relative error of every output."""
    if [value.size for value in pair.found] != [value.size for value in expected]:
        raise DarkconvError(
            "outputs",
            where=Where(file=pair.file.path),
            expected=", ".join(str(value.shape) for value in expected),
            found=", ".join(str(value.shape) for value in pair.found),
        )
    allowed = ALLOWED[pair.file.precision]
    return [
        compare_values(name, a.reshape(b.shape), b, allowed)
        for name, a, b in zip(pair.file.run.outputs, pair.found, expected, strict=True)
    ]


def compare_boxes(pair: Pair, where: str = "") -> list[Agreement]:
    """Relative error of all boxes, and of all scores.

    Scores in 8 bits are not compared one by one: see `compare_finds`.
    """
    allowed = ALLOWED[pair.file.precision]
    if missing := pair.missing:
        return [
            Agreement(f"{name}{where}", math.inf, allowed, 0, missing) for name in ("boxes", SCORES)
        ]
    found, expected = pair.boxes, pair.expected
    sides = (limited(pair.relative), limited(as_corners(expected[CENTRES])))
    rows = [compare_values(f"boxes{where}", *sides, allowed)]
    if pair.file.precision == "int8":
        return rows
    for name in (SCORES, CONFIDENCES):
        if name in found:
            sides = (np.maximum(found[name], 0), np.maximum(expected[name], 0))
            rows.append(compare_scores(f"{name}{where}", *sides, allowed))
    if BEST in found:
        rows += compare_best(found, expected[SCORES], allowed)
    return rows


def compare_best(
    found: Mapping[str, npt.NDArray[Any]], scores: Array, allowed: float
) -> list[Agreement]:
    """Return the error of the best score of each box, and of its class.

    A class is wrong whose own score is below the best one by more than the scores may be off, so
    that either of two classes that are alike is right.
    """
    best, label = (found[part][:, 0] for part in (BEST, LABEL))
    right = scores.max(axis=1)
    row = compare_scores(SCORES, np.maximum(best, 0), np.maximum(right, 0), allowed)
    places = np.nan_to_num(label).clip(0, scores.shape[1] - 1).astype(np.intp)
    own = scores[np.arange(len(scores)), places]
    least = allowed * (SCORE_FLOOR + max(float(right.max(initial=0)), 0))
    is_wrong = (label != places) | (own < right - least)
    compared = int(np.count_nonzero(right > least))
    return [row, Agreement("classes", float(np.count_nonzero(is_wrong)), 0, compared, row.remark)]


def compare_before_suppression(pair: Pair) -> list[Agreement]:
    """Relative error of the boxes and scores that enter suppression."""
    return compare_boxes(pair, BEFORE)


BEFORE = " before suppression"


def suppression_note(model: Model) -> str:
    """Say what kind of suppression was compared, and whether it is the model's own."""
    kind, _ = nms_of(model.network)
    text = "the file suppresses by plain NMS for each class (sort), and was compared with that"
    if kind in PLAIN:
        return text
    return f"{text}; the model's own kind is {kind}, so detect keeps other boxes of the model"


def find_in_raw(pair: Pair) -> Candidates:
    """Decode the heads that a file gives."""
    network = pair.model.network
    by_layer = {
        index: value.reshape(pair.layers[index].shape)
        for index, value in zip(network.outputs, pair.found, strict=True)
    }
    heads = [by_layer[head.index] for head in box_heads(network)]
    found = decode(network, heads, threshold=-np.inf)
    return candidates(found.boxes, tested_scores(network, found))


def find_in_boxes(pair: Pair) -> Candidates:
    """Take boxes and scores as a file gives them."""
    return candidates(relative_boxes(pair.file, pair.boxes), scores_of(pair.file, pair.boxes))


def find_in_model(pair: Pair) -> Candidates:
    """Decode the model's heads."""
    scores = pair.expected[SCORES]
    if pair.file.form and pair.file.form.gives_best:
        scores = np.where(scores == scores.max(axis=1, keepdims=True), scores, np.float32(0))
    return candidates(pair.expected[CENTRES], scores)


def candidates(boxes: Array, scores: Array) -> Candidates:
    """Return boxes with what a threshold is compared with."""
    return Candidates(boxes, np.ones(len(boxes), np.float32), scores)


def output_columns(pair: Pair, names: Sequence[str]) -> Iterator[Table]:
    """Yield the columns of what the network gives out."""
    network = pair.model.network
    for index, found in zip(network.outputs, pair.found, strict=True):
        layer = network.layers[index]
        yield from output_tables(layer, pair.layers[index], found, names, activated=True)


def logit_columns(pair: Pair, names: Sequence[str]) -> Iterator[Table]:
    """Yield the columns of what enters the heads."""
    for layer, found in zip(pair.model.network.heads, pair.found, strict=True):
        source = layer.sources[0]
        expected = pair.layers[source] if source >= 0 else pair.planes
        yield from output_tables(layer, expected, found, names, activated=False)


def box_columns(pair: Pair, names: Sequence[str]) -> Iterator[Table]:
    """Yield the columns of all boxes and their scores, or of the best score and its class."""
    network = pair.model.network
    heads, size = box_heads(network), input_size(network)
    decoded = decode(network, pair.heads, threshold=-np.inf)
    expected = Candidates(decoded.boxes, decoded.objectness, pair.expected[SCORES])
    found = find_in_boxes(pair)
    if pair.file.form and pair.file.form.gives_best:
        yield from label_tables(heads, expected.scores, found.scores, names)
        expected, found = (
            replace(side, scores=side.scores.max(axis=1, keepdims=True))
            for side in (expected, found)
        )
        names = ()
    yield from box_tables(heads, expected, found, size, names)


TABLES: dict[str, Callable[[Pair, Sequence[str]], Iterator[Table]]] = {
    "logits": logit_columns,
    "boxes": box_columns,
    NMS: box_columns,
}
"""How outputs in 8 bits are taken apart, by their kind; others as the layers give them."""
COMPARISONS: dict[str, Callable[[Pair], list[Agreement]]] = {
    "raw": compare_raw,
    "values": compare_raw,
    "logits": compare_logits,
    "boxes": compare_boxes,
    NMS: compare_before_suppression,
}
"""By the kind of the file's outputs."""
FINDS: dict[str, Callable[[Pair], Candidates]] = {
    "raw": find_in_raw,
    "boxes": find_in_boxes,
    NMS: find_in_boxes,
}
"""How boxes are found in outputs, by their kind."""
