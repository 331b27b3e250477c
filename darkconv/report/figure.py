"""Write matplotlib's figures as files, with fonts that have the letters of class names."""

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
    """Check that matplotlib is installed.

    Args:
        task: the task that needs it, for the message.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with telling_missing(task):
        import matplotlib.figure  # noqa: F401


@contextlib.contextmanager
def letters_of(names: Sequence[str]) -> Iterator[None]:
    """Add a font of the system that has the letters of some names, for figures drawn in this block.

    Nothing changes where matplotlib's own font has the letters, or no font of the system has them.

    Args:
        names: class names.

    Yields:
        Nothing.
    """
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

    Args:
        figure: the figure.
        path: the file to write.
        dpi: pixels in an inch.

    Raises:
        DarkconvError: the file cannot be written.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # letters that no font has were already reported
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="png", dpi=dpi)
    write_bytes(path, [buffer.getvalue()])
