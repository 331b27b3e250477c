"""Selection of evenly spread items."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def evenly_spread(items: Sequence[Item], most: int | None) -> Sequence[Item]:
    """Return at most `most` items, evenly spread, in their order.

    Args:
        items: the items to choose from, such as pictures.
        most: largest number of items to return; None for all.

    Example:
        >>> evenly_spread("abcdef", 3)
        ['a', 'c', 'e']
    """
    count = len(items)
    if most is None or most >= count:
        return items
    return [items[i * count // most] for i in range(most)]
