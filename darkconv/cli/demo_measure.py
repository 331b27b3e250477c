"""What `darkconv demo` measures of the models that it makes, on the bundled pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from darkconv.cli.table import format_table
from darkconv.core.model import Model
from darkconv.darknet.weights import weights_size
from darkconv.files.sizes import format_size
from darkconv.presentation.numerals import format_count, format_large, per_cent

if TYPE_CHECKING:
    from darkconv.detection import Detection

KEPT = ("two", "four", "seven", "nine")
EVALUATION_THRESHOLD = 0.005  # score from which a detection counts for AP


@dataclass(frozen=True)
class Measured:
    """What is told of a model in the closing table.

    Attributes:
        model: the model.
        precision: mean AP@0.5 over the kept classes.
        milliseconds: median of a picture's forward pass, by backend.
    """

    model: Model
    precision: float
    milliseconds: dict[str, float]


def compared_scores(whole: Model, small: Model) -> list[tuple[object, object]]:
    """Detections of the kept classes by both models, paired in order."""
    pairs: list[tuple[object, object]] = []
    for a, b in zip(detect_all(whole), detect_all(small), strict=True):
        kept = [(d.name, d.score, d.box) for d in a if d.name in KEPT]
        pairs += zip_longest(kept, [(d.name, d.score, d.box) for d in b])
    return pairs


def detect_all(model: Model, threshold: float = 0.25) -> "list[list[Detection]]":
    """Detections in every test picture."""
    from darkconv.assets import digits10_pictures
    from darkconv.detection import detect

    return [detect(model, path, threshold) for path in digits10_pictures()]


def measure(models: dict[str, Model]) -> tuple[dict[str, Measured], str]:
    """AP over the kept classes, and latency, of models side by side; how it was measured."""
    from darkconv.evaluation.latency import measure_latency

    times = {backend: measure_latency(models, backend=backend) for backend in ("torch", "onnx")}
    found = {
        name: Measured(
            model, mean_precision(model), {b: time.milliseconds[name] for b, time in times.items()}
        )
        for name, model in models.items()
    }
    return found, "; ".join(time.conditions for time in times.values())


def mean_precision(model: Model) -> float:
    """Mean all-point AP@0.5 of the kept classes on the test pictures."""
    from darkconv.evaluation.average_precision import average_precision

    found = detect_all(model, EVALUATION_THRESHOLD)
    result = average_precision(found, true_boxes(model.names), num_classes=len(model.names))
    kept = [result.per_class[model.names.index(name)] for name in KEPT]
    return float(sum(kept) / len(kept))


def true_boxes(names: Sequence[str]) -> list[Any]:
    """Per picture (k, 5): class among `names`, x0, y0, x1, y1 in pixels."""
    import numpy as np

    from darkconv.assets import digits10_folder, digits10_pictures
    from darkconv.darknet.data import read_labels, read_names
    from darkconv.detection.picture import read_picture
    from darkconv.evaluation.average_precision import pixel_boxes

    every = read_names(digits10_folder() / "digits10.names").names
    boxes = []
    for path in digits10_pictures():
        height, width, _ = read_picture(path).shape
        labels = read_labels(path.with_suffix(".txt"))
        rows = [(names.index(every[int(c)]), *box) for c, *box in labels if every[int(c)] in names]
        boxes.append(pixel_boxes(np.array(rows, float).reshape(-1, 5), (width, height)))
    return boxes


def closing_table(measured: dict[str, Measured]) -> str:
    """All models side by side."""
    lines: list[tuple[str, Any]] = [
        ("classes", lambda m: len(m.model.names)),
        ("parameters", lambda m: format_count(m.model.network.parameters)),
        ("MACs", lambda m: format_large(m.model.network.macs)),
        ("weights", lambda m: format_size(weights_size(m.model))),
        ("ms a picture, PyTorch", lambda m: f"{m.milliseconds['torch']:.2f}"),
        ("ms a picture, ONNX", lambda m: f"{m.milliseconds['onnx']:.2f}"),
        (f"AP@0.5 of the {len(KEPT)} digits", lambda m: f"{per_cent(m.precision)} %"),
    ]
    rows = [(name, *map(show, measured.values())) for name, show in lines]
    return format_table(("", *measured), rows, left=(0,))
