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
    """Hide Lightning's advice within a block; errors are still raised.

    Yields:
        Nothing, while advice is hidden.
    """
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
    """Raise KeyboardInterrupt on Ctrl-C within a block, where Lightning would end the program.

    Yields:
        Nothing, while the block runs.
    """
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Report an error of a thread, except a full disk, which the training thread reports."""
    if not no_room(failed.exc_value):
        threading.__excepthook__(failed)


def tensorboard_logger(folder: Path) -> TensorBoardLogger | bool:
    """Build a logger that writes for TensorBoard without importing TensorFlow.

    TensorBoard would import all of TensorFlow if it could. Its own switch is the module
    tensorboard.compat.notf: with it, a stub opens files.

    Args:
        folder: folder of the run.

    Returns:
        False, with a warning, if the path is not UTF-8, which TensorBoard needs.
    """
    if not is_utf8(folder.absolute()):
        logging.getLogger("darkconv").warning(
            "%s: no curves for TensorBoard, which needs a path in UTF-8", folder
        )
        return False
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    return TensorBoardLogger(folder, name="", version="tensorboard")
