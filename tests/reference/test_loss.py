"""The losses of [yolo] and [Gaussian_yolo] by the default rule against the deltas of C."""

from collections import Counter
from functools import cached_property

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses import head_loss  # noqa: E402
from darkconv.core.dialect import PJREDDIE  # noqa: E402
from darkconv.layers.head import GaussianYolo  # noqa: E402
from reference.loss_cases import LossCase, parametrize_cases  # noqa: E402

TOLERANCE = 1e-4
SHIFTS = {"left_top": -0.5, "right_bottom": 0.5}


class AnchorCase(LossCase):
    """Arrays by anchor: (images, anchors, entries, rows, columns)."""

    @property
    def is_gaussian(self):
        return isinstance(self.spec, GaussianYolo)

    @property
    def means(self):
        return slice(0, 8, 2) if self.is_gaussian else slice(0, 4)

    @property
    def deviations(self):
        return slice(1, 8, 2)

    @property
    def known(self):
        return slice(self.spec.box_entries - 1, self.spec.box_entries)

    @property
    def classes(self):
        return slice(self.spec.box_entries, None)

    @cached_property
    def found(self):
        """What the default rule has for C's delta."""
        return self.derivative(self.truths)

    @cached_property
    def added_up(self):
        """The sum over the truths, each by itself: what C has for boxes."""
        every = range(self.truths.shape[1])
        return sum(self.limited(self.derivative(self.truths[:, i : i + 1])) for i in every)

    def limited(self, derivative):
        """A truth's derivative at boxes, limited where C does it.

        C's deltas of Gaussian x and y lack the sigmoid's slope, and are limited without it.
        """
        if self.is_gaussian:
            most = self.spec.max_delta * self.spec.scale_x_y * self.squash_slope
            derivative[:, :, 0:4:2] = derivative.clip(-most, most)[:, :, 0:4:2]
        return derivative

    def derivative(self, truths):
        x = torch.from_numpy(self.arrays["input"]).requires_grad_()
        labels = torch.from_numpy(truths)
        total = head_loss(self.layer, x, labels, input_size=self.input_size).total
        return -self.by_anchor(torch.autograd.grad(total, x)[0].numpy())

    @property
    def delta(self):
        return self.by_anchor(self.gradient)

    @property
    def raised(self):
        """By how many classes C divides what it has added up of boxes."""
        if self.spec.iou_thresh >= 1 and not self.is_gaussian:
            return 1
        return (self.delta[:, :, self.classes] > 0).sum(axis=2, keepdims=True).clip(min=1)

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
        spec, grid = self.spec, self.delta.shape[-2:]
        boxes = self._predicted_boxes()
        for image, truths in enumerate(self.truths):
            real = [t for t in truths if 0 <= t[0] < spec.classes]
            for _, x, y, w, h in real:
                size = np.array([w, h]) * self.input_size
                alike = iou([0, 0, *size], np.hstack([0 * spec.all_anchors, spec.all_anchors]))
                wanted = {int(alike.argmax()), *np.flatnonzero(alike > spec.iou_thresh)}
                corner = (y + self.shift * h) * grid[0], (x + self.shift * w) * grid[1]
                cell = (int(min(max(c, 0), n - 1)) for c, n in zip(corner, grid, strict=True))
                row, column = cell
                for anchor in wanted & set(spec.mask):
                    yield image, spec.mask.index(anchor), row, column
            best = np.max([iou(t[1:], boxes[image]) for t in real], axis=0)
            for place in np.argwhere(best > spec.truth_thresh):
                yield image, *map(int, place)

    @property
    def shift(self):
        return SHIFTS.get(self.spec.yolo_point, 0) if self.is_gaussian else 0

    def _predicted_boxes(self):
        """(images, anchors, rows, columns, 4), from the head's stored output."""
        entries = np.moveaxis(self.by_anchor(self.arrays["output"])[:, :, self.means], 2, -1)
        rows, columns = np.indices(entries.shape[2:4])
        cells = np.stack([columns, rows], -1)
        points = (cells + entries[..., :2]) / entries.shape[3:1:-1]
        sizes = entries[..., 2:]
        is_plain = not self.is_gaussian and self.spec.new_coords
        sizes = (4 * sizes**2 if is_plain else np.exp(sizes)) * self.relative_anchors
        return np.concatenate([points - self.shift * sizes, sizes], -1)

    @property
    def relative_anchors(self):
        """(anchors, 1, 1, 2) for arrays that end in rows, columns, (w, h)."""
        return (self.spec.head_anchors / self.input_size)[:, None, None]

    @property
    def squash_slope(self):
        """Derivative of the sigmoid at every entry."""
        squashed = 1 / (1 + np.exp(-self.by_anchor(self.arrays["input"])))
        return squashed * (1 - squashed)


def iou(box, others):
    """Of xywh boxes."""
    low = [np.asarray(b)[..., :2] - np.asarray(b)[..., 2:4] / 2 for b in (box, others)]
    high = [np.asarray(b)[..., :2] + np.asarray(b)[..., 2:4] / 2 for b in (box, others)]
    sides = (np.minimum(*high) - np.maximum(*low)).clip(min=0)
    areas = [(h - t).prod(-1) for t, h in zip(low, high, strict=True)]
    return sides.prod(-1) / (sum(areas) - sides.prod(-1))


def pytest_generate_tests(metafunc):
    gaussian = "gaussian_case" in metafunc.fixturenames
    heads = {"gaussian_yolo"} if gaussian else {"gaussian_yolo", "yolo"}
    parametrize_cases(metafunc, "loss_case", heads.__contains__)


@pytest.fixture(scope="module")
def loss_case(request, tmp_path_factory):
    return AnchorCase.read(request.param, tmp_path_factory.mktemp("net"))


@pytest.fixture
def gaussian_case(loss_case):
    return loss_case


def test_objectness_has_the_delta_of_c(loss_case):
    assert_equal(loss_case, loss_case.known)


def test_classes_have_the_delta_of_c(loss_case):
    spec = loss_case.spec
    if spec.focal_loss or spec.counters_per_class:
        # C weighs the first truth of a place otherwise than those after it
        assert_equal(loss_case, loss_case.classes, where=loss_case.is_alone)
    else:
        assert_equal(loss_case, loss_case.classes)


def test_boxes_have_the_delta_of_c(loss_case):
    where = None if loss_case.spec.dialect == PJREDDIE else loss_case.is_alone
    assert_equal(loss_case, loss_case.means, where=where, delta=chained(loss_case))


def test_boxes_have_the_delta_of_c_where_it_adds_up_several_truths(loss_case):
    if loss_case.spec.dialect == PJREDDIE:
        pytest.skip("the last truth overwrites the others, in C too")
    if loss_case.spec.truth_thresh < 1:
        pytest.skip("a box is trained on its best truth, not on each by itself")
    found, delta = loss_case.added_up / loss_case.raised, chained(loss_case) / loss_case.raised
    assert np.abs(found - delta)[:, :, loss_case.means].max() <= TOLERANCE


def test_deviations_have_the_delta_of_c(gaussian_case):
    case = gaussian_case
    delta = case.delta * case.raised * case.squash_slope
    assert_equal(case, case.deviations, where=case.is_alone, delta=delta)


def chained(case):
    """C's delta, undivided, times the factors of the chain rule that it leaves out.

    They lead from the box to the raw entries. For w and h of overlaps C has a factor of 2 instead.
    """
    spec, delta = case.spec, case.delta * case.raised
    if spec.iou_loss in ("diou", "ciou"):
        pytest.skip("C's gradient of this measure is not the derivative of a number")
    step = case.means.step or 1
    position, size = slice(0, 2 * step, step), slice(2 * step, 4 * step, step)
    if case.is_gaussian or spec.iou_loss != "mse":
        delta[:, :, position] *= spec.scale_x_y * case.squash_slope[:, :, position]
    if spec.iou_loss != "mse":
        delta[:, :, position] /= np.array(delta.shape[:2:-1]).reshape(2, 1, 1)
        delta[:, :, size] *= np.moveaxis(case.relative_anchors, -1, 1) / 2
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
