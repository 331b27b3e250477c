"""Options that two words may follow, which click does not know."""

from collections.abc import Mapping, Sequence

JOINT = "\0"
"""Between the two words; no file name can hold it."""


def join_pairs(args: Sequence[str], options: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The arguments, both words of each model behind some options in one.

    Args:
        args: of a command.
        options: that two words may follow, and how the second of these may end.
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
