"""Find objects in many pictures: read ahead, run in batches, and return the results in order."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from darkconv.core.processors import count_processors
from darkconv.core.views import Shown, View
from darkconv.detection.engine import Engine
from darkconv.detection.found import Detections
from darkconv.detection.missing import MissingValues
from darkconv.detection.reading import read_ahead
from darkconv.detection.sources import PictureSource, SourcePicture, open_source
from darkconv.errors import DarkconvError, DatasetError
from darkconv.files.notice import tell_once
from darkconv.pictures.picture import Picture, PictureFit, check_order

logger = logging.getLogger("darkconv")

READERS = min(8, max(1, count_processors() // 2))
"""The threads that read pictures; decoding a JPEG file may take longer than a small network."""
AHEAD = 2 * READERS + 1
"""The pictures that are read while the network runs, in addition to those of the next batch."""
FRAMES = 4
"""The frames of a video that are decoded while the network runs."""
UNREADABLE = ("raise", "skip")
"""The treatments of a picture that cannot be read."""

T = TypeVar("T")
S = TypeVar("S")


@dataclass
class Seconds:
    """The time that the steps take, summed over pictures, in seconds.

    Other threads read pictures while the network computes, so the steps may add up to more than the
    total time.

    Attributes:
        reading: reading and decoding the file, and fitting it to the network's input.
        network: the forward pass.
        decoding: decoding boxes from the outputs, and non-maximum suppression.
        pictures: the number of pictures.
    """

    reading: float = 0.0
    network: float = 0.0
    decoding: float = 0.0
    pictures: int = 0

    def per_picture(self) -> dict[str, float]:
        """Return the mean seconds of each step for one picture."""
        parts = asdict(self)
        count = parts.pop("pictures")
        return {name: total / max(count, 1) for name, total in parts.items()}


@dataclass(frozen=True, eq=False, repr=False)
class Frame(Shown):
    """One picture of a source, with the objects that were found in it.

    Attributes:
        picture: uint8 levels, (H, W, 3) RGB or (H, W, 1) grey.
        index: the index in the source, from 0; skipped pictures count.
        time: in a video, the seconds from its beginning; None for pictures.
        source: the file that it comes from, or "picture".
        found: the detections, best first.

    Example:
        >>> import darkconv as dc
        >>> detector = dc.Detector(dc.load("digits10.cfg", "digits10.weights"))
        >>> frame = next(iter(detector.stream("images")))
        >>> frame.index, frame.picture.shape, frame.source
        (0, (190, 193, 3), 'images/000.jpg')
    """

    picture: Picture
    index: int
    time: float | None
    source: str
    found: Detections

    def to_dict(self) -> dict[str, Any]:
        """Return the picture's source and its detections, as values that JSON can hold."""
        place = {"source": self.source, "frame": self.index, "time": self.time}
        return {**place, **self.found.to_dict()}

    def _view(self) -> View:
        """Return the views for text and notebooks."""
        from darkconv.detection.tables import FRAME_VIEW

        return FRAME_VIEW


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture that is ready for the network.

    Attributes:
        item: the picture's place in the source.
        picture: its uint8 levels, (H, W, 3) RGB or (H, W, 1) grey.
        x: the network input, (1, ...).
        fit: its geometry in the network input.
        seconds: the seconds that reading and fitting took.
    """

    item: SourcePicture
    picture: Picture
    x: npt.NDArray[Any]
    fit: PictureFit
    seconds: float


def stream(
    engine: Engine,
    source: Any,
    *,
    batch: int = 1,
    unreadable: str = "raise",
    order: str = "rgb",
    every: int = 1,
    seconds: Seconds | None = None,
    skipped: list[DatasetError] | None = None,
    what_follows: str = ": skipped",
) -> Iterator[Frame]:
    """Find objects in all pictures of a source, in order; hidden classes are found too.

    While the network runs on a batch, the next pictures are read.

    Args:
        engine: the engine that finds them: see `darkconv.detection.engine.make_engine`.
        source: a source that `darkconv.detection.sources.open_source` takes, or its result.
        batch: the number of pictures that the network takes at once.
        unreadable: "raise" or "skip": see `read_batches`.
        order: the order of the channels of arrays: "rgb" or "bgr".
        every: take the first picture, and then every `every`-th.
        seconds: a record to which the time of all pictures is added; None keeps none.
        skipped: a list to which the errors of skipped pictures are added: see `read_batches`.
        what_follows: the end of the warning about a skipped picture: see `read_batches`.

    Yields:
        A `Frame` for each picture that can be read.

    Raises:
        DatasetError: see `read_batches`.
        DarkconvError: an option is wrong, or the network's outputs are NaN in all pictures.
    """
    check_order(order)
    check_batches(batch, unreadable)
    if every < 1:
        raise DarkconvError("every", expected="a number from 1", found=every)
    opened = source
    if not isinstance(source, PictureSource):
        opened = open_source(source, every=every, unreadable=unreadable)

    items = read_ahead(opened, FRAMES, newest=opened.is_live) if opened.videos else opened
    batches = read_batches(
        partial(prepare_item, engine, order=order),
        items,
        batch=batch,
        unreadable=unreadable,
        skipped=skipped,
        what_follows=what_follows,
        ahead=0 if opened.is_live else AHEAD,
    )
    return _frames(engine, batches, Seconds() if seconds is None else seconds)


def prepare_item(engine: Engine, item: SourcePicture, *, order: str = "rgb") -> Prepared:
    """Read a picture, and fit it to the network's input.

    Args:
        engine: the engine whose input it becomes.
        item: the picture in the source, in any form.
        order: the order of the channels of an array: "rgb" or "bgr".

    Returns:
        The picture with its network input.

    Raises:
        DatasetError: the picture cannot be read.
    """
    start = time.perf_counter()
    picture = engine.read(item.picture, order=order)
    x, fit = engine.prepare(picture)
    return Prepared(item, picture, x, fit, time.perf_counter() - start)


def _frames(
    engine: Engine, batches: Iterator[list[tuple[int, Prepared]]], record: Seconds
) -> Iterator[Frame]:
    missing = MissingValues()
    name = name_of(engine)
    try:
        for group in batches:
            yield from look_at(engine, [one for _, one in group], record, missing)
    except GeneratorExit:
        missing.warn(name)
        raise
    finally:
        close(batches)
    missing.check(name)


def name_of(engine: Engine) -> str:
    """Return the file that an engine runs, for messages.

    Args:
        engine: an engine of a model, a file or a module.
    """
    return os.fspath(getattr(engine.source, "path", None) or engine.network.file)


def look_at(
    engine: Engine,
    group: Sequence[Prepared],
    record: Seconds,
    missing: MissingValues | None = None,
) -> Iterator[Frame]:
    """Run the network on a batch, and find the boxes in each of its pictures.

    Args:
        engine: the engine that finds them.
        group: the pictures of the batch.
        record: the record to which the time is added.
        missing: the counter to which NaN in the outputs is added; None counts none.

    Yields:
        A `Frame` for each picture.
    """
    start = time.perf_counter()
    x = group[0].x if len(group) == 1 else np.concatenate([one.x for one in group])
    outputs = engine.run(x)
    record.network += time.perf_counter() - start
    for place, one in enumerate(group):
        start = time.perf_counter()
        own = [value[place] for value in outputs]
        found = Detections(tuple(engine.find(own, one.fit)))
        if missing is not None:
            missing.add(own, found=len(found))
        record.decoding += time.perf_counter() - start
        record.reading += one.seconds
        record.pictures += 1
        item = one.item
        yield Frame(one.picture, item.index, item.time, item.source, found)


def read_batches(
    prepare: Callable[[S], T],
    items: Iterable[S],
    *,
    batch: int = 1,
    unreadable: str = "raise",
    skipped: list[DatasetError] | None = None,
    what_follows: str = ": skipped",
    ahead: int = AHEAD,
) -> "Iterator[list[tuple[int, T]]]":
    """Prepare pictures ahead of the consumer, in batches and in order.

    Args:
        prepare: a function that reads a picture; several threads call it at once.
        items: the arguments of `prepare`, one for each picture.
        batch: the pictures of a batch; the last batch may have fewer.
        unreadable: "raise" raises the DatasetError of a picture that cannot be read, after the
            pictures before it; "skip" continues without the picture. Each skipped one is reported
            once, and at the end they are counted. It is an error if no picture can be read.
        skipped: a list to which the errors of skipped pictures are added; None keeps none.
        what_follows: the end of the warning about a skipped picture, after its error.
        ahead: the pictures that are read in addition to those of the next batch.

    Yields:
        (index among the items from 0, result of `prepare`) for each picture of a batch.

    Raises:
        DatasetError: a picture cannot be read; with "skip", none can.
        DarkconvError: an option is wrong.
    """
    check_batches(batch, unreadable)
    futures = _in_order(prepare, items, ahead + batch)
    reading = _Reading[T](skips=unreadable == "skip", what_follows=what_follows)
    return _batches(futures, reading, batch, [] if skipped is None else skipped)


def check_batches(batch: int, unreadable: str) -> None:
    """Raise DarkconvError unless the options of `read_batches` are valid.

    Args:
        batch: the pictures of a batch, at least 1.
        unreadable: the treatment of unreadable pictures, "raise" or "skip".

    Raises:
        DarkconvError: one of them is not valid.
    """
    if unreadable not in UNREADABLE:
        raise DarkconvError("unreadable", expected=" or ".join(UNREADABLE), found=unreadable)
    if batch < 1:
        raise DarkconvError("batch", expected="a number from 1", found=batch)


def _batches(
    futures: "Iterator[tuple[int, Future[T]]]",
    reading: "_Reading[T]",
    batch: int,
    skipped: list[DatasetError],
) -> Iterator[list[tuple[int, T]]]:
    group: list[tuple[int, T]] = []
    try:
        for index, future in futures:
            group += [(index, one) for one in reading.results(future)]
            if group and (len(group) == batch or reading.failure):
                yield group
                group = []
            if reading.failure:
                raise reading.failure
    finally:
        skipped += reading.errors
        close(futures)
    if group:
        yield group
    reading.tell()


def close(generator: Iterator[Any]) -> None:
    """Close a generator now, with everything that it holds open.

    Args:
        generator: the generator; other iterators are left as they are.
    """
    end = getattr(generator, "close", None)
    if end is not None:
        end()


class _Reading(Generic[T]):
    """The results and errors of reading pictures.

    Attributes:
        errors: the errors of the pictures that were skipped.
        failure: the error of a picture that is not skipped.
    """

    def __init__(self, *, skips: bool, what_follows: str) -> None:
        self._skips = skips
        self._what_follows = what_follows
        self._count = 0
        self._told = 0
        self.errors: list[DatasetError] = []
        self.failure: DatasetError | None = None

    def results(self, future: "Future[T]") -> list[T]:
        """Return the prepared picture in a list, which is empty if the picture cannot be read."""
        self._count += 1
        try:
            done = [future.result()]
        except DatasetError as error:
            done = []
            if self._skips:
                self.errors.append(error)
            else:
                self.failure = error
        if self._count > 1:
            for untold in self.errors[self._told :]:
                tell_once(untold, self._what_follows)
            self._told = len(self.errors)
        return done

    def tell(self) -> None:
        """Warn of the number of skipped pictures.

        Raises:
            DatasetError: all pictures were skipped.
        """
        bad = len(self.errors)
        if bad and bad == self._count:
            several = DatasetError(f"none of {bad} pictures could be read")
            raise self.errors[0] if bad == 1 else several
        if bad:
            logger.warning("%d of %d pictures could not be read", bad, self._count)


def _in_order(
    prepare: Callable[[S], T], items: Iterable[S], ahead: int
) -> "Iterator[tuple[int, Future[T]]]":
    """Submit items to threads, a number of them ahead, and yield their futures in order."""
    waiting: deque[tuple[int, Future[T]]] = deque()
    given = iter(items)
    with ThreadPoolExecutor(READERS) as readers:
        try:
            for index, item in enumerate(given):
                waiting.append((index, readers.submit(prepare, item)))
                if len(waiting) >= ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            close(given)
            for _, future in waiting:
                future.cancel()
