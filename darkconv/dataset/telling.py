"""Warn of what was skipped, changed, matched and left out in a data set."""

from collections.abc import Mapping, Sequence

from darkconv.core.names import same_name
from darkconv.core.processes import is_first_process
from darkconv.dataset.class_folders import ClassifiedDataset
from darkconv.dataset.classes import UnknownClass
from darkconv.dataset.reading import told_changes
from darkconv.dataset.sample import Dataset
from darkconv.errors import DatasetError, Where
from darkconv.files.notice import logger, tell

SHOWN_PROBLEMS = 10
SHOWN_CLASSES = 30


def report_problems(dataset: Dataset | ClassifiedDataset) -> None:
    """Warn of skipped entries, the first lines and a count, and of changes, a line for each kind.

    Each warning is given once for a job, and only by the first of several processes.

    Args:
        dataset: the data set whose `problems`, `changes` and `notes` are given.
    """
    if not is_first_process():
        return
    if isinstance(dataset, Dataset):
        for line in (*dataset.notes, *told_changes(dataset)):
            tell(line)
    count = len(dataset.problems)
    if not count:
        return
    lines = dataset.problems[:SHOWN_PROBLEMS]
    if not tell(lines[0], key="\n".join(dataset.problems)):
        return
    for line in lines[1:]:
        logger.warning("%s", line)
    noun = "problem" if count == 1 else "problems"
    shown = f", the first {SHOWN_PROBLEMS} are shown" if count > SHOWN_PROBLEMS else ""
    logger.warning("%s: %d %s in pictures and labels%s", dataset.source, count, noun, shown)


def report_classes(
    dataset: Dataset, changed: Mapping[str, str], left_out: Sequence[UnknownClass]
) -> None:
    """Warn of classes that were matched by their spelling, and of classes that do not count.

    Args:
        dataset: the data set, with the model's class names.
        changed: the model's names by the labels' names.
        left_out: the classes of labels that the model does not have.
    """
    if not is_first_process():
        return
    labelled = {name for sample in dataset.samples for name in sample.names}
    same = [
        f"{name} is {other}"
        for name, other in changed.items()
        if other in labelled and same_name(name) != same_name(other)
    ]
    if same:
        tell(f"{dataset.source}: known spellings of the model's classes: {', '.join(same)}")
    for one in told_left_out(left_out):
        tell(f"{dataset.source}: {one}")


def told_left_out(left_out: Sequence[UnknownClass]) -> list[str]:
    """Return what is said about classes that a model does not have.

    A class that may be one of the model's under another name has a line of its own, and all
    others share one: a model of a few classes lacks most classes of its data set on purpose.

    Args:
        left_out: the classes, those with most boxes first.
    """
    alike = [one for one in left_out if one.nearest][:SHOWN_CLASSES]
    others = [one for one in left_out if one not in alike]
    if len(others) < 2:
        return [str(one) for one in (*alike, *others)]
    shown, rest = others[:SHOWN_CLASSES], others[SHOWN_CLASSES:]
    listed = ", ".join(f"{one.name} {one.boxes:,}" for one in shown)
    more = f" and {len(rest)} more" if rest else ""
    boxes = sum(one.boxes for one in others)
    return [
        *map(str, alike),
        f"the model does not have {len(others)} of the labels' classes, so {boxes:,} boxes are "
        f"left out ({listed}{more}); --rename {shown[0].renaming} (in Python rename=) counts those "
        "of one class",
    ]


def report_unread(dataset: Dataset | ClassifiedDataset, count: int) -> None:
    """Warn of the number of pictures that could not be read, each of which was reported before.

    Args:
        dataset: the data set that the pictures belong to.
        count: the number of pictures that could not be read.

    Raises:
        DatasetError: no picture could be read.
    """
    if count and count == len(dataset.samples):
        raise DatasetError("no picture could be read", where=Where(file=dataset.source))
    if count and is_first_process():
        total = len(dataset.samples)
        tell(f"{dataset.source}: {count} of {total} pictures could not be read")
