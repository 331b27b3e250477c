"""The dialects of Darknet: every rule in which the programs differ, named once.

`pjreddie` is the original program. `alexeyab` is the fork by AlexeyAB; the later hank-ai program
follows the same rules. The source of each rule is given in golden/DIALECTS.md. `yolor` is not a C
program but WongKinYiu's PyTorch program of that name. It reads cfgs with alexeyab's sections and
options, and computes a few things differently (see its models/models.py and utils/layers.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

GPU_EPSILON = 1e-5
"""Both C programs add this number to the variance of a batch on a GPU."""


@dataclass(frozen=True, eq=False)
class Dialect:
    """The rules of one program; copying or unpickling a dialect gives the same object.

    Attributes:
        name: `pjreddie`, `alexeyab` or `yolor`.
        revision: third number of the version (0.2.revision) that the program writes into the header
            of a weights file.
        variance_epsilon: number that batch norm adds to the variance before it takes the square
            root.
        deviation_epsilon: number that batch norm adds to the square root (the original program adds
            1e-6).
        seen_width_tests_version: True if the image counter of a weights file whose major or minor
            version is 1000 or more has 4 bytes; otherwise it has 8.
        batchnorm_has_biases: True if a stand-alone [batchnorm] layer stores biases.
        shortcut_resamples: True if [shortcut] joins feature maps of different sizes, with the
            factors alpha and beta.
        recurrent_is_map: True if [rnn] and [lstm] output an n x 1 x 1 feature map, not a plain
            vector.
        region_is_cell_major: True if the output of [region] is ordered [cell][anchor][entry],
            without a sigmoid on x and y.
        first_head_scores: True if the boxes of all heads have as many scores as the first head has
            classes; otherwise as many as the last head has.
        letterboxes: True if the detector letterboxes pictures unless it is told otherwise.
        groups_spread: rule for groups that do not divide the number of channels. If True, group g
            begins at channel g * channels / groups, rounded down; otherwise each group begins where
            the one before it ends.
        pointwise_ignores_strides: True if a 1x1 convolution on the CPU always reads the feature map
            as it is stored, whatever its stride; otherwise it does so only if `stride_x` is 1.
        xnor_uses_folded_weights: True if [convolutional] with xnor=1 takes the signs of weights
            into which batch norm is folded, pads with -1 and has one group.
        reorg_splits_space: True if [reorg] is a space-to-depth by 2 that takes each block column by
            column.
        yolo_squashes_sizes: True if [yolo], whatever the cfg says, also applies a sigmoid to w and
            h, squares them to get the size of a box, and stretches x and y by 2.
        base: the dialect whose sections, options and remaining rules this one shares; None if there
            is none.
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
        """Return the number added to a batch's variance in training.

        It is `variance_epsilon`, or the one of C's GPU code where that is 0.
        """
        return self.variance_epsilon or GPU_EPSILON

    def follows(self, other: "Dialect") -> bool:
        """Return True if this is the other dialect or is based on it.

        Args:
            other: the dialect to compare with.
        """
        return self is other or self.base is other

    def __str__(self) -> str:
        """Return the name of the dialect."""
        return self.name

    def __reduce__(self) -> tuple[Callable[[str], "Dialect"], tuple[str]]:
        """Return what a pickle holds: the name, by which the one object of the dialect is found."""
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
