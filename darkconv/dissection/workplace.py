"""The folder of a long dissection, which keeps its state so that it can go on after a stop.

`dissect.json` says what the dissection is of, and what was measured of each finished model. The
folder of a try holds its plan, the checkpoints of its recovery, and at the end its model. Every
file is written whole, and `dissect.json` after the model that it describes.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from darkconv.core.model import Model
from darkconv.errors import DarkconvError
from darkconv.files import PathLike, make_folder, write_bytes
from darkconv.loading import load, save
from darkconv.surgery.plan import PrunePlan

STATE, FORMAT = "dissect.json", 1
HINT = (
    "--resume goes on with it, --overwrite begins anew, --run names another folder (in Python "
    "resume=True, overwrite=True, folder=)"
)


class Workplace:
    """A folder with the state of a dissection.

    Attributes:
        path: path of the folder.
        entries: measurements of each finished try, by its name.
    """

    def __init__(
        self, path: PathLike, settings: Mapping[str, Any], *, resume: bool, overwrite: bool
    ) -> None:
        """Read the state, or begin a new one.

        Args:
            path: path of the folder, which is made if it does not exist.
            settings: what the dissection is of, as JSON can hold it; a state with other settings is
                refused.
            resume: go on with the state of the folder.
            overwrite: begin anew if the folder holds a state.

        Raises:
            DarkconvError: there is no state to go on with, one that must not be lost, a damaged
                one, or one of another dissection.
        """
        self.path = Path(path)
        self._settings = json.loads(json.dumps(settings))
        self.entries: dict[str, Any] = {}
        self._begun: set[str] = set()
        if resume:
            self._go_on()
            return
        check_free(self.path, overwrite=overwrite)
        make_folder(self.path)
        self._write()

    def plan_of(self, name: str) -> PrunePlan | None:
        """Return the plan of a try that was begun; None if there is none.

        Args:
            name: name of the try.
        """
        file = self._folder(name) / "plan.json"
        if name not in self._begun or not file.is_file():
            return None
        plan = PrunePlan.load(file)
        return PrunePlan(**{**vars(plan), "file": None})

    def begin(self, name: str, plan: PrunePlan) -> None:
        """Write the plan of a try, and delete what an earlier dissection left in its folder.

        Args:
            name: name of the try.
            plan: which channels stay.
        """
        shutil.rmtree(self._folder(name), ignore_errors=True)
        make_folder(self._folder(name))
        plan.save(self._folder(name) / "plan.json")
        self._begun.add(name)
        self._write()

    def run_folder(self, name: str) -> Path:
        """Return the folder of a try's recovery.

        Args:
            name: name of the try.
        """
        return self._folder(name) / "run"

    def has_checkpoint(self, name: str) -> bool:
        """Return True if the recovery of a try can go on.

        Args:
            name: name of the try.
        """
        from darkconv.training.run_folder import Folder

        return os.path.isfile(Folder(self.run_folder(name)).last)

    def finish(self, name: str, model: Model, entry: Mapping[str, Any]) -> None:
        """Write the model of a try and its measurements.

        Args:
            name: name of the try.
            model: final model of the try.
            entry: measurements, as JSON can hold them.
        """
        stem = self._folder(name) / "model"
        names = stem.with_suffix(".names") if model.names else None
        save(model, stem.with_suffix(".cfg"), stem.with_suffix(".weights"), names=names)
        self.entries[name] = dict(entry)
        self._write()

    def model_of(self, name: str, like: Model) -> Model:
        """Return the model of a finished try.

        Args:
            name: name of the try.
            like: a model of the same dialect.
        """
        stem = self._folder(name) / "model"
        found = load(
            stem.with_suffix(".cfg"),
            stem.with_suffix(".weights"),
            dialect=like.network.dialect.name,
        )
        return found.in_memory()

    def _folder(self, name: str) -> Path:
        return self.path / name

    def _write(self) -> None:
        content = {
            "darkconv_dissect": FORMAT,
            "settings": self._settings,
            "begun": sorted(self._begun),
            "ready": self.entries,
        }
        write_bytes(self.path / STATE, [f"{json.dumps(content, indent=1)}\n".encode()])

    def _go_on(self) -> None:
        """Take over the state of the folder, if it is of this dissection."""
        content = _read(self.path / STATE)
        settings = content["settings"]
        for name in self._settings | settings:
            begun, now = (one.get(name, "nothing") for one in (settings, self._settings))
            if begun != now:
                raise DarkconvError(
                    f"{self.path}: holds another dissection: {name} was {begun}, is {now}",
                    hint=HINT.partition(", ")[2],
                )
        self.entries = content["ready"]
        self._begun = set(content["begun"])


def check_free(folder: PathLike, *, overwrite: bool = False) -> None:
    """Check that a folder holds nothing that a new dissection would replace.

    Args:
        folder: folder, which need not exist.
        overwrite: a dissection that was begun there may be lost.

    Raises:
        DarkconvError: the folder holds a dissection, or files of others.
    """
    place = Path(folder)
    if (place / STATE).exists():
        if not overwrite:
            raise DarkconvError(f"{place}: holds a dissection that was begun", hint=HINT)
    elif place.is_dir() and any(place.iterdir()):
        raise DarkconvError(
            f"{place}: is there already, and is no folder of a dissection",
            hint="--run names another (in Python folder=)",
        )


def _read(file: Path) -> dict[str, Any]:
    """Return the state in a file, its form checked.

    Raises:
        DarkconvError: the file does not exist, or is damaged.
    """
    try:
        content = json.loads(file.read_bytes())
        settings, begun, ready = (content[key] for key in ("settings", "begun", "ready"))
    except FileNotFoundError:
        raise DarkconvError(
            f"{file.parent}: holds no dissection to go on with",
            hint="without --resume (in Python resume=True) it begins anew",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DarkconvError(f"{file}: is no state of a dissection", found=error) from None
    if not (isinstance(settings, dict) and isinstance(begun, list) and isinstance(ready, dict)):
        raise DarkconvError(f"{file}: is no state of a dissection")
    return {"settings": settings, "begun": begun, "ready": ready}
