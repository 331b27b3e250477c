"""Lightning and TensorBoard, kept from advice, from ending the program, and from TensorFlow."""

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from lightning.pytorch.loggers import TensorBoardLogger

from darkconv.files import is_utf8, no_room


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice; what goes wrong is still raised."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    told, threading.excepthook = threading.excepthook, _tell_of_thread
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", module=r"torch\..*", category=FutureWarning)
            yield
    finally:
        threading.excepthook = told
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Hand Ctrl-C on as KeyboardInterrupt, where Lightning would end the whole program."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Not of a full disk: TensorBoard's thread hands that on to the one that trains."""
    if not no_room(failed.exc_value):
        threading.__excepthook__(failed)


def tensorboard_logger(folder: Path) -> TensorBoardLogger | bool:
    """A logger that writes without TensorFlow, all of which TensorBoard would import if it could.

    It knows paths in UTF-8 alone: False for others, with a warning.

    The module is TensorBoard's own switch (tensorboard/compat): with it, a stub opens files.
    """
    if not is_utf8(folder.absolute()):
        logging.getLogger("darkconv").warning(
            "%s: no curves for TensorBoard, which needs a path in UTF-8", folder
        )
        return False
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    return TensorBoardLogger(folder, name="", version="tensorboard")
