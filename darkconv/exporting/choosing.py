"""Checks of the options of formats on the command line: each must apply to one of the files."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from darkconv.backends.choices import HEADS_OF
from darkconv.exporting.formats import HEADS_BY_SUFFIX, OPTIONS_BY_SUFFIX
from darkconv.loading.formats import RUNNABLE_SUFFIXES

logger = logging.getLogger("darkconv")

NEGATED = {"fold": "no-fold", "check": "no-check"}
"""Names on the command line of options that are on by default, by their names in Python."""


def fault_of(
    chosen: Iterable[str], smaller: Iterable[str], head: str, suffixes: set[str]
) -> str | None:
    """Return the fault of options that apply to none of the files; None where there is none.

    Args:
        chosen: names of options that the user gave.
        smaller: names of options of half precision or 8 bits that the user gave.
        head: kind of outputs.
        suffixes: suffixes of the files that are written.
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
    """Log a warning for each file about the options that its format does not have.

    Args:
        chosen: names of options that the user gave; each applies to at least one file.
        suffixes: suffixes of the files, by path.
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
    """Return an option as it is written on the command line: `--no-fold`.

    Args:
        name: name of the option in Python.
    """
    return f"--{NEGATED.get(name, name.replace('_', '-'))}"
