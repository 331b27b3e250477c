"""A local web server for the pages of a folder, for this machine alone."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from darkconv.errors import DarkconvError
from darkconv.files import PathLike

HOST = "127.0.0.1"
PORT = 8000
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # with the next header threads can share memory
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
"""Media types by suffix, since a system's own table may have others."""


class _Handler(SimpleHTTPRequestHandler):
    """Serves files to pages of this server, and refuses requests under another host name."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}  # noqa: RUF012

    def send_head(self) -> object:  # type: ignore[override]
        """Refuse requests for another host: a foreign page may have let its own name lead here."""
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        if not _is_within(Path(self.translate_path(self.path)), Path(self.directory)):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """Send the headers of every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write no message about single requests."""


@contextlib.contextmanager
def serving(folder: PathLike, *, port: int = PORT) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve a folder on this machine within a `with` block.

    Args:
        folder: folder whose files are served; links that lead out of it are not followed.
        port: port of the server; 0 takes a free one.

    Yields:
        The address, and a function that answers requests until it is interrupted.

    Raises:
        DarkconvError: there is no such folder, or the port is taken.
    """
    if not Path(folder).is_dir():
        raise DarkconvError(f"{folder}: is no folder")
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise DarkconvError(
            f"port {port}: {getattr(error, 'strerror', None) or error}",
            hint="--port 0 takes one that is free",
        ) from error
    server.daemon_threads = True
    with server:
        yield f"http://{HOST}:{server.server_port}", server.serve_forever


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
