"""Every loss of [yolo] and [Gaussian_yolo] by the default rule leads to the truths."""

import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.head import build_gaussian_yolo, build_yolo  # noqa: E402
from darkconv.backends.torch.losses import head_loss  # noqa: E402
from darkconv.backends.torch.losses.overlap import iou  # noqa: E402
from darkconv.detection.decode import decode  # noqa: E402
from darkconv.layers.head import GaussianYolo  # noqa: E402
from effort import one_in  # noqa: E402
from networks import network  # noqa: E402
from yolo_heads import CLASSES, INPUT, TRUTHS, rows  # noqa: E402

IOU_LOSSES = ("iou", "giou", "diou", "ciou")
FIT = """[maxpool]
size=16
stride=16

[convolutional]
filters={filters}
size=1
activation=linear

[{section}]
mask=0,1,2
anchors=10,8, 20,14, 40,26
num=3
classes=3
{options}
"""
FITTED = {
    "pjreddie": ("yolo", ""),
    "new-coords": ("yolo", "new_coords=1\nscale_x_y=2.0\n"),
    "new-coords-ciou": ("yolo", "new_coords=1\nscale_x_y=2.0\niou_loss=ciou\n"),
    "smooth-objectness": ("yolo", "objectness_smooth=1\niou_loss=ciou\n"),
    "mse": ("yolo", ""),
    **{kind: ("yolo", f"iou_loss={kind}\n") for kind in IOU_LOSSES},
    "gaussian": ("Gaussian_yolo", ""),
    "gaussian-left-top": ("Gaussian_yolo", "yolo_point=left_top\n"),
    "gaussian-right-bottom-ciou": ("Gaussian_yolo", "yolo_point=right_bottom\niou_loss=ciou\n"),
    "gaussian-smooth-objectness": ("Gaussian_yolo", "objectness_smooth=1\n"),
    **{f"gaussian-{kind}": ("Gaussian_yolo", f"iou_loss={kind}\n") for kind in IOU_LOSSES},
}


def fit(layer, truths, steps=150):
    """A head's input that has learned the truths of one picture."""
    squashes = layer.spec.squashes
    x = torch.zeros(1, *layer.in_shapes[0], requires_grad=True)
    optimizer = torch.optim.Adam([x], 0.2)
    for _ in range(steps):
        optimizer.zero_grad()
        entries = x if squashes else x.sigmoid()
        head_loss(layer, entries, truths, input_size=INPUT).total.backward()
        optimizer.step()
    return (x if squashes else x.sigmoid()).detach()


@pytest.mark.parametrize("name", one_in(4, FITTED))
def test_truths_can_be_learned(name):
    section, options = FITTED[name]
    filters = 3 * ((9 if section == "Gaussian_yolo" else 5) + CLASSES)
    text = FIT.format(section=section, options=options, filters=filters)
    net = network(text, (3, *INPUT[::-1]), "pjreddie" if name == "pjreddie" else "alexeyab")
    layer = net.layers[-1]
    build = build_gaussian_yolo if isinstance(layer.spec, GaussianYolo) else build_yolo
    output = build(layer, net)(fit(layer, rows().float()))
    found = decode(net, [output[0].numpy()], threshold=0.3)
    for number, *box in TRUTHS:
        overlaps = iou(torch.from_numpy(found.boxes), torch.tensor(box))
        assert overlaps.max() > 0.5
        assert found.scores[overlaps.argmax()].argmax() == number
