"""Measure the models of `darkconv demo` on the bundled pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from darkconv.assets import digits10_folder, digits10_pictures
from darkconv.core.model import Model
from darkconv.darknet.weights import weights_size
from darkconv.dataset import open_dataset
from darkconv.demo import KEPT
from darkconv.demo.page import Stage
from darkconv.detection import Detection, detect
from darkconv.evaluation.evaluate import evaluate
from darkconv.evaluation.latency import measure_latency
from darkconv.files.sizes import format_size
from darkconv.presentation.numerals import format_count, format_large, per_cent


@dataclass(frozen=True)
class DemoFigures:
    """The figures of a model in the closing table.

    Attributes:
        model: the model.
        precision: mean AP at IoU 0.5 over the kept classes, 0..1.
        milliseconds: median time of a forward pass on one picture, by backend.
    """

    model: Model
    precision: float
    milliseconds: dict[str, float]


def compared_scores(whole: Model, small: Model) -> list[tuple[object, object]]:
    """Return the detections of the kept classes by both models, paired in order.

    Args:
        whole: the model of ten digits.
        small: the model of the kept digits.

    Returns:
        Pairs of (name, score, box), or None where one model has fewer detections.
    """
    pairs: list[tuple[object, object]] = []
    for a, b in zip(detect_all(whole), detect_all(small), strict=True):
        kept = [(d.name, d.score, d.box) for d in a if d.name in KEPT]
        pairs += zip_longest(kept, [(d.name, d.score, d.box) for d in b])
    return pairs


def detect_all(model: Model, threshold: float = 0.25) -> list[list[Detection]]:
    """Find the digits in every test picture.

    Args:
        model: the model.
        threshold: score that detections must exceed, 0..1.

    Returns:
        The detections in each picture.
    """
    return [detect(model, path, threshold) for path in digits10_pictures()]


def measure(models: dict[str, Model]) -> tuple[dict[str, DemoFigures], str]:
    """Measure AP over the kept classes, and the latency of models in turns.

    Args:
        models: the models, by name.

    Returns:
        The figures of each model, and how latency was measured.
    """
    times = {backend: measure_latency(models, backend=backend) for backend in ("torch", "onnx")}
    found = {
        name: DemoFigures(
            model, mean_precision(model), {b: time.milliseconds[name] for b, time in times.items()}
        )
        for name, model in models.items()
    }
    return found, "; ".join(time.conditions for time in times.values())


def mean_precision(model: Model) -> float:
    """Measure the mean AP of the kept classes on the test pictures, as `eval` does.

    Args:
        model: the model.

    Returns:
        The mean AP, 0..1.
    """
    dataset = open_dataset(digits10_folder() / "digits10.data").keep_classes(KEPT)
    return evaluate(model, dataset, coco=False).mean.ap or 0.0


def closing_rows(measured: Mapping[str, DemoFigures]) -> list[tuple[str, ...]]:
    """Return the cells of the closing table: a row for each figure, its name first.

    Args:
        measured: the figures of each model, by name.
    """
    lines: list[tuple[str, Callable[[DemoFigures], object]]] = [
        ("classes", lambda m: len(m.model.names)),
        ("parameters", lambda m: format_count(m.model.network.parameters)),
        ("MACs", lambda m: format_large(m.model.network.macs)),
        ("weights", lambda m: format_size(weights_size(m.model))),
        ("ms a picture, PyTorch", lambda m: f"{m.milliseconds['torch']:.2f}"),
        ("ms a picture, ONNX", lambda m: f"{m.milliseconds['onnx']:.2f}"),
        (f"AP@0.5 of the {len(KEPT)} digits", lambda m: f"{per_cent(m.precision)} %"),
    ]
    return [(name, *(str(show(one)) for one in measured.values())) for name, show in lines]


def stages(measured: Mapping[str, DemoFigures]) -> list[Stage]:
    """Return the figures of the models for the page.

    Args:
        measured: the figures of each model, by name.
    """
    return [
        Stage(
            name,
            one.model,
            weights_size(one.model),
            one.milliseconds["torch"],
            one.milliseconds["onnx"],
            one.precision,
        )
        for name, one in measured.items()
    ]
