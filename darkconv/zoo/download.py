"""Download a file: resume where a download broke off, and stop if it is not the wanted file."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from darkconv import __version__
from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.zoo.requirement import START

if TYPE_CHECKING:
    from requests import RequestException, Response

TRIES = 3
"""Number of tries for each address."""
PAUSE = 1.0
"""Seconds before the second try; each further pause is twice as long."""
TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
CHUNK = 1 << 16
OVERLAP = 1024
"""Number of bytes that are requested again on resuming: another file would differ in them."""

RequiredSize = Callable[[str, bytes, int | None], int]
"""A function from address, first bytes and size (None if unknown) to the size of the whole file.

It raises a WeightsError where the file cannot be the wanted one.
"""
Progress = Callable[[int, int], None]
"""A function that takes the number of bytes that are there, and of all bytes."""


class BrokenOffError(DarkconvError):
    """Raised where a try failed and another one may succeed."""


class Downloader:
    """Downloads a file from an address.

    The bytes that have come are kept in the file `part` between tries, runs and addresses until the
    file is whole, so that a run that is killed leaves nothing else.
    """

    def __init__(self, part: Path, required_size: RequiredSize, progress: Progress) -> None:
        self.part = part
        self.required_size = required_size
        self.progress = progress

    def bring(self, url: str, target: Path) -> None:
        """Download the file; it gets the name `target` when it is whole.

        Args:
            url: an http, https or file address.
            target: path of the whole file; an existing one is removed first.

        Raises:
            WeightsError: the address gives another file.
            DarkconvError: the address does not answer, or the disk is full.
        """
        target.unlink(missing_ok=True)
        try:
            if urlsplit(url).scheme in ("http", "https"):
                self._download(url)
            else:
                self._copy(url)
            self.part.replace(target)
        except OSError as error:
            raise DarkconvError(f"{self.part}: cannot write: {error.strerror}") from error

    def _download(self, url: str) -> None:
        from requests import RequestException

        for number in range(1, TRIES + 1):
            try:
                return self._try(url)
            except BrokenOffError as error:
                message = error.message
            except RequestException as error:
                message = _in_words(error)
                if isinstance(error, ValueError):
                    raise DarkconvError(message, where=Where(file=url)) from error
            if number < TRIES:
                time.sleep(PAUSE * 2 ** (number - 1))
        raise DarkconvError(f"{message} ({TRIES} tries)", where=Where(file=url))

    def _try(self, url: str) -> None:
        import requests

        have, required = self._resumed()
        if have and have == required:
            return
        # some servers refuse the default user agents of libraries
        headers = {"User-Agent": f"darkconv/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have - OVERLAP}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            self._check_status(response, url)
            if response.status_code == requests.codes.partial_content:
                self._append(response, url, have, required)
            else:
                self._begin(response, url)

    def _resumed(self) -> tuple[int, int]:
        """Return how many bytes are there and how many are required; zeros if none are of use."""
        have = self.part.stat().st_size if self.part.exists() else 0
        if have > OVERLAP:
            with self.part.open("rb") as file:
                start = file.read(START)
            try:
                required = self.required_size(str(self.part), start, None)
            except WeightsError:
                required = 0
            if have <= required:
                return have, required
        self._discard()
        return 0, 0

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)

    def _check_status(self, response: "Response", url: str) -> None:
        code = response.status_code
        if code in (200, 206):
            return
        message = f"the server answers {code} {response.reason}".rstrip()
        if code == 416:
            self._discard()
        if code in (408, 416, 429) or code >= 500:
            raise BrokenOffError(message, where=Where(file=url))
        raise DarkconvError(message, where=Where(file=url))

    def _begin(self, response: "Response", url: str) -> None:
        length = response.headers.get("Content-Length")
        is_plain = response.headers.get("Content-Encoding", "identity") == "identity"
        size = int(length) if length and length.isdigit() and is_plain else None
        start, chunks = _split(response.iter_content(CHUNK), START)
        required = self.required_size(url, start, size)
        self._write(chain([start], chunks), 0, required, url)

    def _append(self, response: "Response", url: str, have: int, required: int) -> None:
        found = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
        at = have - OVERLAP
        if not found or int(found[1]) != at or found[2] not in (str(required), "*"):
            self._discard()
            raise BrokenOffError("the server answers with another part than asked for")
        again, chunks = _split(response.iter_content(CHUNK), OVERLAP)
        if len(again) < OVERLAP:
            raise BrokenOffError("the connection broke")
        with self.part.open("rb") as file:
            file.seek(at)
            is_same = file.read(OVERLAP) == again
        if not is_same:
            self._discard()
            raise BrokenOffError("the file there is not the one that has come in part")
        self._write(chunks, have, required, url)

    def _write(self, chunks: Iterable[bytes], at: int, required: int, url: str) -> None:
        done = at
        with self.part.open("r+b" if at else "wb") as file:
            file.seek(at)
            self.progress(done, required)
            for chunk in chunks:
                done += len(chunk)
                if done > required:
                    break
                file.write(chunk)
                self.progress(done, required)
        if done > required:
            self._discard()
            raise WeightsError(
                "goes on behind what the cfg requires",
                where=Where(file=url),
                expected=f"{required} bytes",
            )
        if done < required:
            raise BrokenOffError(f"breaks off at {done} of {required} bytes", where=Where(file=url))

    def _copy(self, url: str) -> None:
        where = Where(file=url)
        parts = urlsplit(url)
        if parts.scheme != "file":
            raise DarkconvError(where=where, expected="http://, https:// or file://")
        path = Path(url2pathname(parts.path))
        try:
            with path.open("rb") as file:
                start, size = file.read(START), file.seek(0, 2)
        except OSError as error:
            raise DarkconvError(f"cannot read: {error.strerror}", where=where) from error
        required = self.required_size(url, start, size)
        with path.open("rb") as file:
            self._write(iter(lambda: file.read(CHUNK), b""), 0, required, url)


def _split(chunks: Iterator[bytes], count: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first `count` bytes, or fewer if there are not more, and the chunks after them."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= count:
            break
    return start[:count], chain([start[count:]], chunks)


def _in_words(error: "RequestException") -> str:
    """Return the cause of a connection error in words."""
    from requests import ConnectionError as NoConnection
    from requests import ConnectTimeout, Timeout
    from requests.exceptions import ChunkedEncodingError

    if isinstance(error, Timeout):
        seconds = TIMEOUT[not isinstance(error, ConnectTimeout)]
        return f"the server has not answered for {seconds:.0f} seconds"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    is_broken = isinstance(error, (NoConnection, ChunkedEncodingError))
    return "the connection broke" if is_broken else str(error)
