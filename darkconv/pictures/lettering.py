"""Fonts for labels: find one that has the letters of the class names."""

import functools
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike
from darkconv.files.notice import warn_once

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
MOST_FONTS = 3000  # files that are opened
UNUSUAL = ("bold", "italic", "oblique", "mono", "thin", "light", "black", "condensed", "serif")
"""Words in the names of fonts that are tried last."""
UNREADABLE = ("lastresort", "emoji", "barcode")
"""Words in the names of fonts that draw every letter as a box, or have few letters."""
NO_LETTERS = "\uffff\ufffe"  # no characters; fonts draw them like letters that they lack
_PROBE = 24  # the size in pixels at which fonts are tested


def label_font(texts: Iterable[str], size: float, file: PathLike | None = None) -> "Font":
    """Return a font for some texts: Pillow's own, or a font of the system that has their letters.

    If no font has all of them, this is warned about once.

    Args:
        texts: the texts that will be drawn.
        size: the height of the font in pixels.
        file: the font file to use in any case; None chooses one.

    Raises:
        DarkconvError: the file is not a font that can be read.
    """
    from PIL import ImageFont

    letters = _letters(texts)
    if file is not None:
        font: Font = _opened(file, size)
        _tell_of_missing(missing_letters(font, letters), os.fspath(file))
        return font
    font = ImageFont.load_default(size)
    missing = missing_letters(font, letters)
    if not missing:
        return font
    found, still_missing = _system_font(letters)
    _tell_of_missing(still_missing, "fonts of this system")
    if found is None or len(still_missing) >= len(missing):
        return font
    return _opened(found, size)


def fallback_font(texts: Iterable[str], file: PathLike) -> Path | None:
    """Return a font file of the system for letters that another font lacks; None if none helps.

    Args:
        texts: the texts that will be drawn.
        file: the font file that is used first.

    Raises:
        DarkconvError: the file is not a font that can be read.
    """
    missing = missing_letters(_opened(file, _PROBE), _letters(texts))
    if not missing:
        return None
    found, still_missing = _system_font(missing)
    _tell_of_missing(still_missing, "fonts of this system")
    return found


def missing_letters(font: "Font", letters: str) -> str:
    """Return those of some letters that a font does not have.

    Args:
        font: a PIL font; one without FreeType has the letters up to U+00FF.
        letters: the letters to look for, as one string.
    """
    from PIL import ImageFont

    if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow without FreeType
        return "".join(c for c in letters if ord(c) > 0xFF)
    absent = {_ink(font, c) for c in NO_LETTERS}
    return "".join(c for c in letters if _ink(font, c) in absent)


def _ink(font: "FreeTypeFont", letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


def _letters(texts: Iterable[str]) -> str:
    """Return the letters of some texts, each once and without ASCII's, which all fonts have."""
    return "".join(sorted({c for text in texts for c in text if not c.isascii() and c.isalnum()}))


def _opened(file: PathLike, size: float) -> "FreeTypeFont":
    from PIL import ImageFont

    try:
        return ImageFont.truetype(os.fspath(file), size)
    except (OSError, ValueError) as error:
        raise DarkconvError(
            f"is no font that can be read: {error}", where=Where(file=os.fspath(file))
        ) from error


@functools.lru_cache(maxsize=16)
def _system_font(letters: str) -> tuple[Path | None, str]:
    """Return the first font file that has all letters, or most, and the letters that it lacks."""
    best: Path | None = None
    least = letters
    for path in _font_files():
        try:
            missing = missing_letters(_opened(path, _PROBE), letters)
        except (DarkconvError, OSError, ValueError):  # bitmap fonts of one size, damaged files
            continue
        if len(missing) < len(least):
            best, least = path, missing
        if not missing:
            break
    return best, least


@functools.cache
def _font_files() -> tuple[Path, ...]:
    """Return the font files of this system, upright and plain ones first."""
    found = [path for _, path in zip(range(MOST_FONTS), _walk_fonts(), strict=False)]
    found.sort(key=lambda path: (any(word in path.name.lower() for word in UNUSUAL), path.name))
    return tuple(found)


def _walk_fonts() -> Iterator[Path]:
    for folder in _font_folders():
        for root, _, files in os.walk(folder):
            for name in sorted(files):
                word = name.lower()
                if word.endswith(FONT_SUFFIXES) and not any(bad in word for bad in UNREADABLE):
                    yield Path(root, name)


def _font_folders() -> list[Path]:
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home), "Microsoft", "Windows", "Fonts")
        folders = [Path(os.environ.get("WINDIR", r"C:\Windows"), "Fonts"), local]
    elif sys.platform == "darwin":
        roots = (Path("/System/Library"), Path("/Library"), home / "Library")
        folders = [root / "Fonts" for root in roots]
    else:
        data = Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share"))
        shared = (Path("/usr/share"), Path("/usr/local/share"), data)
        folders = [*(root / "fonts" for root in shared), home / ".fonts"]
    plots = importlib.util.find_spec("matplotlib")  # it includes a font with many alphabets
    for place in plots.submodule_search_locations or () if plots else ():
        folders.append(Path(place, "mpl-data", "fonts", "ttf"))
    return folders


def _tell_of_missing(letters: str, where: str) -> None:
    if letters:
        shown = letters[:20] + "..." * (len(letters) > 20)
        warn_once(
            Where(file=where),
            f"no letters {shown} of the class names: they are drawn as boxes; --font FILE (in "
            "Python font=) names a font that has them",
        )
