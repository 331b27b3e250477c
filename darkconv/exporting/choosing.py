"""Options of formats as the command line spells them: each has to be about one of the files."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from darkconv.backends.choices import HEADS_OF
from darkconv.exporting.formats import HEADS_BY_SUFFIX, OPTIONS_BY_SUFFIX
from darkconv.loading.formats import RUNNABLE_SUFFIXES

logger = logging.getLogger("darkconv")

NEGATED = {"fold": "no-fold", "check": "no-check"}
"""Options that are given to be turned off, by their names."""


def fault_of(
    chosen: Iterable[str], smaller: Iterable[str], head: str, suffixes: set[str]
) -> str | None:
    """Return what is wrong with options that are about no file; None where nothing is.

    Args:
        chosen: names of options that the user gave.
        smaller: of half precision or 8 bits, likewise.
        head: kind of outputs.
        suffixes: of the files that are written.
    """
    homes: dict[str, Sequence[str]] = {
        name: [suffix for suffix, own in OPTIONS_BY_SUFFIX.items() if name in own]
        for name in chosen
    }
    homes |= {name: RUNNABLE_SUFFIXES for name in smaller}
    for name, known in homes.items():
        if not suffixes & set(known):
            *others, last = known
            kinds = f"{', '.join(others)} and {last}" if others else last
            return f"{spelled(name)} is about {kinds} files, and none is written"
    for name, heads in HEADS_OF.items():
        if name in homes and head not in heads:
            return f"{spelled(name)} would do nothing: it is about --head {' and '.join(heads)}"
    able = [suffix for suffix, heads in HEADS_BY_SUFFIX.items() if head in heads]
    if any(suffix not in able for suffix in suffixes & HEADS_BY_SUFFIX.keys()):
        return f"--head {head} is about {' and '.join(able)} files"
    return None


def tell_of_others(chosen: Iterable[str], suffixes: Mapping[Path, str]) -> None:
    """Say of each file which options it does not have, where another one has them.

    Args:
        chosen: names of options that the user gave.
        suffixes: of the files, by their paths.
    """
    for path, suffix in suffixes.items():
        known = OPTIONS_BY_SUFFIX.get(suffix, ())
        missing = [spelled(name) for name in chosen if name not in known]
        if missing:
            is_one = len(missing) == 1
            logger.warning(
                "%s: %s %s nothing here: %s no option of %s files",
                path,
                " and ".join(missing),
                "does" if is_one else "do",
                "it is" if is_one else "they are",
                suffix,
            )


def spelled(name: str) -> str:
    """Return an option as it is given: `--no-fold`."""
    return f"--{NEGATED.get(name, name.replace('_', '-'))}"
