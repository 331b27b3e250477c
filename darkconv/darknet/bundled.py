"""The cfg files that are installed with darkconv, by name."""

import os
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from darkconv.errors import CfgError, Where
from darkconv.files import PathLike


def bundled_cfg(name: str) -> Path | None:
    """Return the path of a bundled network's cfg, or None if there is no such network.

    Args:
        name: name of the network, such as "yolov3"; a path or a name that ends with .cfg gives
            None.
    """
    if os.sep in name or name.endswith(".cfg"):
        return None
    path = _folder() / f"{name}.cfg"
    return path if os.path.isfile(path) else None


def bundled_names() -> list[str]:
    """Return the names of the bundled networks in alphabetical order."""
    return sorted(path.stem for path in _folder().glob("*.cfg"))


def _folder() -> Path:
    try:
        return Path(str(files("darkconv.cfgs")))
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "cfgs"


def find_cfg(cfg: PathLike, weights: PathLike | None = None) -> PathLike:
    """Return the cfg that the user means: an existing file, or a bundled network's.

    Args:
        cfg: path of a cfg, or name of a bundled network.
        weights: path of the weights file; None if the user gave only one file.

    Returns:
        The path of the cfg. A path that does not exist is returned as it is, for the reader to
            report.

    Raises:
        CfgError: the name is almost that of a bundled network, or a weights file was given without
            a cfg.
    """
    name = os.fspath(cfg)
    if os.path.exists(name):
        found: PathLike = cfg
    else:
        found = bundled_cfg(name) or cfg
        near = [] if found is not cfg or Path(name).suffix else _near(name)
        if near:
            raise CfgError(
                "no such file, and no bundled network of this name",
                where=Where(file=name),
                hint=f"did you mean {' or '.join(near)}?",
            )
    if weights is None and Path(name).suffix.lower() == ".weights":
        raise CfgError(
            "no cfg given",
            where=Where(file=name),
            hint=f"a model is two files: NET.cfg {name}",
        )
    return found


def _near(name: str) -> list[str]:
    return get_close_matches(name.lower(), bundled_names())
