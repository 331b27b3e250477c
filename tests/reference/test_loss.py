"""The [yolo] loss by the default rule against the deltas of the C program."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from darkconv.core.dialect import DIALECTS, PJREDDIE  # noqa: E402
from darkconv.core.network import build_network  # noqa: E402
from darkconv.core.options import Notes  # noqa: E402
from darkconv.darknet.cfg import parse_cfg  # noqa: E402
from darkconv.finetune.losses.yolo import yolo_loss  # noqa: E402

TOLERANCE = 1e-4
BOX, KNOWN, CLASSES = slice(0, 4), slice(4, 5), slice(5, None)


@dataclass(frozen=True)
class LossCase:
    """One file of golden/loss; arrays by anchor: (images, anchors, entries, rows, columns)."""

    arrays: dict
    meta: dict

    @cached_property
    def spec(self):
        grid = (self.meta[name] for name in ("grid_w", "grid_h", "channels"))
        text = "[net]\nwidth={}\nheight={}\nchannels={}\n".format(*grid) + self.meta["section"]
        dialect = DIALECTS[self.meta["dialect"]]
        return build_network(parse_cfg(text), dialect, notes=Notes()).layers[0].spec

    @property
    def input_size(self):
        return self.meta["net_width"], self.meta["net_height"]

    @cached_property
    def truths(self):
        """The lists as C reads them, up to the first row whose x is 0: class, x, y, w, h."""
        stored = self.arrays["truth"]
        truths = stored[:, :, [4, 0, 1, 2, 3]].copy()
        truths[(stored[:, :, 0] == 0).cumsum(axis=1) > 0] = -1
        return truths

    @cached_property
    def found(self):
        """What the default rule has for C's delta."""
        return self.derivative(self.truths)

    @cached_property
    def added_up(self):
        """The sum over the truths, each by itself: what C has for boxes."""
        every = range(self.truths.shape[1])
        return sum(self.derivative(self.truths[:, i : i + 1]) for i in every)

    def derivative(self, truths):
        x = torch.from_numpy(self.arrays["input"]).requires_grad_()
        labels = torch.from_numpy(truths)
        total = yolo_loss(self.spec, x, labels, input_size=self.input_size).total
        return -self.by_anchor(torch.autograd.grad(total, x)[0].numpy())

    @property
    def delta(self):
        return self.by_anchor(self.arrays["delta"])

    def by_anchor(self, values):
        images, _, rows, columns = values.shape
        return values.reshape(images, len(self.spec.mask), -1, rows, columns)

    @cached_property
    def is_alone(self):
        """(images, anchors, rows, columns): no two truths are trained there."""
        claims = Counter(self._claims())
        alone = np.ones(self.delta[:, :, 0].shape, bool)
        for place, count in claims.items():
            alone[place] = count == 1
        return alone

    def _claims(self):
        """Every place that a truth is trained at, once for each time."""
        spec, (rows, columns) = self.spec, self.delta.shape[-2:]
        boxes = self._predicted_boxes()
        for image, truths in enumerate(self.truths):
            real = [t for t in truths if 0 <= t[0] < spec.classes]
            for _, x, y, w, h in real:
                size = np.array([w, h]) * self.input_size
                alike = iou([0, 0, *size], np.hstack([0 * spec.all_anchors, spec.all_anchors]))
                wanted = {int(alike.argmax()), *np.flatnonzero(alike > spec.iou_thresh)}
                for anchor in wanted & set(spec.mask):
                    place = int(y * rows), int(x * columns)
                    yield image, spec.mask.index(anchor), *place
            best = np.max([iou(t[1:], boxes[image]) for t in real], axis=0)
            for place in np.argwhere(best > spec.truth_thresh):
                yield image, *map(int, place)

    def _predicted_boxes(self):
        """(images, anchors, rows, columns, 4), from the head's stored output."""
        entries = np.moveaxis(self.by_anchor(self.arrays["output"]), 2, -1)
        rows, columns = np.indices(entries.shape[2:4])
        cells = np.stack([columns, rows], -1)
        centres = (cells + entries[..., :2]) / entries.shape[3:1:-1]
        sizes = entries[..., 2:4]
        factors = 4 * sizes**2 if self.spec.new_coords else np.exp(sizes)
        return np.concatenate([centres, factors * self.relative_anchors], -1)

    @property
    def relative_anchors(self):
        """(anchors, 1, 1, 2) for arrays that end in rows, columns, (w, h)."""
        return (self.spec.head_anchors / self.input_size)[:, None, None]


def iou(box, others):
    """Of xywh boxes."""
    low = [np.asarray(b)[..., :2] - np.asarray(b)[..., 2:4] / 2 for b in (box, others)]
    high = [np.asarray(b)[..., :2] + np.asarray(b)[..., 2:4] / 2 for b in (box, others)]
    sides = (np.minimum(*high) - np.maximum(*low)).clip(min=0)
    areas = [(h - t).prod(-1) for t, h in zip(low, high, strict=True)]
    return sides.prod(-1) / (sum(areas) - sides.prod(-1))


def pytest_generate_tests(metafunc):
    root = metafunc.config.getoption("--golden") / "loss"
    files = sorted(root.glob("*-yolo-*.npz"))
    missing = pytest.mark.skip(reason=f"no cases at {root}")
    params = files or [pytest.param(None, marks=missing, id="none")]
    ids = [file.stem for file in files] or None
    metafunc.parametrize("loss_case", params, ids=ids, scope="module", indirect=True)


@pytest.fixture(scope="module")
def loss_case(request):
    with np.load(request.param) as stored:
        arrays = dict(stored)
    return LossCase(arrays, json.loads(str(arrays.pop("meta"))))


def test_objectness_has_the_delta_of_c(loss_case):
    assert_equal(loss_case, KNOWN)


def test_classes_have_the_delta_of_c(loss_case):
    spec = loss_case.spec
    if spec.focal_loss or spec.counters_per_class:
        # C weighs the first truth of a place otherwise than those after it
        assert_equal(loss_case, CLASSES, where=loss_case.is_alone)
    else:
        assert_equal(loss_case, CLASSES)


def test_boxes_have_the_delta_of_c(loss_case):
    where = None if loss_case.spec.dialect == PJREDDIE else loss_case.is_alone
    assert_equal(loss_case, BOX, where=where, delta=chained(loss_case))


def test_boxes_have_the_delta_of_c_where_it_adds_up_several_truths(loss_case):
    if loss_case.spec.dialect == PJREDDIE:
        pytest.skip("the last truth overwrites the others, in C too")
    if loss_case.spec.truth_thresh < 1:
        pytest.skip("a box is trained on its best truth, not on each by itself")
    delta, found = chained(loss_case), loss_case.added_up
    if loss_case.spec.iou_thresh < 1:
        positive = (loss_case.delta[:, :, CLASSES] > 0).sum(axis=2, keepdims=True)
        found = found / np.maximum(positive, 1)
    assert np.abs(found - delta)[:, :, BOX].max() <= TOLERANCE


def chained(case):
    """C's delta; of overlaps times the factors of the chain rule that it leaves out.

    They lead from the box to the raw entries. For w and h C has a factor of 2 instead.
    """
    spec, delta = case.spec, case.delta.copy()
    if spec.iou_loss in ("diou", "ciou"):
        pytest.skip("C's gradient of this measure is not the derivative of a number")
    if spec.iou_loss != "mse":
        squashed = 1 / (1 + np.exp(-case.by_anchor(case.arrays["input"])[:, :, :2]))
        grid = np.array(delta.shape[:2:-1]).reshape(2, 1, 1)
        delta[:, :, :2] *= spec.scale_x_y * squashed * (1 - squashed) / grid
        delta[:, :, 2:4] *= np.moveaxis(case.relative_anchors, -1, 1) / 2
    return delta


def assert_equal(case, entries, *, where=None, delta=None):
    """The default rule has C's delta wherever `where` says, and there is something there."""
    delta = case.delta if delta is None else delta
    error = np.abs(case.found - delta)[:, :, entries].max(axis=2)
    trained = (delta[:, :, entries] != 0).any(axis=2)
    if where is not None:
        error, trained = error[where], trained[where]
    assert trained.any()
    assert error.max() <= TOLERANCE, f"off by {error.max():.2e}"
