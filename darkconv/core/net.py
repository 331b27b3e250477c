"""The options of the [net] section."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from darkconv.core.dialect import ALEXEYAB, PJREDDIE, Dialect
from darkconv.core.options import Floats, Ints, Notes, option, read_spec, suggestion
from darkconv.core.section import Line
from darkconv.core.shape import FlatShape, Shape
from darkconv.errors import DarkconvError, Where, shortened

RESIZE_MODES = ("stretch", "letterbox")
POLICIES = ("constant", "random", "poly", "step", "exp", "sigmoid", "steps", "sgdr")
ALEXEYAB_POLICIES = ("sgdr",)


def resolve_policy(name: str, dialect: Dialect) -> tuple[str, str]:
    """Return the learning rate policy that acts, and a note if the cfg names an unknown one.

    Args:
        name: the value of `policy=`.
        dialect: the dialect, since sgdr exists only in alexeyab and its derivatives.

    Returns:
        The name of the policy, which is "constant" for unknown names, and the note or "".
    """
    known = [p for p in POLICIES if dialect.follows(ALEXEYAB) or p not in ALEXEYAB_POLICIES]
    if name in known:
        return name, ""
    near = suggestion(name, known)
    return "constant", f"unknown name {shortened(name)!r} is constant, as in C{near}"


@dataclass(frozen=True, kw_only=True)
class NetOptions:
    """The options of [net]: the input, how pictures are fitted to it, and how C would train.

    The source of the defaults is the appendix of golden/DIALECTS.md.
    """

    dialect: Dialect

    height: int = option(0, minimum=0)
    width: int = option(0, minimum=0)
    channels: int = option(0, minimum=0)
    inputs: int = option(lambda o: o["height"] * o["width"] * o["channels"], minimum=0)
    letter_box: bool = option(False, only=ALEXEYAB)

    batch: int = option(1, minimum=1, training=True)
    subdivisions: int = option(1, minimum=1, training=True)
    time_steps: int = option(1, minimum=1, training=True)
    learning_rate: float = option(0.001, training=True)
    momentum: float = option(0.9, training=True)
    decay: float = option(0.0001, training=True)
    adam: bool = option(False, training=True)
    B1: float = option(0.9, training=True)
    B2: float = option(0.999, training=True)
    eps: float = option(1e-6, pjreddie=1e-7, training=True)
    max_crop: int = option(lambda o: 2 * o["width"], training=True)
    min_crop: int = option(lambda o: o["width"], training=True)
    angle: float = option(0.0, training=True)
    aspect: float = option(1.0, training=True)
    saturation: float = option(1.0, training=True)
    exposure: float = option(1.0, training=True)
    hue: float = option(0.0, training=True)
    policy: str = option("constant", resolve=resolve_policy, training=True)
    burn_in: int = option(0, training=True)
    power: float = option(4.0, training=True)
    step: int = option(1, training=True)
    scale: float = option(1.0, training=True)
    steps: Ints = option((), training=True)
    scales: Floats = option((), training=True)
    gamma: float = option(1.0, training=True)
    max_batches: int = option(0, training=True)

    notruth: bool = option(False, only=PJREDDIE, training=True)
    random: bool = option(False, only=PJREDDIE, training=True)
    max_ratio: float = option(0.0, only=PJREDDIE, training=True)
    min_ratio: float = option(0.0, only=PJREDDIE, training=True)
    center: bool = option(False, only=PJREDDIE, training=True)
    clip: float = option(0.0, only=PJREDDIE, training=True)

    learning_rate_min: float = option(1e-05, only=ALEXEYAB, training=True)
    sgdr_cycle: int = option(lambda o: o["max_batches"], only=ALEXEYAB, training=True)
    sgdr_mult: int = option(2, only=ALEXEYAB, training=True)
    seq_scales: Floats = option((), only=ALEXEYAB, training=True)
    track: int = option(0, only=ALEXEYAB, training=True)
    augment_speed: int = option(2, only=ALEXEYAB, training=True)
    sequential_subdivisions: int = option(lambda o: o["subdivisions"], only=ALEXEYAB, training=True)
    try_fix_nan: int = option(0, only=ALEXEYAB, training=True)
    weights_reject_freq: int = option(0, only=ALEXEYAB, training=True)
    equidistant_point: int = option(0, only=ALEXEYAB, training=True)
    badlabels_rejection_percentage: float = option(0.0, only=ALEXEYAB, training=True)
    num_sigmas_reject_badlabels: float = option(0.0, only=ALEXEYAB, training=True)
    ema_alpha: float = option(0.0, only=ALEXEYAB, training=True)
    use_cuda_graph: int = option(0, only=ALEXEYAB, training=True)
    loss_scale: float = option(1.0, only=ALEXEYAB, training=True)
    dynamic_minibatch: int = option(0, only=ALEXEYAB, training=True)
    optimized_memory: int = option(0, only=ALEXEYAB, training=True)
    workspace_size_limit_MB: int = option(1024, only=ALEXEYAB, training=True)
    flip: int = option(1, only=ALEXEYAB, training=True)
    blur: int = option(0, only=ALEXEYAB, training=True)
    gaussian_noise: int = option(0, only=ALEXEYAB, training=True)
    mixup: int = option(0, only=ALEXEYAB, training=True)
    cutmix: int = option(0, only=ALEXEYAB, training=True)
    mosaic: int = option(0, only=ALEXEYAB, training=True)
    mosaic_bound: int = option(0, only=ALEXEYAB, training=True)
    contrastive: int = option(0, only=ALEXEYAB, training=True)
    contrastive_jit_flip: int = option(0, only=ALEXEYAB, training=True)
    contrastive_color: int = option(0, only=ALEXEYAB, training=True)
    unsupervised: int = option(0, only=ALEXEYAB, training=True)
    label_smooth_eps: float = option(0.0, only=ALEXEYAB, training=True)
    resize_step: int = option(32, only=ALEXEYAB, training=True)
    attention: int = option(0, only=ALEXEYAB, training=True)
    adversarial_lr: float = option(0.0, only=ALEXEYAB, training=True)
    max_chart_loss: float = option(20.0, only=ALEXEYAB, training=True)
    show_receptive_field: int = option(0, only=ALEXEYAB, training=True)

    @classmethod
    def read(cls, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes) -> Self:
        """Read the options of the section into typed fields.

        Args:
            lines: the lines of the section by option name.
            dialect: the dialect whose rules and defaults hold.
            where: place of the section, used in messages.
            notes: collects remarks about odd options.

        Raises:
            OptionError: an option has a value that cannot be used.
        """
        return read_spec(cls, lines, dialect, where, notes)

    @property
    def input_shape(self) -> Shape:
        """Return (channels, height, width), or the shape of a vector if only `inputs` is given."""
        if self.height and self.width and self.channels:
            return Shape(self.channels, self.height, self.width)
        return FlatShape.of(self.inputs)

    @property
    def letterboxes(self) -> bool:
        """Return True if the detector keeps the proportions of a picture by adding a border."""
        return self.dialect.letterboxes or self.letter_box

    def resize_mode(self, wanted: str | None) -> str:
        """Return how pictures are fitted to the input.

        Args:
            wanted: "stretch" or "letterbox"; None to follow the dialect and `letter_box`.

        Raises:
            DarkconvError: the word is unknown.
        """
        if wanted is None:
            return "letterbox" if self.letterboxes else "stretch"
        check_resize(wanted)
        return wanted


def check_resize(word: str) -> None:
    """Raise an error unless a word names a way of fitting pictures to the input.

    Args:
        word: "stretch" or "letterbox".

    Raises:
        DarkconvError: the word is neither of them.
    """
    if word not in RESIZE_MODES:
        raise DarkconvError("resize", expected=" or ".join(RESIZE_MODES), found=word)
