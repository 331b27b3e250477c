"""Fetch files of an npm package as it was published: the runtime of web pages."""

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
    """An npm package in one version.

    Attributes:
        name: name of the package, and of the folder that its files are put into.
        version: the version that darkconv knows.
        size: bytes of the archive.
        sha512: SHA-512 of the archive in base64, as npm publishes it.
        files: the files that are taken out of the archive.
    """

    name: str
    version: str
    size: int
    sha512: str
    files: tuple[str, ...]

    @property
    def address(self) -> str:
        """Return the address of the archive at npm."""
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
    """A package whose files are in a folder.

    Attributes:
        name, version: name and version of the package.
        folder: the folder with its files.
        address: the address of the archive; None if the files were there already.
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
    """Fetch a package's files into FOLDER/NAME, as a whole or not at all.

    Args:
        package: the package to fetch.
        folder: the folder that gets the package's folder; made if it does not exist.
        address: address of the archive; None for npm's.
        force: True to replace a folder that is there.
        progress: takes the number of bytes that are there, and of all bytes.

    Returns:
        The folder of the package.

    Raises:
        DarkconvError: the address does not answer or gives another archive, or the folder is there
            already without the files.
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
    """Extract the files of a checked archive, all of whose names begin with package/."""
    with tarfile.open(archive, "r:gz") as file:
        for name in package.files:
            content = file.extractfile(f"package/{name}")
            assert content is not None, "the archive is the one that was looked at"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.read())
