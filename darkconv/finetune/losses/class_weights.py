"""class_factors: how much each class counts, as `Setting.class_weights` says."""

from torch import Tensor

from darkconv.errors import OptionError, Where
from darkconv.finetune.losses.registry import Setting


def class_factors(setting: Setting, classes: int, like: Tensor) -> Tensor:
    """(classes,) factors of `like`'s type and device; all 1 if the setting has none.

    Raises:
        OptionError: their number is not that of the classes.
    """
    given = setting.class_weights
    if not given:
        return like.new_ones(classes)
    if len(given) != classes:
        raise OptionError(
            where=Where(option="class_weights"),
            expected=f"{classes} numbers, one for each class",
            found=len(given),
        )
    return like.new_tensor(given)
