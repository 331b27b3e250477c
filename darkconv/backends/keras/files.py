"""`.keras` files and SavedModels: a model in Keras's own formats.

A `.keras` file is a zip archive. Keras has no place for the cfg, the class names, the header of the
weights file, the kind of outputs, and arrays that no output depends on: they are in two further
members of the archive, which Keras ignores. So the file can be converted back into Darknet's files.
"""

import contextlib
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from darkconv.backends.exported import ExportedFile, parse_texts
from darkconv.backends.keras.heads import HEADS
from darkconv.backends.keras.metadata import check_metadata, file_metadata
from darkconv.backends.keras.origin import Origin, origin_of, remember
from darkconv.backends.keras.running import FileRunner
from darkconv.backends.keras_archive import DESCRIPTION, SPARE, WEIGHTS, read_keras_archive
from darkconv.backends.quiet import quiet
from darkconv.core.model import Array, Arrays
from darkconv.core.net import RESIZE_MODES
from darkconv.core.network import Network
from darkconv.core.unchanging import frozen
from darkconv.darknet.description import read_description
from darkconv.errors import DarkconvError, Where
from darkconv.files import (
    PathLike,
    check_saved_model,
    filling_folder,
    is_utf8,
    replacing,
    replacing_folder,
    scratch_folder,
    writing,
)
from darkconv.files.archive import NPY_SUFFIX, ArchiveError, open_archive
from darkconv.files.outputs import written_place

SUFFIX = ".keras"
PIECE = 1 << 20
ADDRESS = re.compile(r'("shared_object_id": )(\d+)')
DATE = re.compile(r'("date_saved": ")[^"]*')


@dataclass(frozen=True)
class KerasFile(ExportedFile):
    """A file of `write_keras`, ready to run."""


def write_keras(kmodel: keras.Model, path: PathLike) -> None:
    """Write a model of `to_keras` as a `.keras` file, which any Keras 3 loads.

    Args:
        kmodel: model of `to_keras` or `read_keras`.
        path: file to write.

    Raises:
        DarkconvError: the file cannot be written, or the model does not know its network.
    """
    origin = origin_of(kmodel)
    with filling_folder(path) as folder, replacing(path) as temporary:
        own = folder / f"model{SUFFIX}"
        with quiet():  # on other backends Keras imports TensorFlow here
            kmodel.save(own, include_optimizer=False)
        with zipfile.ZipFile(own) as source, zipfile.ZipFile(temporary, "w") as archive:
            copy_members(source, archive)
            text = file_metadata(
                origin.network,
                origin.header,
                origin.names,
                head=origin.head,
                resize=origin.resize,
            )
            archive.writestr(plain_member(DESCRIPTION), json.dumps(text, indent=2))
            if origin.spare:
                archive.writestr(plain_member(SPARE), as_npz(origin.spare))


def plain_member(name: str) -> zipfile.ZipInfo:
    """Return an archive member without the time of day, which would differ from run to run.

    Args:
        name: name of the member.
    """
    return zipfile.ZipInfo(name)


def copy_members(source: zipfile.ZipFile, archive: zipfile.ZipFile) -> None:
    """Copy the members that Keras wrote, less the times and addresses that differ from run to run.

    Args:
        source: archive that Keras wrote.
        archive: archive that is written.
    """
    for name in source.namelist():
        if name.endswith(".json"):
            archive.writestr(plain_member(name), lasting(source.read(name).decode()))
            continue
        member = plain_member(name)
        with source.open(name) as old, archive.open(member, "w", force_zip64=True) as new:
            shutil.copyfileobj(old, new, PIECE)


def lasting(text: str) -> str:
    """Return Keras's JSON with numbers in place of the addresses of objects, and a fixed date.

    Args:
        text: content of a JSON member.
    """
    numbers: dict[str, str] = {}
    text = ADDRESS.sub(lambda m: m[1] + numbers.setdefault(m[2], str(len(numbers) + 1)), text)
    return DATE.sub(r"\g<1>1980-01-01@00:00:00", text)


def as_npz(arrays: Arrays) -> bytes:
    """Return arrays as the bytes of an npz file.

    Args:
        arrays: arrays by "<layer>.<array>".
    """
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_keras(path: PathLike) -> keras.Model:
    """Load a `.keras` file; if `write_keras` wrote it, `from_keras` needs no cfg for it.

    Nothing in it is unpickled or run: Keras's own safe mode is on.

    Args:
        path: file to read.

    Raises:
        DarkconvError: it is not a `.keras` file, or it is damaged.
    """
    kmodel, members = _loaded(path)
    if DESCRIPTION in members:
        remember(kmodel, _origin(members, Where(file=os.fspath(path))))
    return kmodel


def read_keras_file(path: PathLike) -> KerasFile:
    """Read a file of `write_keras` as an object that runs and returns the outputs of the file.

    Args:
        path: file to read.

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
    """Return the Keras model of a file, and the members of the file that are darkconv's."""
    where = Where(file=os.fspath(path))
    members = read_keras_archive(path)
    try:
        check_weights(path)
        with _known_name(path) as file:
            kmodel = keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parts do
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise DarkconvError(f"cannot be read as a Keras model: {text}", where=where) from error
    return kmodel, members


def check_weights(path: PathLike) -> None:
    """Check that no array of a file claims to be larger than the archive member that holds it.

    Args:
        path: `.keras` file.

    Raises:
        ValueError: an array does.
        OSError: the arrays cannot be read.
    """
    with zipfile.ZipFile(path) as archive, archive.open(WEIGHTS) as member:
        size = archive.getinfo(WEIGHTS).file_size

        def check(name: str, value: Any) -> None:
            if isinstance(value, h5py.Dataset) and value.nbytes > size:
                raise ValueError(f"{WEIGHTS} cannot hold {name} of {value.dtype} {value.shape}")

        with h5py.File(member, "r") as file:
            file.visititems(check)


@contextlib.contextmanager
def _known_name(path: PathLike) -> Iterator[Path]:
    """Yield the file, or a copy of it if Keras does not take its suffix, such as `.KERAS`."""
    file = Path(path)
    if file.suffix == SUFFIX:
        yield file
        return
    with scratch_folder() as folder:
        yield Path(shutil.copyfile(file, folder / f"model{SUFFIX}"))


def read_spare(content: bytes, network: Network) -> Arrays:
    """Read the arrays of an npz file: the inverse of `as_npz`; nothing is unpickled.

    Args:
        content: bytes of the npz file.
        network: network that the arrays belong to.

    Returns:
        Read-only float32 arrays by "<layer>.<array>".

    Raises:
        ValueError: the file is damaged, or holds something else than arrays of the network.
    """
    shapes = {key: slot.shape for key, _, slot in network.keyed_slots()}
    arrays: dict[str, Array] = {}
    try:
        with open_archive(io.BytesIO(content), most=len(content)) as archive:
            for member in archive.members:
                key = member.removesuffix(NPY_SUFFIX)
                values = archive.read_array(key)
                found = f"{values.dtype} {values.shape}"
                if found != f"float32 {shapes.get(key)}":
                    raise ArchiveError(f"{key}: expected float32 {shapes.get(key)}, found {found}")
                arrays[key] = frozen(values)
    except ArchiveError as error:
        raise ValueError(f"{SPARE}: {error}") from error
    return arrays


def _origin(members: dict[str, bytes], where: Where) -> Origin:
    try:
        text = parse_texts(members[DESCRIPTION])
        network, header, names = read_description(text, where)
        spare: Arrays = {}
        if SPARE in members:
            spare = read_spare(members[SPARE], network)
    except (ValueError, TypeError, RecursionError) as error:
        raise DarkconvError(f"damaged: {error}", where=where) from error
    resize = text.get("resize")
    if resize is not None and resize not in RESIZE_MODES:
        raise DarkconvError(
            "damaged: resize", where=where, expected=" or ".join(RESIZE_MODES), found=resize
        )
    return Origin(network, header, names, spare, text.get("head", HEADS[0]), resize)


def write_saved_model(kmodel: keras.Model, path: PathLike) -> None:
    """Write a model as a TensorFlow SavedModel, which is a folder.

    Args:
        kmodel: model of `to_keras`.
        path: folder to write; an earlier SavedModel is replaced.

    Raises:
        DarkconvError: there is a file or another kind of folder, it cannot be written, or Keras
            does not run on TensorFlow.
    """
    require_tensorflow("a SavedModel")
    with writing(path):
        check_saved_model(written_place(path))
    with replacing_folder(path) as fresh:
        if is_utf8(fresh):
            _export(kmodel, fresh)
        else:  # TensorFlow takes no other paths than those in UTF-8
            with scratch_folder() as scratch:
                _export(kmodel, scratch / "new")
                shutil.copytree(scratch / "new", fresh)


def _export(kmodel: keras.Model, folder: Path) -> None:
    with quiet():
        kmodel.export(folder, format="tf_saved_model", verbose=False)


def require_tensorflow(task: str) -> None:
    """Check that Keras runs on TensorFlow.

    Args:
        task: what needs TensorFlow, for the message.

    Raises:
        DarkconvError: Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise DarkconvError(
            f"{task} needs Keras on TensorFlow",
            found=keras.backend.backend(),
            hint="unset KERAS_BACKEND",
        )
