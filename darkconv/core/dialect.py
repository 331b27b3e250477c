"""The dialects of Darknet: every rule in which the programs differ, named once.

`pjreddie` is the original program; `alexeyab` is the fork by AlexeyAB, whose rules the later
hank-ai program shares. Source of each rule: golden/DIALECTS.md. `yolor` is no C program: it is
WongKinYiu's PyTorch program of that name, which reads cfgs in alexeyab's words and computes a few
things otherwise (its models/models.py and utils/layers.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

GPU_EPSILON = 1e-5
"""Both C programs add it to a batch's variance on a GPU."""


@dataclass(frozen=True, eq=False)
class Dialect:
    """One program's rules. There is one object of each, also in copies and behind pickles.

    Attributes:
        name: `pjreddie`, `alexeyab` or `yolor`.
        revision: third number of the weights header that the program writes (0.2.revision).
        variance_epsilon: batch norm divides by sqrt(variance + variance_epsilon) ...
        deviation_epsilon: ... + deviation_epsilon (the original adds 1e-6 outside the root).
        seen_width_tests_version: the image counter of weights whose major or minor version
            is 1000 or more has 4 bytes; without the test it has 8.
        batchnorm_has_biases: a stand-alone [batchnorm] stores biases.
        shortcut_resamples: [shortcut] joins maps of different size, with alpha and beta.
        recurrent_is_map: [rnn] and [lstm] give an n x 1 x 1 map, not a plain vector.
        region_is_cell_major: [region] output is [cell][anchor][entry], x and y not squashed.
        first_head_scores: boxes of all heads have room for the scores of the first head's
            classes; else for those of the last.
        letterboxes: the detector fits pictures with a border unless told otherwise.
        groups_spread: groups that do not divide the channels begin at group * channels / groups,
            rounded down; else each follows the last one.
        pointwise_ignores_strides: on the CPU a 1x1 convolution takes the map as it lies, whatever
            its stride; else only where `stride_x` is 1.
        xnor_uses_folded_weights: [convolutional] xnor=1 takes signs of batch-norm-folded
            weights, pads with -1 and has one group.
        reorg_splits_space: [reorg] is a space-to-depth by 2, column by column of each block.
        yolo_squashes_sizes: [yolo] has a sigmoid on w and h too, squares them for the size of a
            box, and stretches x and y by 2, whatever the cfg says.
        base: the dialect whose sections, options and other rules it shares.
    """

    name: str
    revision: int
    variance_epsilon: float
    deviation_epsilon: float
    seen_width_tests_version: bool
    batchnorm_has_biases: bool
    shortcut_resamples: bool
    recurrent_is_map: bool
    region_is_cell_major: bool
    first_head_scores: bool
    letterboxes: bool
    groups_spread: bool
    pointwise_ignores_strides: bool
    xnor_uses_folded_weights: bool
    reorg_splits_space: bool = False
    yolo_squashes_sizes: bool = False
    base: "Dialect | None" = None

    @property
    def batch_epsilon(self) -> float:
        """What batch norm adds to a batch's variance in training; C's own on a GPU."""
        return self.variance_epsilon or GPU_EPSILON

    def follows(self, other: "Dialect") -> bool:
        """Return True if this is the other dialect, or is built on it."""
        return self is other or self.base is other

    def __str__(self) -> str:
        """The name."""
        return self.name

    def __reduce__(self) -> tuple[Callable[[str], "Dialect"], tuple[str]]:
        """By name."""
        return _of_name, (self.name,)


PJREDDIE = Dialect(
    name="pjreddie",
    revision=0,
    variance_epsilon=0.0,
    deviation_epsilon=1e-6,
    seen_width_tests_version=True,
    batchnorm_has_biases=False,
    shortcut_resamples=True,
    recurrent_is_map=False,
    region_is_cell_major=False,
    first_head_scores=False,
    letterboxes=True,
    groups_spread=True,
    pointwise_ignores_strides=True,
    xnor_uses_folded_weights=False,
)
ALEXEYAB = Dialect(
    name="alexeyab",
    revision=5,
    variance_epsilon=1e-5,
    deviation_epsilon=0.0,
    seen_width_tests_version=False,
    batchnorm_has_biases=True,
    shortcut_resamples=False,
    recurrent_is_map=True,
    region_is_cell_major=True,
    first_head_scores=True,
    letterboxes=False,
    groups_spread=False,
    pointwise_ignores_strides=False,
    xnor_uses_folded_weights=True,
)
YOLOR = replace(
    ALEXEYAB,
    name="yolor",
    variance_epsilon=1e-4,
    letterboxes=True,
    reorg_splits_space=True,
    yolo_squashes_sizes=True,
    base=ALEXEYAB,
)
DIALECTS = {dialect.name: dialect for dialect in (PJREDDIE, ALEXEYAB, YOLOR)}


def _of_name(name: str) -> Dialect:
    return DIALECTS[name]
