"""Evaluation: the result of `darkconv.evaluate`."""

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
from darkconv.evaluation.figures import OF_BOXES, OF_CLASSES, OF_MEAN, Figures
from darkconv.files import PathLike


@dataclass(frozen=True)
class Unread:
    """A picture that could not be read.

    Attributes:
        picture: its file.
        reason: what is wrong with it.
    """

    picture: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation(Shown):
    """How well a model does on labelled pictures: what `dc.evaluate` returns.

    Attributes:
        model: name of the model.
        source: of the pictures.
        classes: the figures of each class that both the model and the labels have.
        mean: the means over the classes that have true boxes; of a classifier, over all pictures.
        pictures: all pictures, in the order of the data set.
        unread: those that could not be read; a detector has missed their boxes, a classifier is
            measured without them.
        problems: what of pictures and labels could not be used when the data set was opened, one
            line each; it takes no part.
        left_out: classes of the labels that the model does not have; their boxes do not count.
        seconds: what a picture took in the mean, by step: reading, network, decoding.
        runner: what ran the network, such as "PyTorch".

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
    classes: tuple[Figures, ...]
    mean: Figures
    pictures: tuple[Path, ...]
    unread: tuple[Unread, ...] = ()
    problems: tuple[str, ...] = ()
    left_out: tuple[UnknownClass, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    runner: str = ""

    def _view(self) -> View:
        """Return how it is shown."""
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
        """Write a page with tables, curves, confusions and pictures: one HTML file.

        Args:
            path: of the file.

        Raises:
            DarkconvError: the file cannot be written.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BoxEvaluation(Evaluation):
    """How well a detector finds what is labelled.

    Attributes:
        rule: by which boxes are compared: "voc", "darknet" or "continuous".
        at: score above which precision, recall and confusions are counted.
        found: the detections in each picture, of all classes of the model.
        comparison: of the detections with the labels.
    """

    rule: str
    at: float
    found: Sequence[Sequence[Detection]]
    comparison: Comparison

    @property
    def iou(self) -> float:
        """IoU from which a detection and a true box are the same object."""
        return self.comparison.rule.overlap

    def to_dict(self) -> dict[str, Any]:
        """See `Evaluation.to_dict`; the means stand at the top, too."""
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
        """See `Evaluation.report`."""
        from darkconv.evaluation.page import write_evaluation_report

        write_evaluation_report(path, self)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClassEvaluation(Evaluation):
    """How often a classifier is right.

    Attributes:
        names: of all classes.
        counts: what is taken for what.
    """

    names: tuple[str, ...]
    counts: Classification

    def to_dict(self) -> dict[str, Any]:
        """See `Evaluation.to_dict`; top-1 and top-5 stand at the top, too."""
        return {
            "classes": [{"name": one.name, **one.only(OF_CLASSES)} for one in self.classes],
            "mean": self.mean.only(("pictures", "top1", "top5")),
            **super().to_dict(),
            **self.counts.as_dict(),
            "names": list(self.names),
        }

    @checked
    def report(self, path: PathLike) -> None:
        """See `Evaluation.report`."""
        from darkconv.evaluation.classification_page import write_classification_report

        write_classification_report(path, self)
