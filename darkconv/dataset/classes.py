"""Classes of labels and classes of models: renamed, and matched where only the spelling differs."""

from collections.abc import Mapping

from darkconv.dataset.sample import Dataset
from darkconv.errors import DatasetError, Where


def renamed(dataset: Dataset, mapping: Mapping[str, str]) -> Dataset:
    """Return a data set with other class names; two classes may get the same one.

    Raises:
        DatasetError: a class that the data set does not have.
    """
    unknown = [name for name in mapping if name not in dataset.names]
    if unknown:
        raise DatasetError(
            f"no label is of the class {', '.join(unknown)}, which is to be renamed",
            where=Where(file=dataset.source),
            expected=f"one of {', '.join(dataset.names[:20]) or 'no classes'}",
        )
    return dataset.renamed(mapping)
