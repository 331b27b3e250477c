"""Augmentation: how a cfg lets pictures be changed at random, and the change of one picture."""

import logging
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np

from darkconv.augmentation.box_rows import Rows
from darkconv.augmentation.colour import ColourRange, Levels, distort
from darkconv.augmentation.crop import CropRange
from darkconv.augmentation.effects import add_blur, add_noise, draw_blur
from darkconv.augmentation.placement import NARROWEST, CanvasView, CropWindow, Patch
from darkconv.core.dialect import PJREDDIE
from darkconv.core.model import Array
from darkconv.core.network import Network
from darkconv.core.options import option_place
from darkconv.dataset.label import Size
from darkconv.errors import Where
from darkconv.pictures.picture import Picture

logger = logging.getLogger("darkconv")

GREY = 128
"""Grey level of the border around placed pictures: 0.5, rounded."""
MEAN_STEP = 8
"""Step in pixels, across and down, of the sample whose mean is the colour of other borders."""

DETECTOR_LEFT_OUT = ("mixup", "cutmix", "contrastive", "track")
CLASSIFIER_LEFT_OUT = (*DETECTOR_LEFT_OUT, "mosaic", "blur", "gaussian_noise")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The random changes of training pictures.

    Attributes:
        jitter: largest move of each edge of the window, as a share of the picture's side.
        resize: largest factor or divisor of the window's size; below 1 it is only a factor.
        places: letterboxed pictures get another aspect ratio and a random place instead of other
            edges, as in the original program, which has no `resize`.
        flip: every other picture is mirrored.
        colours: range of hue, saturation and exposure.
        mosaic: every other picture is a mosaic of four.
        bound: boxes of a mosaic are clipped to their tile.
        blur: width of a blur in pixels, in every third picture; another third gets a blurred
            background behind its objects. 1 for the latter alone, 0 for none.
        noise: standard deviation of noise in grey levels, in every other picture; 0 for none.
        crop: random crops, for classifiers, which of the others use only flip and colours.
    """

    jitter: float = 0.0
    resize: float = 1.0
    places: bool = False
    flip: bool = False
    colours: ColourRange = field(default_factory=ColourRange)
    mosaic: bool = False
    bound: bool = False
    blur: int = 0
    noise: int = 0
    crop: CropRange = field(default_factory=CropRange)

    @classmethod
    def of(cls, network: Network) -> Self:
        """Build the augmentation that the cfg asks for, in [net] and the last head.

        Keys without effect in training are reported in warnings.

        Args:
            network: network of a detector or classifier.
        """
        heads = [layer.spec for layer in network.box_heads]
        _tell_left_out(network, DETECTOR_LEFT_OUT if heads else CLASSIFIER_LEFT_OUT)
        net = network.options
        both = cls(
            places=network.dialect == PJREDDIE,
            flip=bool(net.flip),
            colours=ColourRange(hue=net.hue, saturation=net.saturation, exposure=net.exposure),
        )
        if not heads:
            return replace(both, crop=CropRange.of(net))
        return replace(
            both,
            jitter=getattr(heads[-1], "jitter", 0.0),
            resize=getattr(heads[-1], "resize", 1.0),
            mosaic=bool(net.mosaic),
            bound=bool(net.mosaic_bound),
            blur=net.blur,
            noise=net.gaussian_noise,
        )

    @classmethod
    def none(cls) -> Self:
        """Build an augmentation that changes nothing."""
        return cls()

    @property
    def is_none(self) -> bool:
        """True if nothing is changed; `places` and `bound` change nothing by themselves."""
        return self == type(self)(places=self.places, bound=self.bound)

    def draw_view(
        self, rng: np.random.Generator, picture: Size, canvas: Size, *, letterbox: bool
    ) -> CanvasView:
        """Draw the part of a picture that is shown.

        Args:
            rng: random generator of this draw.
            picture: (width, height) of the picture in pixels.
            canvas: (width, height) of the canvas in pixels.
            letterbox: keep the aspect ratio, except for the jitter.
        """
        ratio = (picture[0] / picture[1]) / (canvas[0] / canvas[1])
        if letterbox and self.places:
            window = self._place(rng, ratio)
        else:
            window = self._crop(rng, ratio if letterbox else 1.0)
        return CanvasView(window.widened(), flip=self.flip and bool(rng.random() < 0.5))

    def _place(self, rng: np.random.Generator, ratio: float) -> CropWindow:
        """Draw a window by the original program's rule: the whole picture, at a random place.

        Until 2016 the picture was also scaled by 0.25 to 2; since YOLOv3 it is not.

        Args:
            rng: random generator of this draw.
            ratio: aspect ratio of the picture divided by that of the canvas.
        """
        wide, high = (1 + self.jitter * rng.uniform(-1, 1, 2)).clip(NARROWEST)
        ratio *= wide / high
        width, height = 1 / min(ratio, 1.0), max(ratio, 1.0)  # of the canvas, in pictures
        x, y = rng.uniform(0, (width - 1, height - 1))
        return CropWindow(-x, -y, width - x, height - y)

    def _crop(self, rng: np.random.Generator, ratio: float) -> CropWindow:
        """Draw a window by AlexeyAB's rule: every edge moves, then the window grows or shrinks.

        Args:
            rng: random generator of this draw.
            ratio: aspect ratio of the picture divided by that of the canvas; 1 if it is stretched.
        """
        left, top, right, bottom = self.jitter * rng.uniform(-1, 1, 4)
        first, last = rng.uniform(*self._resizes(), 2)
        across, down = max(0.0, 1 / ratio - 1) / 2, max(0.0, ratio - 1) / 2
        return CropWindow(
            left + first - across,
            top + first - down,
            1 - right - last + across,
            1 - bottom - last + down,
        )

    def _resizes(self) -> tuple[float, float]:
        """Return how far `resize` moves an edge outwards (negative) and inwards, in sides."""
        if self.resize <= 0:
            return 0.0, 0.0
        largest = max(self.resize, 1 / self.resize)
        return (1 - largest) / 2, (0.0 if self.resize < 1 else (1 - 1 / largest) / 2)

    def paint(
        self,
        rng: np.random.Generator,
        view: CanvasView,
        picture: Picture,
        rows: Rows,
        canvas: Size,
    ) -> "Painted":
        """Render a view of a picture with random colours, blur and noise.

        Args:
            rng: random generator of this draw.
            view: part of the picture that is shown.
            picture: (H, W, C) 8-bit levels.
            rows: (k, 5) class and xyxy box, relative to the picture.
            canvas: (width, height) of the canvas in pixels.
        """
        levels = self._background(picture, canvas)
        patch = Patch.of(view, (picture.shape[1], picture.shape[0]), canvas)
        if patch is None:
            rows = rows[:0]
        else:
            patch.paint(picture, levels)
            rows = patch.move(rows)
        x = distort(levels, self.colours.draw(rng))
        blur = draw_blur(rng, self.blur)
        if blur:
            x = add_blur(x, blur, rows)
        return Painted(add_noise(x, self.noise, rng), rows)

    def _background(self, picture: Picture, canvas: Size) -> Levels:
        """Return a canvas of grey, or of the picture's mean colour (AlexeyAB's rule)."""
        levels = np.empty((picture.shape[2], canvas[1], canvas[0]), np.uint8)
        if self.places:
            levels.fill(GREY)
        else:
            thin = picture[::MEAN_STEP, ::MEAN_STEP]
            levels[:] = thin.mean(axis=(0, 1), dtype=np.float32).round()[:, None, None]
        return levels


class Painted(NamedTuple):
    """A rendered picture with its boxes.

    Attributes:
        x: float32 (C, h, w) in 0..1.
        rows: (k, 5) class and xyxy box in pixels of the canvas, not clipped.
    """

    x: Array
    rows: Rows


def _tell_left_out(network: Network, keys: tuple[str, ...]) -> None:
    for key in keys:
        if getattr(network.options, key):
            net = network.config.sections[0]
            where = Where(file=network.file, line=net.number, section=net.name)
            logger.warning("%s: not followed in training", option_place(net.options()[key], where))
