"""Short trainings of the bundled model."""

import numpy as np

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.dataset import open_dataset

SHARE = 0.02
"""Of what a training moved an array by, that another may be off; signs of small values flip."""


def beginning(*, taught):
    """Where a training starts, and its teacher: the bundled model, which without one is the start.

    With a teacher the start is worse, so that there is something to learn.
    """
    whole = dc.load(digits10_folder() / "digits10.cfg", digits10_folder() / "digits10.weights")
    if not taught:
        return whole, None
    return dc.replace_arrays(whole, {key: 0.9 * v for key, v in whole.arrays.items()}), whole


SGD = {"optimizer": "sgd", "rate": 1e-3}
"""Adam makes as much of rounding as of a gradient."""


def train(folder, model, teacher=None, *, valid=False, computing=None, report=None, **options):
    """What `finetune` makes in six steps on the bundled pictures."""
    data = open_dataset(digits10_folder() / "digits10.data", split="valid")
    recipe = dc.Recipe(steps=6, batch=4, workers=0, **SGD, **options)
    settings = {"folder": folder, "report": report, **(computing or {"device": "cpu"})}
    return dc.finetune(model, data, teacher, recipe, data if valid else None, **settings).last


def assert_same_weights(ours, plain, start):
    """Two trainings from one start moved every array alike."""
    for key, values in plain.arrays.items():
        moved = np.linalg.norm(values - start.arrays[key])
        assert np.linalg.norm(values - ours.arrays[key]) <= SHARE * moved, key
