"""Read a source in a thread of its own, ahead of the consumer."""

import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Any, TypeVar

logger = logging.getLogger("darkconv")

WAIT = 0.1
"""The seconds after which the thread checks whether it should stop."""
PATIENCE = 2.0
"""The seconds that the thread gets to end; a thread that waits for a camera may take longer."""
T = TypeVar("T")


@dataclass(frozen=True)
class _Failed:
    error: BaseException


class _End:
    """The mark after the last item."""


def read_ahead(items: Iterable[T], depth: int, *, newest: bool = False) -> Iterator[T]:
    """Yield the items of a source that a thread of its own reads ahead.

    An exception of the source is raised here, at its place among the items.

    Args:
        items: the source, which only the thread iterates over.
        depth: the number of items that are kept ready.
        newest: keep only the newest item: one that was not taken when the next one comes is
            dropped. At the end a warning counts the dropped ones.
    """
    box: Queue[Any] = Queue(1 if newest else depth)
    stop = threading.Event()
    lost = [0]
    thread = threading.Thread(
        target=_fill, args=(iter(items), box, stop, lost, newest), daemon=True, name="darkconv-read"
    )
    thread.start()
    try:
        while True:
            one = _taken(box)
            if isinstance(one, _Failed):
                raise one.error
            if one is _End:
                return
            yield one
    finally:
        stop.set()
        thread.join(PATIENCE)
        if lost[0]:
            logger.warning("%d frames came faster than they were looked at: left out", lost[0])


def _fill(
    items: Iterator[Any], box: "Queue[Any]", stop: threading.Event, lost: list[int], newest: bool
) -> None:
    try:
        for one in items:
            if newest and box.full():
                try:
                    box.get_nowait()
                    lost[0] += 1
                except Empty:
                    pass
            if not _put(box, one, stop):
                break
        end: Any = _End
    except BaseException as error:
        end = _Failed(error)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()
    _put(box, end, stop)


def _taken(box: "Queue[Any]") -> Any:
    """Wait for the next item, in short waits, so that signals come through on Windows."""
    while True:
        try:
            return box.get(timeout=WAIT)
        except Empty:
            continue


def _put(box: "Queue[Any]", one: Any, stop: threading.Event) -> bool:
    """Wait until there is room; return False if the consumer has stopped."""
    while not stop.is_set():
        try:
            box.put(one, timeout=WAIT)
            return True
        except Full:
            continue
    return False
