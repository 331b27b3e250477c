"""Running: how pictures are run through models, and who is told how far that is."""

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, int, int], None]
"""Takes what is done, how many are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """How pictures are run through models.

    Attributes:
        batch: pictures that are run together.
        device: see `dissect`.
        resize: see `dissect`.
        unreadable: see `dissect`.
        progress: see `dissect`.
    """

    batch: int = 8
    device: str = "auto"
    resize: str | None = None
    unreadable: str = "skip"
    progress: Progress | None = None

    def check(self) -> None:
        """Check what can be checked before anything is read.

        Raises:
            DarkconvError: there is no such device, way of fitting pictures, or batch.
        """
        from darkconv.backends.torch.device import choose_device
        from darkconv.detection.stream import check_batches
        from darkconv.pictures.picture import resize_mode

        choose_device(self.device)
        resize_mode(self.resize, default=False)
        check_batches(self.batch, self.unreadable)

    def told(self, task: str, total: int) -> Callable[[int], None] | None:
        """Return what takes the number of things done of a task."""
        progress = self.progress
        return None if progress is None else lambda done: progress(task, done, total)
