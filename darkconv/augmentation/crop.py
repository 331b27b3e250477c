"""Random crops of training pictures for classifiers."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from darkconv.augmentation.colour import Levels, draw_scale
from darkconv.core.net import NetOptions
from darkconv.dataset.label import Size
from darkconv.pictures.image_file import pillow
from darkconv.pictures.picture import Picture


@dataclass(frozen=True, kw_only=True)
class CropRange:
    """The range that random crops are drawn from.

    Attributes:
        least: smallest length of the picture's shorter side, in widths of the network input.
        most: largest length of that side.
        angle: largest rotation in degrees, in either direction.
        aspect: largest factor or divisor of the width.
    """

    least: float = 1.0
    most: float = 1.0
    angle: float = 0.0
    aspect: float = 1.0

    @classmethod
    def of(cls, net: NetOptions) -> Self:
        """Build the range that [net] asks for.

        Args:
            net: options of [net].
        """
        width = max(net.width, 1)
        return cls(
            least=net.min_crop / width,
            most=net.max_crop / width,
            angle=net.angle,
            aspect=net.aspect,
        )

    def draw(self, rng: np.random.Generator, picture: Size, canvas: Size) -> "RandomCrop":
        """Draw a crop as Darknet does: a size, a rotation, an aspect ratio, and a place.

        A picture that is smaller than the canvas lies anywhere on it, as in the original program;
        AlexeyAB's leaves it in the middle.

        Args:
            rng: random generator of this draw.
            picture: (width, height) of the picture in pixels.
            canvas: (width, height) of the network input in pixels.
        """
        aspect = draw_scale(rng, self.aspect)
        side = canvas[0] * (self.least + (self.most - self.least) * rng.random())
        scale = side / min(picture[1], picture[0] * aspect)
        angle = math.radians(self.angle * rng.uniform(-1, 1))
        room = (picture[0] * scale / aspect - canvas[0], picture[1] * scale - canvas[1])
        across, down = (rng.uniform(-0.5, 0.5) * length for length in room)
        return RandomCrop(canvas, angle, (aspect / scale, 1 / scale), (across, down))


@dataclass(frozen=True)
class RandomCrop:
    """Part of a picture, rotated and scaled.

    Attributes:
        canvas: (width, height) in pixels.
        angle: rotation in radians.
        scale: pixels of the picture for one pixel of the canvas, across and down.
        moved: shift of the centre in pixels of the canvas, across and down.
    """

    canvas: Size
    angle: float
    scale: tuple[float, float]
    moved: tuple[float, float]

    def apply(self, picture: Picture, *, flip: bool) -> Levels:
        """Render the crop: bilinear, and black beside the picture.

        Args:
            picture: (H, W, C) 8-bit levels.
            flip: mirror the crop.

        Returns:
            8-bit levels (C, h, w) of the canvas.
        """
        image_module = pillow("training classifiers")
        image = image_module.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture)
        cropped = image.transform(
            self.canvas,
            image_module.Transform.AFFINE,
            self._affine((picture.shape[1], picture.shape[0]), flip=flip),
            resample=image_module.Resampling.BILINEAR,
        )
        return np.ascontiguousarray(np.atleast_3d(np.asarray(cropped)).transpose(2, 0, 1))

    def _affine(self, picture: Size, *, flip: bool) -> tuple[float, ...]:
        """Return (a, b, c, d, e, f): canvas pixel x, y is at ax + by + c, dx + ey + f."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        across, down = self.scale
        a, b, d, e = cosine * across, -sine * down, sine * across, cosine * down
        x, y = (m - side / 2 for m, side in zip(self.moved, self.canvas, strict=True))
        c, f = a * x + b * y + picture[0] / 2, d * x + e * y + picture[1] / 2
        if flip:
            c, f, a, d = c + a * self.canvas[0], f + d * self.canvas[0], -a, -d
        return a, b, c, d, e, f
