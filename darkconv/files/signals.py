"""Signals that end a program, which the command line turns into exceptions.

So an interrupted command removes its temporary files and folders. The library installs no handlers:
without `ending_in_order`, a signal does what the program that uses darkconv decides.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
SHELL_BASE = 128
"""The exit status of a program that a signal ends is 128 plus the signal's number, as in shells."""


class Ended(SystemExit):
    """The exception that a signal raises to end the program."""

    def __init__(self, number: int) -> None:
        super().__init__(SHELL_BASE + number)
        self.number = number


class _State:
    """The state of signal handling in the main thread, in which Python runs handlers."""

    held = 0
    waiting: int | None = None
    received: int | None = None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Delay signals that end the program until this block is done.

    Yields:
        Nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
        if not _State.held and _State.waiting is not None:
            number, _State.waiting = _State.waiting, None
            raise _ending(number)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `Ended`, and SIGINT into KeyboardInterrupt, in this block.

    Signals that are ignored, as under nohup, or that have another handler, are left alone.

    Yields:
        Nothing.

    Raises:
        Ended: SIGTERM or SIGHUP came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner and number != signal.SIGINT:  # a worker that was forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _State.received = number
        if _State.held:
            _State.waiting = number
        else:
            raise _ending(number)

    _State.received = None
    before = {number: signal.signal(number, end) for number in _free_signals()}
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:  # after a signal, other errors on the way to the end do not matter
        if _State.received is not None:
            raise _ending(_State.received) from None
        raise
    finally:
        _State.received = None
        for number, handler in before.items():
            signal.signal(number, handler)


def end_if_asked() -> None:
    """Raise the exception of a signal that has come but whose exception was lost; for long loops.

    Python prints and drops an exception that a handler raises during garbage collection, or in a
    callback from C.

    Raises:
        KeyboardInterrupt, Ended: a signal came in the block of `ending_in_order`.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and _State.received is not None and not _State.held:
        raise _ending(_State.received)


def _free_signals() -> list[signal.Signals]:
    """Return the signals whose handlers are the default ones."""
    known = [signal.Signals[name] for name in NAMES if hasattr(signal, name)]
    usual = (signal.SIG_DFL, signal.default_int_handler)
    return [number for number in known if signal.getsignal(number) in usual]


def _ending(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Ended(number)
