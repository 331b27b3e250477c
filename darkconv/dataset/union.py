"""Unite several data sets."""

import os
from collections.abc import Sequence
from dataclasses import replace

from darkconv.dataset.reading import united_changes
from darkconv.dataset.sample import Dataset, Sample


def unite(parts: Sequence[Dataset], source: str) -> Dataset:
    """Return one data set made of several; a picture that occurs in two is taken from the first.

    Args:
        parts: the data sets in the order in which they count.
        source: the name of the result in messages.
    """
    if len(parts) == 1:
        return replace(parts[0], source=source)
    samples: list[Sample] = []
    taken: set[str] = set()
    for part in parts:
        paths = [os.path.abspath(sample.image) for sample in part.samples]
        pairs = zip(paths, part.samples, strict=True)
        samples += [sample for path, sample in pairs if path not in taken]
        taken.update(paths)
    return Dataset(
        samples=tuple(samples),
        names=tuple(dict.fromkeys(name for part in parts for name in part.names)),
        source=source,
        problems=tuple(line for part in parts for line in part.problems),
        changes=united_changes(parts),
        notes=tuple(dict.fromkeys(line for part in parts for line in part.notes)),
        layouts=tuple(layout for part in parts for layout in part.layouts),
    )
