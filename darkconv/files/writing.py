"""Writing files so that a killed run leaves the old one or the new one, nothing between."""

import contextlib
import errno
import itertools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from darkconv.errors import DarkconvError
from darkconv.files.outputs import is_closed, is_no_file, note_taken, written_place
from darkconv.files.signals import undisturbed
from darkconv.files.sources import check_sources
from darkconv.files.temporaries import locked_folder, temporary_file, temporary_folder

PathLike = str | os.PathLike[str]
Chunks = Iterable[bytes | memoryview]

NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
PIECE = 1 << 20
ELSEWHERE = "TMPDIR=FOLDER has temporary files elsewhere"


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it at the end; removed if the block fails.

    Of a link, what it leads to is replaced, and the temporary file lies beside that.

    Raises:
        DarkconvError: the folder does not exist or cannot be written, the disk is full, or
            `path` is there and no file.
    """
    target = Path(path)
    with writing(target), temporary_file(written_place(target)) as temporary:
        yield temporary
        take_names({target: temporary})


@contextlib.contextmanager
def filling_folder(path: PathLike) -> Iterator[Path]:
    """A temporary folder beside `path`, for programs that choose names themselves.

    Raises:
        DarkconvError: as for `replacing`.
    """
    target = Path(path)
    with writing(target), temporary_folder(written_place(target)) as folder:
        yield folder


@contextlib.contextmanager
def replacing_folder(path: PathLike) -> Iterator[Path]:
    """A path for a new folder beside `path`, which takes its name at the end.

    A folder that is there is removed when the new one is whole.

    Raises:
        DarkconvError: as for `replacing`.
    """
    with writing(path):
        target = written_place(path)
    with filling_folder(target) as folder:
        fresh = folder / "new"
        yield fresh
        check_sources()
        note_taken(target)
        with undisturbed():
            if target.exists():
                keep_permissions(target, fresh)
                target.rename(folder / "old")
            fresh.rename(target)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder among the system's temporary files, removed at the end.

    Raises:
        DarkconvError: there is no room for it.
    """
    folder = ""
    try:
        with undisturbed():
            folder = _new_scratch_folder()
        with writing(folder, no_room):
            yield Path(folder)
    except DarkconvError as error:
        if no_room(error) and error.hint is None and folder in str(error):
            error.hint = ELSEWHERE
        raise
    finally:
        if folder:
            with undisturbed():
                shutil.rmtree(folder, ignore_errors=True)


def _new_scratch_folder() -> str:
    try:
        return tempfile.mkdtemp(prefix="darkconv-")
    except OSError as error:
        words = error.strerror or str(error)
        raise DarkconvError(f"no folder for temporary files: {words}", hint=ELSEWHERE) from error


def write_bytes(path: PathLike, chunks: Chunks) -> None:
    """Write a file as a whole."""
    write_together({path: chunks})


def write_together(
    contents: Mapping[PathLike, Chunks],
    *,
    check: Callable[[Mapping[Path, Path]], None] | None = None,
) -> None:
    """Write files of which the last one says what the others are, such as a cfg.

    None has its name before all are whole: see `take_names`.

    Args:
        contents: the bytes of each file.
        check: is given the whole files by the names that they are to have; what it raises leaves
            everything as it was.

    Raises:
        DarkconvError: as for `replacing`.
    """
    with contextlib.ExitStack() as stack:
        temporaries = {}
        for path in contents:
            target = Path(path)
            with writing(target):
                place = written_place(target)
                temporaries[target] = stack.enter_context(temporary_file(place))
        for (target, temporary), chunks in zip(temporaries.items(), contents.values(), strict=True):
            with writing(target):
                write_chunks(temporary, chunks)
        if check:
            check(temporaries)
        take_names(temporaries)


def make_folder(path: PathLike) -> None:
    """Make a folder and those that it lies in, where they are not there.

    Raises:
        DarkconvError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DarkconvError(f"{path}: cannot make the folder: {error.strerror}") from error


def check_saved_model(path: PathLike) -> bool:
    """Return True if a SavedModel is in the place where one is to be written.

    Raises:
        DarkconvError: something else is there.
    """
    target = Path(path)
    is_saved_model = os.path.isfile(target / "saved_model.pb")
    if os.path.exists(target) and not is_saved_model:
        raise DarkconvError(f"{target}: is there already, and is no SavedModel")
    return is_saved_model


def write_chunks(path: Path, chunks: Chunks) -> None:
    """Fill an empty file that nobody else knows yet.

    It is not opened to be cut ("wb"): of a file that was cut, even of an empty one, ext4 sends all
    to the disk when it is closed, which takes as long as writing it does.
    """
    with path.open("r+b") as file:
        for chunk in chunks:
            file.write(chunk)


def take_names(temporaries: Mapping[Path, Path]) -> None:
    """Give whole files their names.

    One file is replaced in one step. Where several change, the last one, which says what the others
    are, is away until all are there: whoever reads meanwhile, or after a run that was killed just
    then, finds it missing, and never beside files that it does not belong to.

    What replaces a file is first sent to the disk, so that a power cut cannot take both. A new one
    is not: there is nothing to lose, and it would take as long again.

    Args:
        temporaries: whole files by the names that they are to have.

    Raises:
        DarkconvError: a name cannot be taken, or a source was overwritten meanwhile.
    """
    places = _places(temporaries)
    for target, temporary in places.items():
        with writing(target):
            _make_ready(temporary, target)
    check_sources()
    _take_places(places)


def _places(temporaries: Mapping[Path, Path]) -> dict[Path, Path]:
    """Return the temporary files by what is replaced: of links, what they lead to."""
    places: dict[Path, Path] = {}
    for target, temporary in temporaries.items():
        note_taken(target)
        with writing(target):
            place = written_place(target)
        if place in places:
            raise DarkconvError(f"{target}: is to be written twice")
        places[place] = temporary
    return places


def _take_places(temporaries: Mapping[Path, Path]) -> None:
    *others, main = temporaries
    if not others:
        with writing(main):
            temporaries[main].replace(main)
        return
    with locked_folder(main.parent), writing(main):
        if main.exists() and _several_change(temporaries):
            with temporary_folder(main) as folder, undisturbed():
                _replace_behind(main, folder / main.name, temporaries)
        else:
            with undisturbed():
                _rename_all(temporaries)


def is_utf8(path: PathLike) -> bool:
    """Return True if a path has a form in UTF-8, which some libraries need."""
    return not any("\ud800" <= character <= "\udfff" for character in os.fspath(path))


def no_room(error: BaseException | None) -> str | None:
    """What the system says of a full disk or quota, if that is behind an error."""
    while error is not None:
        for number in NO_ROOM:  # libraries in other languages only repeat the text
            if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


def why(error: BaseException) -> str | None:
    """What the system says of a file that could not be written."""
    return no_room(error) or getattr(error, "strerror", None)


@contextlib.contextmanager
def writing(path: PathLike, reason: Callable[[BaseException], str | None] = why) -> Iterator[None]:
    """Name a file or folder in what the system says of it, or a library repeats.

    Args:
        path: of what is written.
        reason: in words; errors that have none go on as they are.

    Raises:
        DarkconvError: it cannot be written.
    """
    if not Path(path).name:
        raise DarkconvError(f"{os.fspath(path) or '(nothing)'}: cannot write: it names no file")
    try:
        yield
    except DarkconvError:
        raise
    except Exception as error:
        words = reason(error)
        if words is None:
            raise
        raise DarkconvError(f"{path}: cannot write: {words}") from error


def _make_ready(temporary: Path, target: Path) -> None:
    if is_no_file(target):  # a device would be replaced without a word
        raise DarkconvError(f"{target}: cannot write: it is there, and is no file")
    if is_closed(target):  # renaming would not ask
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        keep_permissions(target, temporary)
    except FileNotFoundError:
        return
    with temporary.open("rb") as file:
        os.fsync(file.fileno())


def keep_permissions(old: Path, new: Path) -> None:
    """Give a file or folder the permissions, and where possible the owner, of another."""
    found, own = old.stat(), new.stat()
    if (found.st_uid, found.st_gid) != (own.st_uid, own.st_gid) and sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.chown(new, found.st_uid, found.st_gid)
    new.chmod(stat.S_IMODE(found.st_mode) & 0o777)


def _rename_all(temporaries: Mapping[Path, Path]) -> None:
    for target, temporary in temporaries.items():
        temporary.replace(target)


def _replace_behind(main: Path, aside: Path, temporaries: Mapping[Path, Path]) -> None:
    """Rename all while the old main file is aside; it comes back if nothing could be replaced."""
    first = next(iter(temporaries.values()))
    with _kept(temporaries):
        main.replace(aside)
        try:
            _rename_all(temporaries)
        except BaseException:
            if first.exists():
                aside.replace(main)
            raise


@contextlib.contextmanager
def _kept(paths: Iterable[Path]) -> Iterator[None]:
    """Have files open, so that the time it takes to free what they hold comes after the block."""
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":  # where open files cannot be replaced
            for path in filter(Path.exists, paths):
                stack.enter_context(path.open("rb"))
        yield


def _several_change(temporaries: Mapping[Path, Path]) -> bool:
    """Whether more than one of the files is another than before."""
    changed = (True for pair in reversed(list(temporaries.items())) if not _are_equal(*pair))
    return len(list(itertools.islice(changed, 2))) == 2


def _are_equal(*paths: Path) -> bool:
    if not all(path.exists() for path in paths):
        return False
    if len({path.stat().st_size for path in paths}) > 1:
        return False
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in paths]
        pieces: Sequence[bytes] = [b"-"]
        while pieces[0]:
            pieces = [file.read(PIECE) for file in files]
            if len(set(pieces)) > 1:
                return False
    return True
