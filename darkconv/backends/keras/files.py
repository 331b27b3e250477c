"""`.keras` files and SavedModels: a model in Keras's own formats.

A `.keras` file is a zip archive. What Keras has no place for, the cfg, the class names, the
weights header, the kind of outputs and arrays that no output depends on, lies in two further
members of it, which Keras ignores: so the file can be turned back into Darknet's files.
"""

import contextlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from darkconv.backends.exported import ExportedFile
from darkconv.backends.keras.heads import HEADS
from darkconv.backends.keras.metadata import check_metadata, file_metadata, parse_texts
from darkconv.backends.keras.origin import Origin, origin_of, remember
from darkconv.backends.keras.running import FileRunner
from darkconv.backends.quiet import quiet
from darkconv.core.model import Arrays, frozen
from darkconv.darknet.description import read_description
from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike, replacing

DESCRIPTION = "darkconv.json"
SPARE = "darkconv_spare.npz"
SUFFIX = ".keras"


@dataclass(frozen=True)
class KerasFile(ExportedFile):
    """A file of `write_keras`, ready to run."""


def write_keras(kmodel: keras.Model, path: PathLike) -> None:
    """Write a model of `to_keras` as a `.keras` file, which any Keras 3 loads.

    Raises:
        DarkconvError: the file cannot be written.
    """
    origin = origin_of(kmodel)
    with replacing(path) as temporary, tempfile.TemporaryDirectory(dir=temporary.parent) as folder:
        whole = Path(folder) / f"model{SUFFIX}"
        with quiet():  # on other backends Keras imports TensorFlow here
            kmodel.save(whole, include_optimizer=False)
        with zipfile.ZipFile(whole, "a") as archive:
            text = file_metadata(origin.network, origin.header, origin.names, head=origin.head)
            archive.writestr(plain_member(DESCRIPTION), json.dumps(text, indent=2))
            if origin.spare:
                archive.writestr(plain_member(SPARE), as_npz(origin.spare))
        whole.replace(temporary)


def plain_member(name: str) -> zipfile.ZipInfo:
    """A member without the time of day, which would make files differ from run to run."""
    return zipfile.ZipInfo(name)


def as_npz(arrays: Arrays) -> bytes:
    """Arrays as the bytes of an npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_keras(path: PathLike) -> keras.Model:
    """Load a `.keras` file; of a file of `write_keras` `from_keras` needs no cfg.

    Nothing in it is unpickled or run: Keras's own safe mode holds.

    Raises:
        DarkconvError: it is no such file, or it is damaged.
    """
    kmodel, members = _loaded(path)
    if DESCRIPTION in members:
        remember(kmodel, _origin(members, Where(file=os.fspath(path))))
    return kmodel


def read_keras_file(path: PathLike) -> KerasFile:
    """Read a file of `write_keras` as something that runs, with the outputs that it was given.

    Raises:
        DarkconvError: the file is damaged, or was not written by darkconv.
    """
    where = Where(file=os.fspath(path))
    kmodel, members = _loaded(path)
    if DESCRIPTION not in members:
        raise DarkconvError("has no cfg in it: darkconv did not write it", where=where)
    origin = _origin(members, where)
    text = parse_texts(members[DESCRIPTION])
    run = FileRunner(kmodel, origin.network)
    try:
        check_metadata(text, origin.network, run.outputs)
    except ValueError as error:
        raise DarkconvError(f"damaged: {error}", where=where) from error
    return KerasFile(str(where.file), text, origin.network, origin.names, run)


def _loaded(path: PathLike) -> tuple[keras.Model, dict[str, bytes]]:
    """A file's Keras model, and its members that are darkconv's."""
    where = Where(file=os.fspath(path))
    if not os.path.isfile(path):
        raise DarkconvError("no such file", where=where)
    try:
        with zipfile.ZipFile(path) as archive:
            present = {DESCRIPTION, SPARE} & set(archive.namelist())
            members = {name: archive.read(name) for name in present}
        with _known_name(path) as file:
            kmodel = keras.models.load_model(file, compile=False, safe_mode=True)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise DarkconvError(f"cannot be read as a Keras model: {text}", where=where) from error
    return kmodel, members


@contextlib.contextmanager
def _known_name(path: PathLike) -> Iterator[Path]:
    """The file, or a copy of one whose name does not end as Keras wants it, such as `.KERAS`."""
    file = Path(path)
    if file.suffix == SUFFIX:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="darkconv-") as folder:
        yield Path(shutil.copyfile(file, Path(folder) / f"model{SUFFIX}"))


def _origin(members: dict[str, bytes], where: Where) -> Origin:
    try:
        text = parse_texts(members[DESCRIPTION])
        network, header, names = read_description(text, where)
        spare: Arrays = {}
        if SPARE in members:
            with np.load(io.BytesIO(members[SPARE]), allow_pickle=False) as arrays:
                spare = {key: frozen(array) for key, array in arrays.items()}
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise DarkconvError(f"damaged: {error}", where=where) from error
    return Origin(network, header, names, spare, text.get("head", HEADS[0]))


def write_saved_model(kmodel: keras.Model, path: PathLike) -> None:
    """Write a model as a TensorFlow SavedModel: a folder.

    Raises:
        DarkconvError: there is a file or another folder, or it cannot be written; Keras does not
            run on TensorFlow.
    """
    require_tensorflow("a SavedModel")
    target = Path(path)
    is_saved_model = (target / "saved_model.pb").is_file()
    if target.exists() and not is_saved_model:
        raise DarkconvError(f"{target}: is there already, and is no SavedModel")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            fresh, old = Path(folder) / "new", Path(folder) / "old"
            with quiet():
                kmodel.export(fresh, format="tf_saved_model", verbose=False)
            if is_saved_model:
                target.rename(old)
            shutil.move(fresh, target)
    except OSError as error:
        raise DarkconvError(f"{target}: cannot write: {error.strerror}") from error


def require_tensorflow(task: str) -> None:
    """Raise unless Keras runs on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise DarkconvError(
            f"{task} needs Keras on TensorFlow",
            found=keras.backend.backend(),
            hint="unset KERAS_BACKEND",
        )
