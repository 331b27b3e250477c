"""Which detections are right: boxes found against true boxes, by the rules of the field.

All rules but COCO's take the detections of a class, over all pictures, by falling score (equal
scores in the order given). Each goes to the true box of its class and picture that it overlaps
most; a second-best box is not tried. It is right if the overlap is large enough and no better
scored detection has taken that box.
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
"""(k, 5) or (k, 6): class, x0, y0, x1, y1 in pixels of the picture, and 1 for a difficult box."""


def spaced_recalls(points: int) -> Floats:
    """Return recalls from 0 to 1 as multiples of a rounded step: 3 of 10 are above 0.3.

    VOC's development kit counts up by 0.1, and COCO's tools take numpy's `linspace`.
    """
    return np.linspace(0, 1, points)


def divided_recalls(points: int) -> Floats:
    """Return recalls from 0 to 1 as the C program has them: point * 1.0 / (points - 1)."""
    return np.arange(points) / (points - 1)


@dataclass(frozen=True)
class Rule:
    """How a detection and a true box are compared, and where the curve is sampled.

    Attributes:
        name: for tables.
        overlap: IoU from which they can be the same object.
        exceeds: the IoU must exceed `overlap`, not just reach it.
        whole_pixels: a box includes its last row and column: width = x1 - x0 + 1.
        recalls: number of points -> the recalls at which precision is taken, in the program's
            own arithmetic: a recall that falls on one of them counts, or falls short by an ulp.
    """

    name: str
    overlap: float = 0.5
    exceeds: bool = False
    whole_pixels: bool = False
    recalls: Callable[[int], Floats] = spaced_recalls

    def fits(self, overlap: float) -> bool:
        """Whether an IoU is large enough."""
        return overlap > self.overlap if self.exceeds else overlap >= self.overlap


VOC = Rule("VOC", whole_pixels=True)
"""Pascal VOC's development kit, and the tools that follow it."""
DARKNET = Rule("Darknet", exceeds=True, recalls=divided_recalls)
"""`detector map` of the C program."""
CONTINUOUS = Rule("continuous")
"""Boxes as they are."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The detections of one class by falling score; those of difficult boxes are left out.

    Attributes:
        scores: (n,) of each detection.
        right: (n,) whether it is.
        overlaps: (n,) IoU with the box that it was compared with, 0 without one.
        truths: number of true boxes that are not difficult.
    """

    scores: Floats
    right: Flags
    overlaps: Floats
    truths: int

    def above(self, score: float) -> "Judged":
        """The detections that score higher."""
        chosen = self.scores > score
        return Judged(self.scores[chosen], self.right[chosen], self.overlaps[chosen], self.truths)


def judge(
    found: Sequence[Sequence[Detection]],
    truths: Sequence[Truths],
    class_id: int,
    rule: Rule = CONTINUOUS,
) -> Judged:
    """Compare the detections of a class with its true boxes.

    Args:
        found: the detections in each picture.
        truths: the true boxes in each picture.
        class_id: the class; detections and boxes of others are not looked at.
        rule: how boxes are compared.
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
    """The true boxes of one class in one picture, and which are taken."""

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
        """Whether a box is right, whether it does not count, and its overlap."""
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
