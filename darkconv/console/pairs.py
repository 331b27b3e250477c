"""Join two words that follow an option into one, which click cannot do."""

from collections.abc import Mapping, Sequence

JOINT = "\0"
"""Separator of the two words; no file name can hold it."""


def join_pairs(args: Sequence[str], options: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the arguments, with the two words of a model after some options joined into one.

    Args:
        args: arguments of a command.
        options: options that two words may follow, each with the endings of the second word.
    """
    joined: list[str] = []
    rest = list(args)
    starts = tuple(f"{name}=" if name.startswith("--") else name for name in options)
    while rest:
        option = word = rest.pop(0)
        if word in options and rest:
            joined.append(word)
            word = rest.pop(0)
        elif not word.startswith(starts) or (word.startswith("--") and "=" not in word):
            joined.append(word)
            continue
        ends = options.get(option) or options[next(n for n in options if option.startswith(n))]
        if word.endswith(".cfg") and rest and rest[0].lower().endswith(ends):
            word += JOINT + rest.pop(0)
        joined.append(word)
    return joined
