"""Deltas of [yolo] and [Gaussian_yolo] made as the C program makes them: truth by truth.

A slow oracle for one picture, in float64. `values` and deltas are (anchors, rows, columns,
entries); a truth is (class, x, y, w, h).
"""

import math
from dataclasses import dataclass

import numpy as np

from darkconv.core.dialect import PJREDDIE
from darkconv.layers.head import GaussianYolo

SHIFTS = {"center": 0.0, "left_top": -0.5, "right_bottom": 0.5}


def walk(spec, values, truths, input_size):
    """The deltas of the head's input."""
    steps = Walk(spec, values, truths, np.array(input_size, float))
    for place in np.ndindex(values.shape[:3]):
        steps.judge(place)
    for truth in steps.truths:
        steps.match(truth)
    if spec.iou_thresh < 1 or steps.is_gaussian:
        steps.average()
    return steps.delta


def logistic(x):
    return (1 + np.tanh(x / 2)) / 2  # 0 and 1 far out, without overflow


def edges(box):
    x, y, w, h = box
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def iou(a, b):
    (al, at, ar, ab), (bl, bt, br, bb) = edges(a), edges(b)
    w, h = min(ar, br) - max(al, bl), min(ab, bb) - max(at, bt)
    shared = w * h if w > 0 and h > 0 else 0.0
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def pull(kind, p, t):
    """The hand-made gradient of an overlap for x, y, w, h of p."""
    (pl, pt, pr, pb), (tl, tt, tr, tb) = edges(p), edges(t)
    iw, ih = min(pr, tr) - max(pl, tl), min(pb, tb) - max(pt, tt)
    cw, ch = max(pr, tr) - min(pl, tl), max(pb, tb) - min(pt, tt)
    shared, c = iw * ih, cw * ch
    union = p[2] * p[3] + t[2] * t[3] - shared
    area = {"t": -p[2], "b": p[2], "l": -p[3], "r": p[3]}
    common = {
        "t": -iw * (pt > tt),
        "b": iw * (pb < tb),
        "l": -ih * (pl > tl),
        "r": ih * (pr < tr),
    }
    around = {
        "t": -cw * (pt < tt),
        "b": cw * (pb > tb),
        "l": -ch * (pl < tl),
        "r": ch * (pr > tr),
    }
    found = {}
    for e in "tblr":
        joint = area[e] - common[e]
        plain = (union * common[e] - shared * joint) / union**2 if union > 0 else 0.0
        extra = (c * joint - union * around[e]) / c**2 if kind == "giou" else 0.0
        found[e] = extra if kind == "giou" and (iw <= 0 or ih <= 0) else plain + extra
    gradient = np.array(
        [
            found["l"] + found["r"],
            found["t"] + found["b"],
            found["r"] - found["l"],
            found["b"] - found["t"],
        ]
    )
    if kind not in ("diou", "ciou"):
        return gradient
    d, s = cw**2 + ch**2, (p[0] - t[0]) ** 2 + (p[1] - t[1]) ** 2
    low, high = np.array([pl < tl, pt < tt], float), np.array([pr > tr, pb > tb], float)
    sides, way = np.array([cw, ch]), np.array([t[0] - p[0], t[1] - p[1]])
    position = (2 * way * d - 2 * sides * (high - low) * s) / d**2
    added = np.array([*position, *(2 * sides * (high + low) / 2 * s / d**2)])
    if kind == "ciou":
        difference = math.atan(t[2] / t[3]) - math.atan(p[2] / p[3])
        v = 4 / math.pi**2 * difference**2
        alpha = v / (1 - shared / union + v + 1e-6)
        added[2] += alpha * 8 / math.pi**2 * difference * p[3]
        added[3] -= alpha * 8 / math.pi**2 * difference * p[2]
    return added if iw <= 0 or ih <= 0 else gradient + added


@dataclass
class Walk:
    """One picture."""

    spec: object
    raw: np.ndarray
    rows: np.ndarray
    input_size: np.ndarray

    def __post_init__(self):
        spec = self.spec
        self.is_gaussian = isinstance(spec, GaussianYolo)
        self.first = spec.box_entries  # of the classes
        self.step = 2 if self.is_gaussian else 1
        self.grid = np.array(self.raw.shape[2:0:-1], float)
        self.anchors = np.array(spec.all_anchors, float) / self.input_size
        self.delta = np.zeros_like(self.raw)
        self.plain = not self.is_gaussian and spec.new_coords
        self.values = self.raw if self.plain else logistic(self.raw)
        self.mean = self.raw[..., : 4 * self.step : self.step].copy()
        stretched = self.values[..., : 2 * self.step : self.step] * spec.scale_x_y
        self.mean[..., :2] = stretched - (spec.scale_x_y - 1) / 2
        self.truths = self.listed()
        self.normalizer = 1.0 if spec.dialect == PJREDDIE else spec.iou_normalizer

    def listed(self):
        found = []
        for number, *box in self.rows[: self.spec.max]:
            if box[0] == 0:
                break
            if 0 <= number < self.spec.classes:
                found.append((int(number), box))
        return found

    @property
    def shift(self):
        return SHIFTS[self.spec.yolo_point] if self.is_gaussian else 0.0

    def multiplier(self, number):
        counters = self.spec.counters_per_class
        if not counters:
            return 1.0
        return min(max(counters) / max(counters[number], 1), self.spec.max_delta)

    def box(self, place):
        """The predicted one."""
        anchor, row, column = place
        mean = self.mean[place]
        growth = 4 * mean[2:] ** 2 if self.plain else np.exp(mean[2:])
        size = growth * self.anchors[self.spec.mask[anchor]]
        point = (np.array([column, row]) + mean[:2]) / self.grid
        return np.concatenate([point - self.shift * size, size])

    def judge(self, place):
        """Step 1 at one place."""
        spec, known = self.spec, (*place, self.first - 1)
        overlaps = [iou(self.box(place), box) for _, box in self.truths]
        best = int(np.argmax(overlaps)) if overlaps else 0
        highest = overlaps[best] if overlaps else 0.0
        likely = spec.dialect == PJREDDIE or (self.values[place][self.first :] > 0.25).any()
        match = highest if likely else 0.0
        self.delta[known] = -spec.obj_normalizer * self.values[known]
        if match > spec.ignore_thresh:
            self.spare(place, self.truths[best], match)
        if highest > spec.truth_thresh:
            number, box = self.truths[best]
            score = highest**2 if spec.objectness_smooth else 1.0
            self.delta[known] = spec.obj_normalizer * (score - self.values[known])
            self.train_class(place, number)
            if spec.objectness_smooth:
                own = (*place, self.first + number)
                self.delta[own] = self.multiplier(number) * (score - self.values[own])
            self.train_box(place, number, box)

    def spare(self, place, truth, match):
        spec, known = self.spec, (*place, self.first - 1)
        if not spec.objectness_smooth:
            self.delta[known] = 0
        elif self.is_gaussian:
            self.delta[known] = spec.obj_normalizer * (match**2 - self.values[known])
            self.train_class(place, truth[0])
        else:
            delta = spec.obj_normalizer * (match - self.values[known])
            self.delta[known] = max(self.delta[known], delta)

    def match(self, truth):
        """Step 2 for one truth."""
        spec, (number, box) = self.spec, truth
        sizes = [0.0, 0.0, *box[2:]]
        alike = [iou([0, 0, *anchor], sizes) for anchor in self.anchors]
        best = int(np.argmax(alike))
        point = np.array(box[:2]) + self.shift * np.array(box[2:])
        column, row = (
            min(max(int(v), 0), int(n) - 1)
            for v, n in zip(point * self.grid, self.grid, strict=True)
        )
        for index, value in enumerate(alike):
            if index not in spec.mask:
                continue
            if index == best or value > spec.iou_thresh:
                place = spec.mask.index(index), row, column
                known = (*place, self.first - 1)
                self.train_box(place, number, box)
                if self.is_gaussian or not spec.objectness_smooth or self.delta[known] == 0:
                    missing = 1 - self.values[known]
                    self.delta[known] = self.multiplier(number) * spec.obj_normalizer * missing
                self.train_class(place, number)

    def train_class(self, place, number):
        spec, m = self.spec, self.multiplier(number)
        delta, scores = self.delta[place][self.first :], self.values[place][self.first :]
        smooth = spec.label_smooth_eps
        looked_at = number if not self.is_gaussian and spec.dialect != PJREDDIE else 0
        if delta[looked_at] != 0:
            delta[number] = (1 - smooth / 2 - scores[number]) * m
            return
        hot = np.arange(spec.classes) == number
        if spec.focal_loss and not self.is_gaussian:
            p = scores[number] + 1e-15
            delta[:] = (hot - scores) * 0.5 * -(1 - p) * (2 * p * math.log(p) + p - 1)
            return
        delta[:] = hot * (1 - smooth) + smooth / 2 - scores
        if spec.counters_per_class:
            delta[number] *= m * spec.cls_normalizer

    def train_box(self, place, number, box):
        spec, step = self.spec, self.step
        anchor, row, column = place
        k = 2 - box[2] * box[3]
        ratio = np.array(box[2:]) / self.anchors[spec.mask[anchor]]
        point = np.array(box[:2]) + self.shift * np.array(box[2:])
        offset = point * self.grid - [column, row]
        wanted = np.concatenate([offset, np.sqrt(ratio / 4) if self.plain else np.log(ratio)])
        missing = wanted - self.mean[place]
        found = k * missing
        if spec.iou_loss != "mse":
            found = pull(spec.iou_loss, self.box(place), box)
            found[:2] += self.shift * found[2:]
            found[2:] *= 1.0 if self.plain else np.exp(self.mean[place][2:])
        weight = self.normalizer * self.multiplier(number)
        target = self.delta[place][: 4 * step]
        if self.is_gaussian:
            s = self.values[place][1:8:2]
            e = missing / s
            density = np.exp(-(e**2) / 2) / (math.sqrt(2 * math.pi) * (s + 0.3))
            share = 0.5 * k * density / (density + 1e-9)
            if spec.iou_loss == "mse":
                found = share * e / s
            spread = spec.uc_normalizer * share * (e**2 / s - 1 / (s + 0.3))
            target[1::2] += np.clip(spread, -spec.max_delta, spec.max_delta)
        held = found * weight
        if self.is_gaussian or spec.iou_loss != "mse":
            held = np.clip(held, -spec.max_delta, spec.max_delta)
        if spec.dialect == PJREDDIE:
            target[:] = held
        else:
            target[::step] += held

    def average(self):
        for place in np.ndindex(self.raw.shape[:3]):
            raised = (self.delta[place][self.first :] > 0).sum()
            trained = self.is_gaussian or self.delta[place][self.first - 1] != 0
            if raised and trained:
                self.delta[place][: self.first - 1] /= raised
