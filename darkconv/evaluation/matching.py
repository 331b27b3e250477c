"""Decide which detections are right, by the rules of the field.

All rules but COCO's take the detections of a class, over all pictures, by falling score (equal
scores in the order given). Each is compared with the ground-truth box of its class and picture that
it overlaps most; a second-best box is not tried. It is right if the IoU is large enough and no
detection with a higher score has taken that box.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.boxes import iou
from darkconv.detection import Detection

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Truths = npt.NDArray[np.floating]
"""Ground truth, (k, 5) or (k, 6): class, x0, y0, x1, y1 in pixels, and 1 for a difficult box."""


def spaced_recalls(points: int) -> Floats:
    """Return recalls from 0 to 1 as multiples of a rounded step: 3 of 10 are above 0.3.

    VOC's development kit counts up by 0.1, and COCO's tools take numpy's `linspace`.

    Args:
        points: number of recalls.
    """
    return np.linspace(0, 1, points)


def divided_recalls(points: int) -> Floats:
    """Return recalls from 0 to 1 as the C program computes them: point * 1.0 / (points - 1).

    Args:
        points: number of recalls.
    """
    return np.arange(points) / (points - 1)


@dataclass(frozen=True)
class Rule:
    """The rule by which a detection and a ground-truth box are compared, and the curve is sampled.

    Attributes:
        name: name of the rule, for tables.
        overlap: IoU from which the two can be the same object.
        exceeds: True if the IoU must exceed `overlap`, not just reach it.
        whole_pixels: True if a box includes its last row and column: width = x1 - x0 + 1.
        recalls: function from a number of points to the recalls at which precision is taken, in the
            program's own arithmetic: it decides whether a recall reaches a point or falls short of
            it by a rounding error.
    """

    name: str
    overlap: float = 0.5
    exceeds: bool = False
    whole_pixels: bool = False
    recalls: Callable[[int], Floats] = spaced_recalls

    def fits(self, overlap: float) -> bool:
        """Return True if an IoU is large enough for the same object.

        Args:
            overlap: the IoU, 0..1.
        """
        return overlap > self.overlap if self.exceeds else overlap >= self.overlap


VOC = Rule("VOC", whole_pixels=True)
"""The rule of Pascal VOC's development kit, and of the tools that follow it."""
DARKNET = Rule("Darknet", exceeds=True, recalls=divided_recalls)
"""The rule of the C program's `detector map`."""
CONTINUOUS = Rule("continuous")
"""The rule that takes boxes as they are, with width = x1 - x0."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The detections of one class by falling score, without those that match difficult boxes.

    Attributes:
        scores: (n,) score of each detection, 0..1.
        right: (n,) True for each detection that is right.
        overlaps: (n,) IoU with the box that the detection was compared with, 0 without one.
        truths: number of ground-truth boxes that are not difficult.
    """

    scores: Floats
    right: Flags
    overlaps: Floats
    truths: int

    def above(self, score: float) -> "Judged":
        """Return the detections whose score is higher than a given one.

        Args:
            score: the score, 0..1.
        """
        chosen = self.scores > score
        return Judged(self.scores[chosen], self.right[chosen], self.overlaps[chosen], self.truths)


def judge(
    found: Sequence[Sequence[Detection]],
    truths: Sequence[Truths],
    class_id: int,
    rule: Rule = CONTINUOUS,
) -> Judged:
    """Compare the detections of a class with its ground truth.

    Args:
        found: the detections in each picture.
        truths: the ground truth of each picture.
        class_id: index of the class, from 0; other classes are not looked at.
        rule: the rule by which boxes are compared.

    Returns:
        The detections by falling score, with the result of each.
    """
    pictures = [_Picture.of(rows, class_id, rule) for rows in truths]
    pairs = zip(found, pictures, strict=True)
    ranked = [
        (d, picture) for detections, picture in pairs for d in detections if d.class_id == class_id
    ]
    ranked.sort(key=lambda pair: -pair[0].score)
    judged = [(d.score, *picture.take(np.array(d.box))) for d, picture in ranked]
    kept = [(score, right, overlap) for score, right, ignored, overlap in judged if not ignored]
    scores, right, overlaps = zip(*kept, strict=True) if kept else ((), (), ())
    return Judged(
        np.array(scores, np.float64),
        np.array(right, bool),
        np.array(overlaps, np.float64),
        sum(int((~picture.difficult).sum()) for picture in pictures),
    )


@dataclass(frozen=True, eq=False)
class _Picture:
    """The ground-truth boxes of one class in one picture, and which of them are taken."""

    boxes: Floats
    difficult: Flags
    taken: Flags
    rule: Rule

    @classmethod
    def of(cls, rows: Truths, class_id: int, rule: Rule) -> "_Picture":
        own = np.asarray(rows, np.float64)[np.asarray(rows)[:, 0] == class_id]
        difficult = own[:, 5] > 0 if own.shape[1] > 5 else np.zeros(len(own), bool)
        return cls(own[:, 1:5], difficult, np.zeros(len(own), bool), rule)

    def take(self, box: Floats) -> tuple[bool, bool, float]:
        """Return whether a detection is right, whether it is ignored, and its IoU."""
        if not len(self.boxes):
            return False, False, 0.0
        overlaps = iou(box, self.boxes, whole_pixels=self.rule.whole_pixels)
        best = int(overlaps.argmax())
        fits = self.rule.fits(overlaps[best])
        if fits and self.difficult[best]:
            return False, True, float(overlaps[best])
        right = fits and not self.taken[best]
        self.taken[best] |= right
        return bool(right), False, float(overlaps[best])
