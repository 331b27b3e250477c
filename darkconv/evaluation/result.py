"""Hold the result of `darkconv.evaluate`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from darkconv.arguments import checked
from darkconv.core.views import Shown, View
from darkconv.dataset.classes import UnknownClass
from darkconv.detection import Detection
from darkconv.evaluation.classification import Classification
from darkconv.evaluation.comparison import Comparison
from darkconv.evaluation.figures import OF_BOXES, OF_CLASSES, OF_MEAN, ClassFigures
from darkconv.files import PathLike


@dataclass(frozen=True)
class Unread:
    """A picture that could not be read.

    Attributes:
        picture: path of the file.
        reason: the error that reading gave.
    """

    picture: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation(Shown):
    """The figures of a model on labelled pictures: the result of `dc.evaluate`.

    Attributes:
        model: name of the model.
        source: name of the source of the pictures.
        classes: the figures of each class that both the model and the labels have.
        mean: the means over the classes that have ground truth; for a classifier, over all
            pictures.
        pictures: all pictures, in the order of the data set.
        unread: pictures that could not be read; a detector has missed their boxes, a classifier
            is measured without them.
        problems: pictures and labels that could not be used when the data set was opened, one
            line each; they are not measured.
        left_out: classes of the labels that the model does not have; their boxes do not count.
        seconds: mean time of a picture by step: reading, network, decoding.
        runner: name of the program that ran the network, such as "PyTorch".

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> result = dc.evaluate(model, "digits10.data")
        >>> result.classes[0].name, result.mean.ap > 0.99
        ('zero', True)
        >>> result.left_out, result.unread
        ((), ())
        >>> result.to_dict()["mean"]["ap"] == result.mean.ap
        True
    """

    model: str
    source: str
    classes: tuple[ClassFigures, ...]
    mean: ClassFigures
    pictures: tuple[Path, ...]
    unread: tuple[Unread, ...] = ()
    problems: tuple[str, ...] = ()
    left_out: tuple[UnknownClass, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    runner: str = ""

    def _view(self) -> View:
        """Return the functions that show the result as text and in notebooks."""
        from darkconv.evaluation import views

        return View(views.as_text, views.as_html)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures for JSON: `{"classes": [...], "mean": {"ap": ...}, ...}`.

        Returns:
            Fractions of 0..1, None where not measured, seconds; docs/json.md has every key.
        """
        return {
            "pictures": len(self.pictures),
            "unread": [asdict(one) for one in self.unread],
            "problems": list(self.problems),
            "left_out": [asdict(one) for one in self.left_out],
            "seconds": dict(self.seconds),
        }

    @checked
    def report(self, path: PathLike) -> None:
        """Write a page with tables, curves, confusion matrix and pictures: one HTML file.

        Args:
            path: the file to write.

        Raises:
            DarkconvError: the file cannot be written.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BoxEvaluation(Evaluation):
    """The figures of a detector on labelled pictures.

    Attributes:
        rule: the rule by which boxes are compared: "voc", "darknet" or "continuous".
        at: score above which detections count for precision, recall and the confusion matrix.
        found: the detections in each picture, of all classes of the model.
        comparison: the detections and the ground truth of the classes that are measured.
    """

    rule: str
    at: float
    found: Sequence[Sequence[Detection]]
    comparison: Comparison

    @property
    def iou(self) -> float:
        """Return the IoU from which a detection and a ground-truth box are the same object."""
        return self.comparison.rule.overlap

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as `Evaluation.to_dict` does, with the means at the top, too."""
        means = self.mean.only(OF_MEAN)
        return {
            "classes": [{"name": one.name, **one.only(OF_BOXES)} for one in self.classes],
            "mean": means,
            **{key: value for key, value in means.items() if key != "boxes"},
            **super().to_dict(),
            "rule": self.rule,
            "iou": self.iou,
            "at": self.at,
            "confusion": self.comparison.confusion(self.at).as_dict(),
        }

    @checked
    def report(self, path: PathLike) -> None:
        """Write a page of the evaluation: see `Evaluation.report`."""
        from darkconv.evaluation.page import write_evaluation_report

        write_evaluation_report(path, self)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClassEvaluation(Evaluation):
    """The figures of a classifier on pictures with known classes.

    Attributes:
        names: names of all classes.
        counts: top-k accuracy and the confusion matrix.
    """

    names: tuple[str, ...]
    counts: Classification

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as `Evaluation.to_dict` does, with top-1 and top-5 at the top, too."""
        return {
            "classes": [{"name": one.name, **one.only(OF_CLASSES)} for one in self.classes],
            "mean": self.mean.only(("pictures", "top1", "top5")),
            **super().to_dict(),
            **self.counts.as_dict(),
            "names": list(self.names),
        }

    @checked
    def report(self, path: PathLike) -> None:
        """Write a page of the evaluation: see `Evaluation.report`."""
        from darkconv.evaluation.classification_page import write_classification_report

        write_classification_report(path, self)
