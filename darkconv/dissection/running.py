"""Running: settings with which pictures are run through models, and the progress function."""

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, int, int], None]
"""Takes the name of a task, the number of things done, and their total."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """Settings with which pictures are run through models.

    Attributes:
        batch: number of pictures that are run together.
        device: name of the device, see `dissect`.
        resize: "stretch" or "letterbox"; None for what the dialect and cfg say.
        unreadable: "skip" or "raise", see `dissect`.
        progress: progress function; None for none.
    """

    batch: int = 8
    device: str = "auto"
    resize: str | None = None
    unreadable: str = "skip"
    progress: Progress | None = None

    def check(self) -> None:
        """Check the fields before anything is read.

        Raises:
            DarkconvError: the device does not exist, or one of the other fields has an impossible
                value.
        """
        from darkconv.backends.torch.device import choose_device
        from darkconv.detection.stream import check_batches
        from darkconv.pictures.picture import resize_mode

        choose_device(self.device)
        resize_mode(self.resize, default=False)
        check_batches(self.batch, self.unreadable)

    def told(self, task: str, total: int) -> Callable[[int], None] | None:
        """Return a function that takes the number of things done; None without a progress function.

        Args:
            task: name of the task.
            total: number of things to do.
        """
        progress = self.progress
        return None if progress is None else lambda done: progress(task, done, total)
