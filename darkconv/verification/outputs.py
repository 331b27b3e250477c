"""Compare what an exported file gives with what its model gives in PyTorch."""

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
    ColumnTable,
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
"""The largest relative error of an output that is allowed, by the file's precision.

In float32 it is the tolerance of whole networks. In half precision up to 7e-3 was measured, in
8 bits up to 0.29; between two models whose heads have the same shape 0.47 and more. A detector in
8 bits is therefore measured by its detections too.
"""
JOINS = {"float32": joined, "float16": joined, "int8": pooled}
"""The function that joins the rows of several inputs, by the file's precision."""
PLAIN = ("sort", "default")  # kinds of non-maximum suppression that a graph computes


Run = Callable[[npt.NDArray[Any]], list[npt.NDArray[Any]]]
"""A function that runs a file's graph."""


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A model and a file that have run on the same input.

    Attributes:
        model: the model that the file was made from.
        file: the file to compare.
        layers: the values of the model's outputs, of its heads and of the layers that the heads
            read, by layer index, without a batch axis.
        planes: the input as the model took it, (C, H, W) or (inputs,).
        found: the file's outputs, without a batch axis; where NMS is in the graph, the boxes and
            scores that enter it.
    """

    model: Model
    file: "ExportedFile"
    layers: Mapping[int, Array]
    planes: Array
    found: Sequence[npt.NDArray[Any]]

    @classmethod
    def of_group(
        cls, model: Model, file: "ExportedFile", group: Sequence[Array], run: Run, device: str
    ) -> "Iterator[ComparedRun]":
        """Run both on a group of inputs and yield the pair of each input.

        Args:
            model: the model, which PyTorch runs.
            file: the file to compare.
            group: inputs (C, H, W) or (inputs,) that run together.
            run: runs the file's graph.
            device: the device that PyTorch runs on.

        Yields:
            The pair of each input, in order.
        """
        given, planes = zip(*(as_input(file, x) for x in group), strict=True)
        found = run_in_pieces(run, np.concatenate(given), file.fixed_batch)
        values = trace(model, np.stack(planes), device=device)
        network = model.network
        entering = {layer.sources[0] for layer in network.heads} - {NETWORK_INPUT}
        heads = {layer.index for layer in network.heads}
        layers = {index: values[index] for index in {*network.outputs, *heads, *entering}}
        del values  # the values of all other layers may be large
        for place, own in enumerate(planes):
            given_out = {index: value[place] for index, value in layers.items()}
            yield cls(model, file, given_out, own, [value[place] for value in found])

    @property
    def heads(self) -> list[Array]:
        """Return the values of the model's heads that predict boxes."""
        return [self.layers[head.index] for head in box_heads(self.model.network)]

    @property
    def missing(self) -> str:
        """Return how many values of the model's heads are NaN, in words, or "" where none is."""
        return nan_remark(np.concatenate([values.ravel() for values in self.heads]))

    @property
    def boxes(self) -> dict[str, npt.NDArray[Any]]:
        """Return the boxes and scores that the file gives, by the parts of layouts."""
        if self.file.head == NMS:
            return dict(zip((CORNERS, SCORES), self.found, strict=True))
        return self.file.taken_apart(self.found)

    @property
    def relative(self) -> Array:
        """Return the file's boxes as corners relative to the input, (boxes, 4)."""
        return as_corners(relative_boxes(self.file, self.boxes))

    @property
    def expected(self) -> dict[str, Array]:
        """Return the right boxes, as centres relative to the input, and the right scores."""
        found = decode(self.model.network, self.heads, threshold=-np.inf)
        if self.file.head == NMS:
            threshold, _ = graph_thresholds(self.file)
            scores = kept_scores(self.model.network, found, threshold)
        else:
            scores = tested_scores(self.model.network, found)
        return {CENTRES: found.boxes, SCORES: scores, CONFIDENCES: found.scores}


def tested_scores(network: Network, found: Candidates) -> Array:
    """Return the scores that a threshold is compared with, (boxes, classes): see `box_outputs`.

    Args:
        network: the network that gave the boxes.
        found: its decoded boxes.
    """
    if CONFIDENCES in box_outputs(network):
        return np.minimum(found.objectness[:, None], found.scores)
    return found.scores


def kept_scores(network: Network, found: Candidates, threshold: float) -> Array:
    """Return the scores that enter NMS, 0 where a test of objectness removes the box.

    Args:
        network: the network that gave the boxes.
        found: its decoded boxes.
        threshold: objectness that a box has to exceed, 0..1, in heads that test it.
    """
    heads = box_heads(network)
    counts, tests = map(count_boxes, heads), [tests_objectness(network, head) for head in heads]
    is_tested = np.repeat(tests, list(counts))
    is_lost = is_tested & (found.objectness <= np.float32(threshold))
    return np.where(is_lost[:, None], np.float32(0), found.scores)


def compare_outputs(
    model: Model, file: "ExportedFile", inputs: Inputs, *, device: str = "cpu"
) -> FileVerification:
    """Run a file and the model that it was exported from on the same inputs, and compare them.

    Args:
        model: the model that the file was made from.
        file: the file that `read_onnx`, `read_keras_file` or `read_litert` opened.
        inputs: the inputs of `several_inputs`.
        device: the device that PyTorch runs on.

    Returns:
        The rows of all outputs, of NMS where it is in the graph, and of the columns in 8 bits.

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
        pair
        for group in inputs.groups()
        for pair in ComparedRun.of_group(model, file, group, run, device)
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


def compare_in_8_bits(kind: str, pairs: Sequence[ComparedRun]) -> tuple[list[Agreement], list[str]]:
    """Return rows and notes on the columns and the boxes of a file in 8 bits.

    Comparing value by value says too little there.

    Args:
        kind: the kind of the outputs: see `kind_of`.
        pairs: the pairs of all inputs.
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
    """Return a function that runs a file's graph up to its NMS, at the file's own threshold.

    Args:
        file: a file with NMS in the graph.
        probe: the probe of that file.
    """
    threshold, _ = graph_thresholds(file)
    return lambda x: probe.before(x, threshold)


def suppression_probe(file: "ExportedFile") -> "SuppressionProbe | None":
    """Return a probe of the NMS in a file; None where TensorRT alone can run it.

    Args:
        file: a file with NMS in the graph.
    """
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
    """Return the kind of a file's outputs, which is a key of `COMPARISONS`.

    Args:
        model: the model that the file was made from.
        file: the file to compare.
    """
    has_boxes = model.network.finds_boxes
    if file.head == "logits":
        return "logits"
    if not has_boxes:
        return "values"
    return file.head


def compare_raw(pair: ComparedRun) -> list[Agreement]:
    """Return the relative error of every layer that the network gives out.

    Args:
        pair: a model and a file that gives its raw outputs.
    """
    return compare_arrays(pair, [pair.layers[i] for i in pair.model.network.outputs])


def compare_logits(pair: ComparedRun) -> list[Agreement]:
    """Return the relative error of what enters the heads.

    Args:
        pair: a model and a file that gives logits.
    """
    entering = [layer.sources[0] for layer in pair.model.network.heads]
    return compare_arrays(pair, [pair.layers[i] if i >= 0 else pair.planes for i in entering])


def compare_arrays(pair: ComparedRun, expected: list[Array]) -> list[Agreement]:
    """Return the relative error of every output.

    Args:
        pair: a model and a file that have run on the same input.
        expected: the right values of each output, in the file's order.

    Raises:
        DarkconvError: the file has other outputs.
    """
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


def compare_boxes(pair: ComparedRun, where: str = "") -> list[Agreement]:
    """Return the relative error of all boxes, and of all scores.

    Scores in 8 bits are not compared one by one: see `compare_finds`.

    Args:
        pair: a model and a file that gives boxes.
        where: text added to the name of each row.
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
    """Return the error of the best score of each box, and the number of wrong classes.

    A class is wrong if its own score is below the best one by more than the allowed error of
    scores. So where two classes have nearly the same score, either is right.

    Args:
        found: the file's parts, with the best score and its class for each box.
        scores: the right scores, (boxes, classes).
        allowed: the largest error of scores that counts as the same.
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


def compare_before_suppression(pair: ComparedRun) -> list[Agreement]:
    """Return the relative error of the boxes and scores that enter NMS.

    Args:
        pair: a model and a file with NMS in the graph.
    """
    return compare_boxes(pair, BEFORE)


BEFORE = " before suppression"


def suppression_note(model: Model) -> str:
    """Return a note on the kind of NMS that was compared, and on the model's own if it differs.

    Args:
        model: the model that the file was made from.
    """
    kind, _ = nms_of(model.network)
    text = "the file suppresses by plain NMS for each class (sort), and was compared with that"
    if kind in PLAIN:
        return text
    return f"{text}; the model's own kind is {kind}, so detect keeps other boxes of the model"


def find_in_raw(pair: ComparedRun) -> Candidates:
    """Decode the heads that a file gives.

    Args:
        pair: a model and a file that gives its raw outputs.
    """
    network = pair.model.network
    by_layer = {
        index: value.reshape(pair.layers[index].shape)
        for index, value in zip(network.outputs, pair.found, strict=True)
    }
    heads = [by_layer[head.index] for head in box_heads(network)]
    found = decode(network, heads, threshold=-np.inf)
    return candidates(found.boxes, tested_scores(network, found))


def find_in_boxes(pair: ComparedRun) -> Candidates:
    """Take the boxes and scores that a file gives.

    Args:
        pair: a model and a file that gives boxes.
    """
    return candidates(relative_boxes(pair.file, pair.boxes), scores_of(pair.file, pair.boxes))


def find_in_model(pair: ComparedRun) -> Candidates:
    """Return the boxes of the model, with the best score alone where the file gives no others.

    Args:
        pair: a model and a file that have run on the same input.
    """
    scores = pair.expected[SCORES]
    if pair.file.form and pair.file.form.gives_best:
        scores = np.where(scores == scores.max(axis=1, keepdims=True), scores, np.float32(0))
    return candidates(pair.expected[CENTRES], scores)


def candidates(boxes: Array, scores: Array) -> Candidates:
    """Return boxes with scores that a threshold is compared with directly: objectness is 1.

    Args:
        boxes: (boxes, 4), xywh relative to the input.
        scores: (boxes, classes), 0..1.
    """
    return Candidates(boxes, np.ones(len(boxes), np.float32), scores)


def output_columns(pair: ComparedRun, names: Sequence[str]) -> Iterator[ColumnTable]:
    """Yield the columns of what the network gives out.

    Args:
        pair: a model and a file that gives its raw outputs.
        names: class names.
    """
    network = pair.model.network
    for index, found in zip(network.outputs, pair.found, strict=True):
        layer = network.layers[index]
        yield from output_tables(layer, pair.layers[index], found, names, activated=True)


def logit_columns(pair: ComparedRun, names: Sequence[str]) -> Iterator[ColumnTable]:
    """Yield the columns of what enters the heads.

    Args:
        pair: a model and a file that gives logits.
        names: class names.
    """
    for layer, found in zip(pair.model.network.heads, pair.found, strict=True):
        source = layer.sources[0]
        expected = pair.layers[source] if source >= 0 else pair.planes
        yield from output_tables(layer, expected, found, names, activated=False)


def box_columns(pair: ComparedRun, names: Sequence[str]) -> Iterator[ColumnTable]:
    """Yield the columns of all boxes and their scores, or of the best score and its class.

    Args:
        pair: a model and a file that gives boxes.
        names: class names.
    """
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


TABLES: dict[str, Callable[[ComparedRun, Sequence[str]], Iterator[ColumnTable]]] = {
    "logits": logit_columns,
    "boxes": box_columns,
    NMS: box_columns,
}
"""The function that arranges outputs in 8 bits as columns, by their kind; else `output_columns`."""
COMPARISONS: dict[str, Callable[[ComparedRun], list[Agreement]]] = {
    "raw": compare_raw,
    "values": compare_raw,
    "logits": compare_logits,
    "boxes": compare_boxes,
    NMS: compare_before_suppression,
}
"""The function that compares outputs, by their kind."""
FINDS: dict[str, Callable[[ComparedRun], Candidates]] = {
    "raw": find_in_raw,
    "boxes": find_in_boxes,
    NMS: find_in_boxes,
}
"""The function that finds boxes in outputs, by their kind."""
