"""The cfg files that come with darkconv, by name."""

import os
from importlib.resources import files
from pathlib import Path


def bundled_cfg(name: str) -> Path | None:
    """Return the cfg of a bundled network, or None."""
    if os.sep in name or name.endswith(".cfg"):
        return None
    path = _folder() / f"{name}.cfg"
    return path if os.path.isfile(path) else None


def bundled_names() -> list[str]:
    """Return the names of the bundled networks."""
    return sorted(path.stem for path in _folder().glob("*.cfg"))


def _folder() -> Path:
    try:
        return Path(str(files("darkconv.cfgs")))
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "cfgs"
