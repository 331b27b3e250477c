"""Bring files of a package of npm, as it was published: the runtime of pages."""

import base64
import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike, filling_folder, make_folder, replacing_folder
from darkconv.libraries import telling_missing
from darkconv.zoo.download import Downloader, Progress


@dataclass(frozen=True)
class Package:
    """A package of npm, of one version.

    Attributes:
        name: of the package, and of the folder that its files are put into.
        version: that is known here.
        size: bytes of the archive.
        sha512: of the archive, in base64, as npm publishes it.
        files: that are taken out of it.
    """

    name: str
    version: str
    size: int
    sha512: str
    files: tuple[str, ...]

    @property
    def address(self) -> str:
        """Where npm has the archive."""
        archive = f"{self.name}-{self.version}.tgz"
        return f"https://registry.npmjs.org/{self.name}/-/{archive}"


ORT_WEB = Package(
    "onnxruntime-web",
    "1.30.0",
    33_106_585,
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    (
        "package.json",
        "dist/ort.wasm.min.js",
        "dist/ort-wasm-simd-threaded.mjs",
        "dist/ort-wasm-simd-threaded.wasm",
    ),
)


@dataclass(frozen=True)
class FetchedPackage:
    """A package that is here.

    Attributes:
        name, version: of it.
        folder: with its files.
        address: it has come from; None if it was there already.
    """

    name: str
    version: str
    folder: Path
    address: str | None


def fetch_package(
    package: Package,
    folder: PathLike,
    *,
    address: str | None = None,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> FetchedPackage:
    """Bring a package's files into FOLDER/NAME, as a whole or not at all.

    Args:
        package: what to bring.
        folder: where to; made if it does not exist.
        address: of the archive, in place of npm's.
        force: replace what is there.
        progress: is told of bytes.

    Raises:
        DarkconvError: the address does not answer, gives another archive, or something else is
            there already.
        MissingDependencyError: requests is not installed.
    """
    place = Path(folder) / package.name
    if place.exists() and not force:
        if not all((place / name).is_file() for name in package.files):
            raise DarkconvError(
                f"{place}: is there already, without the files of {package.name}",
                hint="--overwrite replaces it",
            )
        return FetchedPackage(package.name, package.version, place, None)
    with telling_missing("fetch"):
        import requests  # noqa: F401 - the downloader's
    source = address or package.address
    make_folder(folder)
    part = place.with_name(f"{package.name}-{package.version}.tgz.part")
    with filling_folder(place) as beside:
        archive = beside / "package.tgz"
        Downloader(part, lambda *_: package.size, progress).bring(source, archive)
        _check(package, archive, source)
        with replacing_folder(place) as fresh:
            _unpack(package, archive, fresh)
    return FetchedPackage(package.name, package.version, place, source)


def _check(package: Package, archive: Path, source: str) -> None:
    with archive.open("rb") as file:
        digest = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if digest != package.sha512:
        raise DarkconvError(
            f"is not {package.name} {package.version} as it was published",
            where=Where(file=source),
            expected=f"SHA-512 {package.sha512}",
            found=digest,
        )


def _unpack(package: Package, archive: Path, folder: Path) -> None:
    """Take the files out of an archive that is known, all of whose names begin with package/."""
    with tarfile.open(archive, "r:gz") as file:
        for name in package.files:
            content = file.extractfile(f"package/{name}")
            assert content is not None, "the archive is the one that was looked at"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.read())
