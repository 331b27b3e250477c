"""Figures of matplotlib: with the letters of class names, and written as files."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from darkconv.errors import one_line
from darkconv.files import PathLike, write_bytes
from darkconv.libraries import telling_missing
from darkconv.pictures.lettering import fallback_font

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def require_matplotlib(task: str) -> None:
    """Check that pictures can be drawn.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with telling_missing(task):
        import matplotlib.figure  # noqa: F401


@contextlib.contextmanager
def letters_of(names: Sequence[str]) -> Iterator[None]:
    """Let what is drawn inside have the letters of some names, if a font of the system has them."""
    import matplotlib
    from matplotlib import font_manager

    own = font_manager.FontProperties()
    families = list(matplotlib.rcParams["font.family"])
    file = fallback_font(map(one_line, names), font_manager.findfont(own))
    if file is not None:
        font_manager.fontManager.addfont(file)
        families.append(font_manager.FontProperties(fname=file).get_name())
    with matplotlib.rc_context({"font.family": families}):
        yield


def write_figure(figure: "Figure", path: PathLike, *, dpi: int = DPI) -> None:
    """Write a figure as PNG.

    Raises:
        DarkconvError: the file cannot be written.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # what no font has is told by then
        figure.savefig(buffer, format="png", dpi=dpi)
    write_bytes(path, [buffer.getvalue()])
