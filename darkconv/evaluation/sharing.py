"""Work on many pictures, shared by processes: what each found is put together in order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from darkconv.core.processes import ALONE, Processes
from darkconv.evaluation.result import Unread

T = TypeVar("T")
STEPS = ("reading", "network", "decoding")


@dataclass
class Seconds:
    """What pictures take, summed over those that were measured.

    Attributes:
        reading: the file, and fitting it to the network's input.
        network: the forward pass.
        decoding: boxes from the outputs, and suppression.
    """

    reading: float = 0.0
    network: float = 0.0
    decoding: float = 0.0


@dataclass
class Work(Generic[T]):
    """What was found in pictures.

    Attributes:
        found: by the place of the picture; nothing for those that cannot be read.
        unread: pictures that cannot be read, by place.
        seconds: of all pictures.
    """

    found: dict[int, T] = field(default_factory=dict)
    unread: dict[int, Unread] = field(default_factory=dict)
    seconds: Seconds = field(default_factory=Seconds)

    def per_picture(self, steps: Sequence[str] = STEPS) -> Mapping[str, float]:
        """Return the mean seconds of a picture by step."""
        return {step: getattr(self.seconds, step) / max(len(self.found), 1) for step in steps}


def united(parts: Iterable[Work[T]]) -> Work[T]:
    """Return what several processes found."""
    whole = Work[T]()
    for part in parts:
        whole.found.update(part.found)
        whole.unread.update(part.unread)
        for step in STEPS:
            total = getattr(whole.seconds, step) + getattr(part.seconds, step)
            setattr(whole.seconds, step, total)
    return whole


def shared_work(
    count: int,
    look: Callable[[Sequence[int], Work[T]], Iterable[int]],
    *,
    batch: int,
    progress: Callable[[int], None] | None = None,
    processes: Processes = ALONE,
) -> Work[T]:
    """Look at pictures, each in one of the processes, and return what all of them found.

    Args:
        count: of pictures.
        look: takes places of pictures, adds to the work, and yields how many are done.
        batch: pictures that are run together, and so stay in one process.
        progress: called with the number of pictures done.
        processes: that share the pictures.
    """
    own = Work[T]()
    for done in look(processes.share(count, batch), own):
        if progress:
            progress(min(done * processes.world, count))
    return united(processes.gather(own))
