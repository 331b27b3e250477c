"""Share the work on many pictures among processes, and join their results in order."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Generic, TypeVar

from darkconv.core.processes import ALONE, Processes, is_first_process
from darkconv.detection.missing import MissingValues
from darkconv.detection.stream import Seconds
from darkconv.errors import followed
from darkconv.evaluation.result import Unread
from darkconv.files.notice import tell

T = TypeVar("T")
BATCH = 8
"""Number of pictures that run together."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of a run of a model over pictures.

    Attributes:
        name: name of the model, for messages.
        runner: name of the program that runs the network, for messages.
        batch: number of pictures that run together, and so stay in one process.
        skips: True to go on without pictures that cannot be read.
        progress: called with the number of pictures that are done.
        processes: the processes that share the pictures; all of them must take part.
        needs_values: True to raise an error rather than warn where the outputs for all pictures are
            NaN.
    """

    name: str
    runner: str
    batch: int = BATCH
    skips: bool = True
    progress: Callable[[int], None] | None = None
    processes: Processes = ALONE
    needs_values: bool = True


@dataclass
class Work(Generic[T]):
    """The results of a run over pictures.

    Attributes:
        found: the result of each picture, by its index; pictures that cannot be read are left out.
        unread: pictures that cannot be read, by their index.
        seconds: time of each step, over all pictures.
        missing: counts of NaN in the outputs.
    """

    found: dict[int, T] = field(default_factory=dict)
    unread: dict[int, Unread] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)
    missing: MissingValues = field(default_factory=MissingValues)

    def tell_missing(self, name: str, run: "RunSettings") -> None:
        """Report how many outputs were NaN: the first process warns, or every process fails.

        Args:
            name: name of the model.
            run: the settings of the run.

        Raises:
            DarkconvError: nothing could be found in any picture because of NaN, and the run needs
                values.
        """
        if run.needs_values and self.missing.empty == self.missing.pictures:
            self.missing.check(name)
        elif is_first_process():
            self.missing.warn(name)

    def told_unread(self, what_follows: str) -> tuple[Unread, ...]:
        """Return the pictures that cannot be read, in order; the first process warns of each.

        Args:
            what_follows: text that is added to each warning.
        """
        unread = tuple(self.unread[place] for place in sorted(self.unread))
        if is_first_process():
            for one in unread:
                tell(followed(one.reason, what_follows))
        return unread


def united(parts: Iterable[Work[T]]) -> Work[T]:
    """Return the joined results of several processes.

    Args:
        parts: the results of each process.
    """
    whole = Work[T]()
    for part in parts:
        whole.found.update(part.found)
        whole.unread.update(part.unread)
        for own, other in ((whole.seconds, part.seconds), (whole.missing, part.missing)):
            for name, value in asdict(other).items():
                setattr(own, name, getattr(own, name) + value)
    return whole


def shared_work(
    count: int,
    look: Callable[[Sequence[int], Work[T]], Iterable[int]],
    run: RunSettings,
) -> Work[T]:
    """Run over pictures, each in one of the processes.

    Args:
        count: number of pictures.
        look: takes indices of pictures, adds to the results, and yields how many are done.
        run: the settings of the run.

    Returns:
        The joined results of all processes.
    """
    own, processes = Work[T](), run.processes
    for done in look(processes.share(count, run.batch), own):
        if run.progress:
            run.progress(min(done * processes.world, count))
    return united(processes.gather(own))
