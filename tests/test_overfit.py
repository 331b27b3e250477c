"""Every detection loss, by the default rule, learns one picture by heart: AP 1.0."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("PIL")

import darkconv as dc  # noqa: E402
from darkconv.assets import digits10_folder  # noqa: E402
from darkconv.augmentation.augment import Augmentation  # noqa: E402
from darkconv.augmentation.sampler import Draw  # noqa: E402
from darkconv.dataset import open_dataset  # noqa: E402
from darkconv.training.objective import LabelObjective  # noqa: E402
from darkconv.training.pictures import TrainingPictures, collate  # noqa: E402
from darkconv.training.validation import evaluate_module  # noqa: E402
from networks import initial_model, network  # noqa: E402

SIZE = 96
USUAL = (2e-3, 600)
"""Rate and steps."""
GENTLE = {
    "yolo iou": (5e-4, 1200),
    "yolo giou": (5e-4, 2500),
    "yolo diou": (5e-4, 2500),
    "yolo ciou": (5e-4, 1200),
}
"""A box that misses its truth grows first, at a higher rate out of sight. Whether it does may hang
on the last bits of the processor's sums; with these, four networks learn whose first weights differ
by a thousandth, of iou and diou ten."""
CONV = "[convolutional]\nfilters={}\nsize={}\nstride={}\npad=1\nactivation={}\n\n"
TRUNK = "".join(CONV.format(filters, 3, 2, "leaky") for filters in (16, 32, 64, 64))
ANCHORS = "anchors=12,16, 20,28, 32,40\nnum=3\n"
CELLS = "anchors=.75,1, 1.25,1.75, 2,2.5\nnum=3\n"
YOLO = CONV.format(45, 1, 1, "linear") + f"[yolo]\nmask=0,1,2\nclasses=10\n{ANCHORS}"
SQUASHED = CONV.format(45, 1, 1, "logistic") + f"[yolo]\nmask=0,1,2\nclasses=10\n{ANCHORS}"
GAUSSIAN = CONV.format(57, 1, 1, "linear") + f"[Gaussian_yolo]\nmask=0,1,2\nclasses=10\n{ANCHORS}"
REGION = CONV.format(45, 1, 1, "linear") + f"[region]\nclasses=10\nbias_match=1\n{CELLS}"
DETECTION = (
    f"[connected]\noutput={36 * (10 + 2 * 5)}\nactivation=linear\n\n"
    "[detection]\nclasses=10\ncoords=4\nside=6\nnum=2\ncoord_scale=5\nnoobject_scale=.5\n"
)
HEADS = {
    "pjreddie yolo": ("pjreddie", YOLO),
    **{
        f"yolo {kind}": ("alexeyab", f"{YOLO}iou_loss={kind}\niou_normalizer=2\nscale_x_y=1.05\n")
        for kind in ("mse", "iou", "giou", "diou", "ciou")
    },
    "yolo new_coords": (
        "alexeyab",
        f"{SQUASHED}new_coords=1\nscale_x_y=2\niou_loss=ciou\niou_normalizer=2\n",
    ),
    "yolo focal": ("alexeyab", f"{YOLO}focal_loss=1\n"),
    "yolo smooth": ("alexeyab", f"{YOLO}objectness_smooth=1\nlabel_smooth_eps=.05\n"),
    "Gaussian_yolo": ("alexeyab", GAUSSIAN),
    "Gaussian_yolo ciou": ("alexeyab", f"{GAUSSIAN}iou_loss=ciou\niou_normalizer=2\n"),
    "pjreddie region": ("pjreddie", f"{REGION}softmax=1\nrescore=1\nobject_scale=5\n"),
    "pjreddie region logistic": ("pjreddie", f"{REGION}object_scale=5\n"),
    "alexeyab region": ("alexeyab", f"{REGION}softmax=1\nrescore=1\nobject_scale=5\n"),
    "detection": ("pjreddie", f"{DETECTION}sqrt=1\nrescore=1\n"),
    "detection softmax": ("alexeyab", f"{DETECTION}softmax=1\n"),
}


def one_picture():
    """The bundled picture with most digits in cells of their own."""
    data = open_dataset(digits10_folder() / "digits10.data", split="valid")

    def cells(sample):
        size = torch.tensor([*sample.size])
        centres = torch.from_numpy(sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2 / size * 6
        return len({tuple(c) for c in centres.int().tolist()}) == len(sample.boxes)

    best = max((s for s in data.samples if cells(s)), key=lambda s: len(s.boxes))
    return replace(data, samples=(best,))


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_one_picture_is_learned_to_ap_1(name):
    torch.manual_seed(0)
    dialect, head = HEADS[name]
    rate, steps = GENTLE.get(name, USUAL)
    data = one_picture()
    net = network(TRUNK + head, shape=(3, SIZE, SIZE), dialect=dialect)
    model = replace(initial_model(net), names=data.names)
    pictures = TrainingPictures(
        data, model.names, (SIZE, SIZE), channels=3, letterbox=False,
        augmentation=Augmentation.none(), seed=0,
    )  # fmt: skip
    x, truths = collate([pictures[Draw(0, 0)]])
    module = dc.to_torch(model).train()
    objective = LabelObjective(net)
    optimizer = torch.optim.Adam(module.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        costs = objective.costs(module.select(x, objective.layers), x, truths, 64_000)
        costs["loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10)
        optimizer.step()
        schedule.step()
        losses.append(costs["loss"].item())
    result = evaluate_module(module.eval(), model, data, letterbox=False)
    assert losses[-1] < losses[0]
    assert len(data.samples[0].names) >= 5
    assert result.mean.ap == 1.0
