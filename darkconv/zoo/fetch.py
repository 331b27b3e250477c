"""Fetch a published model: its weights from an address, its cfg and names from this package."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darkconv.core.section import Config
from darkconv.darknet.cfg import read_cfg
from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.files import PathLike, filling_folder, make_folder, take_names, write_bytes
from darkconv.libraries import telling_missing
from darkconv.zoo.download import Downloader, Progress
from darkconv.zoo.models import Published
from darkconv.zoo.requirement import START, required_size

logger = logging.getLogger("darkconv")


@dataclass(frozen=True)
class Fetched:
    """A model whose files are in a folder.

    Attributes:
        cfg, weights, names: paths of its files; names may be None.
        size: bytes of the weights.
        sha256: SHA-256 of the weights, in hexadecimal.
        address: the address of the weights; None if they were there already.
        written: the files that are new.
    """

    cfg: Path
    weights: Path
    names: Path | None
    size: int
    sha256: str
    address: str | None
    written: tuple[Path, ...]


def fetch(
    model: Published,
    cfg: PathLike,
    folder: PathLike,
    *,
    address: str | None = None,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> Fetched:
    """Fetch a model into a folder: NAME.cfg, NAME.weights, NAME.names.

    The weights get their name when they are whole and have the size that the cfg requires. Until
    then they are in NAME.weights.part, and the next call resumes from it.

    Args:
        model: the model to fetch.
        cfg: its bundled cfg.
        folder: the folder for the files; made if it does not exist.
        address: address of the weights; None for the model's own.
        force: True to replace files that are there.
        progress: takes the number of bytes that are there, and of all bytes.

    Returns:
        The paths of the files, and which of them are new.

    Raises:
        WeightsError: an address gives another file, or another file is there already.
        DarkconvError: no address answers, or a file cannot be written.
        MissingDependencyError: requests is not installed.
    """
    config = read_cfg(cfg)
    place = Path(folder)
    weights = place / f"{model.name}.weights"
    used = None
    if force or not _is_there(weights, config):
        make_folder(place)
        used, digest = _bring(model, config, weights, address, progress)
    else:
        digest = _sha256(weights)
    if model.sha256 and digest != model.sha256:
        logger.warning("%s: not the published file, whose SHA-256 is %s", weights, model.sha256)
    written = _put_beside(model, Path(cfg), weights, force=force)
    names = weights.with_suffix(".names")
    return Fetched(
        cfg=weights.with_suffix(".cfg"),
        weights=weights,
        names=names if names.exists() else None,
        size=weights.stat().st_size,
        sha256=digest,
        address=used,
        written=(weights, *written) if used else written,
    )


def _is_there(weights: Path, config: Config) -> bool:
    """Return True if the model's weights are there already.

    Raises:
        WeightsError: another file of that name is there, or it cannot be read.
    """
    if not weights.exists():
        return False
    try:
        with weights.open("rb") as file:
            required_size(config, str(weights), file.read(START), weights.stat().st_size)
    except OSError as error:
        raise WeightsError(
            f"cannot read: {error.strerror}", where=Where(file=str(weights))
        ) from error
    except WeightsError as error:
        error.hint = "; ".join(filter(None, [error.hint, "--overwrite replaces it"]))
        raise
    return True


def _bring(
    model: Published, config: Config, weights: Path, address: str | None, progress: Progress
) -> tuple[str, str]:
    """Download the weights from the first address that has them; return address and SHA-256."""
    addresses = model.addresses if address is None else (address,)
    if not addresses:
        raise DarkconvError(
            f"{model.name}: its weights have no address that a program could read",
            hint=f"fetch them by hand from {model.page}, then give --url file:///...",
        )
    with telling_missing("fetch"):
        import requests  # noqa: F401 - the downloader's
    part = weights.with_name(f"{weights.name}.part")
    downloader = Downloader(
        part, lambda file, start, size: required_size(config, file, start, size), progress
    )
    failures: list[DarkconvError] = []
    for one in addresses:
        if failures:
            logger.warning("%s: %s; trying %s", model.name, failures[-1], one)
        try:
            wanted = model.sha256 if address is None else None
            return one, _retrieve(one, weights, wanted, downloader)
        except DarkconvError as error:
            if error.where.file != one:  # an error of this machine: no other address helps
                raise
            failures.append(error)
    raise _summary(model, failures, part)


def _retrieve(address: str, weights: Path, sha256: str | None, downloader: Downloader) -> str:
    """Download the weights from an address, and return their SHA-256.

    Raises:
        WeightsError: the file does not have the wanted SHA-256.
    """
    with filling_folder(weights) as folder:
        whole = folder / weights.name
        downloader.bring(address, whole)
        digest = _sha256(whole)
        if sha256 and digest != sha256:
            raise WeightsError(
                "is not the file that was published",
                where=Where(file=address),
                expected=f"SHA-256 {sha256}",
                found=digest,
                hint=f"--url {address} takes it as it is",
            )
        take_names({weights: whole})
    return digest


def _summary(model: Published, failures: Sequence[DarkconvError], part: Path) -> DarkconvError:
    """Return one error for the errors of all addresses."""
    error = failures[0]
    if len(failures) > 1:
        lines = [line for failure in failures for line in str(failure).split("\n")]
        error = DarkconvError(f"{model.name}: no address gives its weights", details=lines)
    if error.hint is None and part.exists():
        error.hint = f"the same command goes on behind the {part.stat().st_size} bytes in {part}"
    elif error.hint is None:
        error.hint = "--url takes the weights from another address"
    return error


def _put_beside(model: Published, cfg: Path, weights: Path, *, force: bool) -> tuple[Path, ...]:
    """Write the cfg and the names where there are none; return the files that were written."""
    texts = {".cfg": cfg.read_bytes(), ".names": model.classes.names()}
    written = []
    for suffix, text in texts.items():
        path = weights.with_suffix(suffix)
        if text is None:
            continue
        if force or not path.exists():
            write_bytes(path, [text])
            written.append(path)
        elif path.read_bytes() != text:
            logger.warning("%s: kept as it is; the bundled one is another", path)
    return tuple(written)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
