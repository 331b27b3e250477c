"""Work on many pictures, shared by processes: what each found is put together in order."""

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
"""Pictures that are run together."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How a model goes through pictures, and what it is called.

    Attributes:
        name: of the model, for people.
        runner: what runs the network, for people.
        batch: pictures that are run together, and so stay in one process.
        skips: go on without pictures that cannot be read.
        progress: called with the number of pictures done.
        processes: that share the pictures; all of them must go through them.
        needs_values: raise where nothing can be found for NaN in all pictures, rather than warn.
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
    """What was found in pictures.

    Attributes:
        found: by the place of the picture; nothing for those that cannot be read.
        unread: pictures that cannot be read, by place.
        seconds: of all pictures.
        missing: NaN among the outputs.
    """

    found: dict[int, T] = field(default_factory=dict)
    unread: dict[int, Unread] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)
    missing: MissingValues = field(default_factory=MissingValues)

    def tell_missing(self, name: str, run: "Run") -> None:
        """Say how many outputs were NaN: each process fails, and the first one warns.

        Raises:
            DarkconvError: nothing can be found in any picture, and the run needs it.
        """
        if run.needs_values and self.missing.empty == self.missing.pictures:
            self.missing.check(name)
        elif is_first_process():
            self.missing.warn(name)

    def told_unread(self, what_follows: str) -> tuple[Unread, ...]:
        """Return the pictures that cannot be read, in order; the first process tells of each.

        Args:
            what_follows: what is said of each behind its error.
        """
        unread = tuple(self.unread[place] for place in sorted(self.unread))
        if is_first_process():
            for one in unread:
                tell(followed(one.reason, what_follows))
        return unread


def united(parts: Iterable[Work[T]]) -> Work[T]:
    """Return what several processes found."""
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
    run: Run,
) -> Work[T]:
    """Look at pictures, each in one of the processes, and return what all of them found.

    Args:
        count: of pictures.
        look: takes places of pictures, adds to the work, and yields how many are done.
        run: how it goes through them.
    """
    own, processes = Work[T](), run.processes
    for done in look(processes.share(count, run.batch), own):
        if run.progress:
            run.progress(min(done * processes.world, count))
    return united(processes.gather(own))
