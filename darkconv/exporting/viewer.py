"""A model's graph in the browser, shown by netron."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from darkconv.backends import spoke
from darkconv.core.model import Model
from darkconv.files import scratch_folder
from darkconv.libraries import telling_missing


@contextlib.contextmanager
def viewing(model: Model) -> Iterator[tuple[str, int, Callable[[], None]]]:
    """Show the graph, and yield the address at which it is served.

    Args:
        model: model to show; its batch norm is not folded.

    Yields:
        Host, port, and a function that waits until the user stops the server.

    Raises:
        MissingDependencyError: netron or onnx is not installed.
    """
    with telling_missing("info --view"):
        import netron
    with scratch_folder() as folder:
        path = folder / f"{Path(model.network.file).stem}.onnx"
        spoke("onnx").write_onnx(model, path, fold=False, check=False)
        logging.getLogger("netron").setLevel(logging.WARNING)  # it logs the same address
        host, port = netron.start(str(path), address=("localhost", None))
        yield host, port, netron.wait
