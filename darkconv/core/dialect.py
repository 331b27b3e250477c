"""The two dialects of Darknet: every rule in which the C programs differ, named once.

`pjreddie` is the original program; `alexeyab` is the fork by AlexeyAB, whose rules the later
hank-ai program shares. Source of each rule: golden/DIALECTS.md.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Dialect:
    """One program's rules. There is one object of each, also in copies and behind pickles.

    Attributes:
        name: `pjreddie` or `alexeyab`.
        revision: third number of the weights header that the program writes (0.2.revision).
        variance_epsilon: batch norm divides by sqrt(variance + variance_epsilon) ...
        deviation_epsilon: ... + deviation_epsilon (the original adds 1e-6 outside the root).
        seen_width_tests_version: the image counter of weights whose major or minor version
            is 1000 or more has 4 bytes; without the test it has 8.
        batchnorm_has_biases: a stand-alone [batchnorm] stores biases.
        shortcut_resamples: [shortcut] joins maps of different size, with alpha and beta.
        recurrent_is_map: [rnn] and [lstm] give an n x 1 x 1 map, not a plain vector.
        region_is_cell_major: [region] output is [cell][anchor][entry], x and y not squashed.
        letterboxes: the detector fits pictures with a border unless told otherwise.
        groups_spread: groups that do not divide the channels begin at group * channels / groups,
            rounded down; else each follows the last one.
        pointwise_ignores_strides: on the CPU a 1x1 convolution takes the map as it lies, whatever
            its stride; else only where `stride_x` is 1.
        xnor_uses_folded_weights: [convolutional] xnor=1 takes signs of batch-norm-folded
            weights, pads with -1 and has one group.
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
    letterboxes: bool
    groups_spread: bool
    pointwise_ignores_strides: bool
    xnor_uses_folded_weights: bool

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
    letterboxes=False,
    groups_spread=False,
    pointwise_ignores_strides=False,
    xnor_uses_folded_weights=True,
)
DIALECTS = {dialect.name: dialect for dialect in (PJREDDIE, ALEXEYAB)}


def _of_name(name: str) -> Dialect:
    return DIALECTS[name]
