"""Write files so that a killed run leaves the old file or the new one, never a partial one."""

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
    """Let the block fill a temporary file, which then gets the name `path`; remove it on failure.

    Of a link, the target is replaced, and the temporary file lies beside the target.

    Args:
        path: the file to write.

    Yields:
        The path of the temporary file.

    Raises:
        DarkconvError: the folder does not exist or is write-protected, the disk is full, or `path`
            exists and is not a regular file.
    """
    target = Path(path)
    with writing(target), temporary_file(written_place(target)) as temporary:
        yield temporary
        take_names({target: temporary})


@contextlib.contextmanager
def filling_folder(path: PathLike) -> Iterator[Path]:
    """Make a temporary folder beside `path`, for programs that choose file names themselves.

    Args:
        path: the file or folder that will be written from it.

    Yields:
        The path of the temporary folder, which is removed at the end.

    Raises:
        DarkconvError: as for `replacing`.
    """
    target = Path(path)
    with writing(target), temporary_folder(written_place(target)) as folder:
        yield folder


@contextlib.contextmanager
def replacing_folder(path: PathLike) -> Iterator[Path]:
    """Let the block make a folder, which then gets the name `path`.

    A folder of this name is removed when the new one is whole.

    Args:
        path: the folder to write.

    Yields:
        The path at which the block makes the new folder.

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
    """Make an empty folder among the system's temporary files, which is removed at the end.

    Yields:
        The path of the folder.

    Raises:
        DarkconvError: there is no room for it, or it cannot be made.
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
    """Write a file whole or not at all.

    Args:
        path: the file to write; an old one is replaced.
        chunks: its bytes, in pieces.

    Raises:
        DarkconvError: as for `replacing`.
    """
    write_together({path: chunks})


def write_together(
    contents: Mapping[PathLike, Chunks],
    *,
    check: Callable[[Mapping[Path, Path]], None] | None = None,
) -> None:
    """Write several files whole or not at all; the last one, such as a cfg, describes the others.

    No file gets its name before all are whole: see `take_names`.

    Args:
        contents: the bytes of each file, in pieces; the describing file is the last.
        check: a function that is given the whole temporary files by their future paths; if it
            raises, all files stay as they were.

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
    """Make a folder and the folders that it lies in, where they do not exist.

    Args:
        path: the folder; nothing happens if it exists.

    Raises:
        DarkconvError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DarkconvError(f"{path}: cannot make the folder: {error.strerror}") from error


def check_saved_model(path: PathLike) -> bool:
    """Return True if a SavedModel exists where a new one is to be written.

    Args:
        path: the folder of the SavedModel to write.

    Raises:
        DarkconvError: something else is there.
    """
    target = Path(path)
    is_saved_model = os.path.isfile(target / "saved_model.pb")
    if os.path.exists(target) and not is_saved_model:
        raise DarkconvError(f"{target}: is there already, and is no SavedModel")
    return is_saved_model


def write_chunks(path: Path, chunks: Chunks) -> None:
    """Fill an empty file that no other process uses yet.

    The file is not opened to be truncated ("wb"): ext4 sends a truncated file, even an empty one,
    to the disk when it is closed, which takes as long as writing it.

    Args:
        path: the empty file, which exists.
        chunks: its bytes, in pieces.
    """
    with path.open("r+b") as file:
        for chunk in chunks:
            file.write(chunk)


def take_names(temporaries: Mapping[Path, Path]) -> None:
    """Rename whole temporary files to their final names.

    A single file is replaced in one step. Where several change, the last one, which describes the
    others, is moved away until all are in place: whoever reads meanwhile, or after a run that was
    killed just then, finds it missing, and never beside files that it does not describe.

    A file that replaces another is first sent to the disk, so that a power cut cannot lose both. A
    new file is not: there is nothing to lose, and it would take as long again.

    Args:
        temporaries: the temporary files by their final paths; the describing file is the last.

    Raises:
        DarkconvError: a name cannot be taken, or an input was overwritten meanwhile.
    """
    places = _places(temporaries)
    for target, temporary in places.items():
        with writing(target):
            _make_ready(temporary, target)
    check_sources()
    _take_places(places)


def _places(temporaries: Mapping[Path, Path]) -> dict[Path, Path]:
    """Return the temporary files by the paths that they replace: of links, the targets."""
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
    """Return True if a path can be encoded in UTF-8, which some libraries need.

    Args:
        path: a path that may hold bytes that are not UTF-8.
    """
    return not any("\ud800" <= character <= "\udfff" for character in os.fspath(path))


def no_room(error: BaseException | None) -> str | None:
    """Return the system's message of a full disk or quota, if that has caused an error.

    Args:
        error: the error; its causes and contexts are searched too.

    Returns:
        None if the error has another cause.
    """
    while error is not None:
        for number in NO_ROOM:  # libraries in other languages only repeat the text of the message
            if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


def why(error: BaseException) -> str | None:
    """Return the system's message for a file that could not be written.

    Args:
        error: the error, with its causes.

    Returns:
        None if the error is not of the system.
    """
    return no_room(error) or getattr(error, "strerror", None)


@contextlib.contextmanager
def writing(path: PathLike, reason: Callable[[BaseException], str | None] = why) -> Iterator[None]:
    """Turn the system's errors in this block into a DarkconvError that names the file.

    Args:
        path: the file or folder that is written.
        reason: a function that returns an error's reason in words; errors for which it returns None
            are raised unchanged.

    Yields:
        Nothing.

    Raises:
        DarkconvError: the file cannot be written.
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
    if is_no_file(target):  # renaming would replace a device
        raise DarkconvError(f"{target}: cannot write: it is there, and is no file")
    if is_closed(target):  # renaming would ignore the write protection
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        keep_permissions(target, temporary)
    except FileNotFoundError:
        return
    with temporary.open("rb") as file:
        os.fsync(file.fileno())


def keep_permissions(old: Path, new: Path) -> None:
    """Give a file or folder the permissions, and where possible the owner, of another.

    Args:
        old: the file or folder whose permissions are copied.
        new: the file or folder that gets them.
    """
    found, own = old.stat(), new.stat()
    if (found.st_uid, found.st_gid) != (own.st_uid, own.st_gid) and sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.chown(new, found.st_uid, found.st_gid)
    new.chmod(stat.S_IMODE(found.st_mode) & 0o777)


def _rename_all(temporaries: Mapping[Path, Path]) -> None:
    for target, temporary in temporaries.items():
        temporary.replace(target)


def _replace_behind(main: Path, aside: Path, temporaries: Mapping[Path, Path]) -> None:
    """Rename all files while the old main file is moved away; restore it if that fails at once."""
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
    """Keep files open, so that the disk space of the old ones is freed after the block."""
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":  # where open files cannot be replaced
            for path in filter(Path.exists, paths):
                stack.enter_context(path.open("rb"))
        yield


def _several_change(temporaries: Mapping[Path, Path]) -> bool:
    """Return True if more than one of the files differs from the file that it replaces."""
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
