"""A cfg under construction: sections in the bundled files' layout.

The layout: a comment that says what the network is, [net], then the layers; one blank line
between sections, the options of a section in the order of `ORDER`, comments above stages. A
route or shortcut counts backwards to a near layer, and names a far one by its number, which
then stands above that layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

Value = int | float | str | tuple[int | float, ...]
Options = Mapping[str, Value]

NEAR = 9
"""Layers up to so many back are counted backwards."""

ORDER = """
    width height channels letter_box batch subdivisions momentum decay learning_rate burn_in
    max_batches policy power steps scales ema_alpha min_crop max_crop
    angle aspect saturation exposure hue mosaic
    crop_width crop_height flip
    layers from batch_normalize filters size stride pad padding groups group_id
    output activation probability type
    mask anchors classes coords num side softmax sqrt scale_x_y new_coords nms_kind beta_nms
    tree map jitter random resize rescore bias_match absolute thresh ignore_thresh truth_thresh
    object_scale noobject_scale class_scale coord_scale
    iou_loss iou_thresh iou_normalizer uc_normalizer obj_normalizer cls_normalizer
    objectness_smooth max_delta
"""
"""The options of all sections, in the order they are written."""
_PLACES = {key: place for place, key in enumerate(ORDER.split())}


@dataclass(frozen=True)
class Title:
    """The comment at the top of a cfg.

    Attributes:
        name: the network's own name.
        summary: what it is, in a few words.
        paper: authors, title in quotes, year.
        origin: where the architecture was published.
    """

    name: str
    summary: str
    paper: str
    origin: str

    def lines(self) -> list[str]:
        """Return the comment lines."""
        origin = f"Architecture of {self.origin}"
        return [
            f"# {self.name}: {self.summary}.",
            f"# {self.paper}.",
            f"# {origin}; written by tools/make_cfgs.py.",
        ]


class Cfg:
    """Layers are added one by one; each method returns the number of the layer it added.

    Attributes:
        activation: of convolutions that name none.
    """

    def __init__(self, title: Title, net: Options, *, activation: str = "leaky") -> None:
        self.activation = activation
        self._title = title
        self._net = _section("net", net)
        self._layers: list[list[str]] = []
        self._comments: dict[int, list[str]] = {}
        self._named: set[int] = set()

    @property
    def last(self) -> int:
        """Number of the layer added last."""
        return len(self._layers) - 1

    def comment(self, text: str) -> None:
        """Add a comment line above the next layer."""
        self._comments.setdefault(len(self._layers), []).append(f"# {text}")

    def add(self, section: str, **options: Value) -> int:
        """Any layer."""
        self._layers.append(_section(section, options))
        return self.last

    def conv(
        self,
        filters: int,
        *,
        size: int = 3,
        stride: int = 1,
        pad: int = 1,
        groups: int = 1,
        activation: str | None = None,
        normalize: bool = True,
    ) -> int:
        """Add a convolution, 3x3 with batch normalization by default."""
        extra: dict[str, Value] = {"batch_normalize": 1} if normalize else {}
        if groups > 1:
            extra["groups"] = groups
        return self.add(
            "convolutional",
            filters=filters,
            size=size,
            stride=stride,
            pad=pad,
            activation=activation or self.activation,
            **extra,
        )

    def pointwise(self, filters: int, *, activation: str | None = None) -> int:
        """Add a 1x1 convolution with batch normalization."""
        return self.conv(filters, size=1, activation=activation)

    def predict(self, filters: int, *, activation: str = "linear") -> int:
        """Add a 1x1 convolution without batch normalization, in front of a head."""
        return self.conv(filters, size=1, activation=activation, normalize=False)

    def maxpool(self, size: int = 2, *, stride: int = 2) -> int:
        """Add a max pooling."""
        return self.add("maxpool", size=size, stride=stride)

    def upsample(self) -> int:
        """Twice the rows and columns."""
        return self.add("upsample", stride=2)

    def route(self, *sources: int, **part: int) -> int:
        """Join the channels of earlier layers, one after the other, or a `part` of each."""
        return self.add("route", layers=self._references(*sources), **part)

    def shortcut(self, source: int, *, activation: str = "linear") -> int:
        """Add an earlier layer to the last one."""
        return self.add("shortcut", **{"from": self._references(source)}, activation=activation)

    def scale_channels(self, source: int) -> int:
        """Multiply each channel of an earlier layer by the last layer's value."""
        return self.add("scale_channels", **{"from": self._references(source)})

    def text(self) -> str:
        """Return the file's text."""
        parts = [[*self._title.lines(), *self._net]]
        for index, lines in enumerate(self._layers):
            number = [f"# layer {index}"] if index in self._named else []
            parts.append([*self._comments.get(index, []), *number, *lines])
        return "\n\n".join("\n".join(part) for part in parts) + "\n"

    def _references(self, *sources: int) -> tuple[int, ...]:
        """How the next layer names earlier ones."""
        here = len(self._layers)
        if not all(0 <= source < here for source in sources):
            raise ValueError(f"layer {here} cannot read {sources}")
        self._named.update(source for source in sources if here - source > NEAR)
        return tuple(s if here - s > NEAR else s - here for s in sources)


def _section(name: str, options: Options) -> list[str]:
    keys = sorted(options, key=_PLACES.__getitem__)
    return [f"[{name}]", *(f"{key}={_text(options[key])}" for key in keys)]


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
