"""Check a run's outputs against its inputs and each other, before the run begins.

A run reports its files with `note_input` and `note_output`, in any order, inside a block of
`guarding_files`. Two paths are the same file if they lead to the same place: by another spelling,
by a link, or, on file systems that ignore it, by another case. Outside of the block nothing is
noted.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from darkconv.errors import DarkconvError

PathLike = str | os.PathLike[str]
Identity = tuple[int, int]

ASKED = "--overwrite (in Python overwrite=True) replaces it"


@dataclass(frozen=True)
class PlannedOutput:
    """A file or folder that the run will write.

    Attributes:
        path: the path as the user, or the rule that made the name, spells it.
        what: what is written, such as the picture that a drawing shows; for messages.
        over_inputs: the file may replace an input if the user asks for that.
        is_folder: it is a folder, which is replaced as a whole.
    """

    path: str
    what: str = ""
    over_inputs: bool = True
    is_folder: bool = False


class FileGuard:
    """The inputs and outputs of a run, none of which may replace another by mistake."""

    def __init__(self, *, overwrite: bool = False) -> None:
        """Begin without files.

        Args:
            overwrite: outputs may replace inputs, except lasting ones.
        """
        self.overwrite = overwrite
        self._inputs: dict[str, bool] = {}
        self._known: dict[Identity, str] = {}
        self._unknown: list[str] = []
        self._outputs: dict[str, PlannedOutput] = {}
        self._folders: list[PlannedOutput] = []
        self._there: dict[Identity, PlannedOutput] = {}
        self._identity: dict[str, Identity] = {}

    def read(self, path: PathLike, *, is_lasting: bool = False) -> None:
        """Note an input.

        Args:
            path: the file; one that does not exist does not count.
            is_lasting: the file is never replaced, whatever the user asks for; pictures are an
                example.

        Raises:
            DarkconvError: the file is an output too.
        """
        text = os.fspath(path)
        if text in self._inputs and (self._inputs[text] or not is_lasting):
            return
        self._inputs[text] = is_lasting
        self._unknown.append(text)
        found = identity(text) if self._there else None
        if found is not None and found in self._there:
            self._compare(self._there[found], text)
        for folder in self._folders:
            self._check_outside(folder, text)

    def write(self, output: PlannedOutput) -> None:
        """Note an output.

        Args:
            output: the file or folder that will be written.

        Raises:
            DarkconvError: another output, or an input, is the same file.
        """
        place, found = place_of(output.path), identity(output.path)
        other = self._outputs.get(place) or (self._there.get(found) if found else None)
        if other:
            raise _written_twice(output, other)
        for one in self._outputs.values() if output.is_folder else self._folders:
            if _lies_in(one, output) or _lies_in(output, one):
                raise _written_twice(output, one)
        self._outputs[place] = output
        if output.is_folder:
            self._folders.append(output)
            for path in self._inputs:
                self._check_outside(output, path)
        elif found is not None:
            self._there[found], self._identity[place] = output, found
            same = self._identities().get(found)
            if same is not None:
                self._compare(output, same)

    def use_folder(self, path: PathLike) -> None:
        """Note a folder that is kept, and into which files are written.

        Args:
            path: the folder to write into; it need not exist.

        Raises:
            DarkconvError: the same path is an output that is written as a whole.
        """
        output = PlannedOutput(os.fspath(path))
        other = self._outputs.setdefault(place_of(path), output)
        if other is not output:
            raise _written_twice(output, other)

    def take(self, path: PathLike) -> None:
        """Note that an output is about to be replaced, whether it was planned or not.

        From here on the file that had this name before is not compared any more.

        Args:
            path: the output that gets its content now.

        Raises:
            DarkconvError: the output was not planned, and is an input.
        """
        place = place_of(path)
        if place not in self._outputs:
            self.write(PlannedOutput(os.fspath(path)))
        found = self._identity.pop(place, None)
        if found is not None:
            del self._there[found]

    def plans(self, path: PathLike) -> bool:
        """Return True if a path is a planned output.

        Args:
            path: any path; other spellings of an output count too.
        """
        return place_of(path) in self._outputs

    def _identities(self) -> dict[Identity, str]:
        while self._unknown:
            text = self._unknown.pop()
            found = identity(text)
            if found and (found not in self._known or self._inputs[text]):
                self._known[found] = text
        return self._known

    def _compare(self, output: PlannedOutput, path: str) -> None:
        is_lasting = self._inputs[path]
        can_be_asked = output.over_inputs and not is_lasting
        if self.overwrite and can_be_asked:
            return
        same = "" if path == output.path else f", as {path}"
        raise DarkconvError(
            f"{output.path}: is read by this run{same}, and would be replaced",
            hint=ASKED if can_be_asked else "such a file is never replaced: name another output",
        )

    def _check_outside(self, folder: PlannedOutput, path: str) -> None:
        if os.path.isdir(folder.path) and _is_below(path, folder.path):
            raise DarkconvError(
                f"{folder.path}: holds {path}, which is read, and would be replaced"
            )


_guard: FileGuard | None = None


@contextmanager
def guarding_files(*, overwrite: bool = False) -> Iterator[FileGuard]:
    """Check all inputs and outputs that are noted in this block against each other.

    Args:
        overwrite: outputs may replace inputs, except lasting ones.

    Yields:
        The guard, which holds the noted files.
    """
    global _guard
    before, _guard = _guard, FileGuard(overwrite=overwrite)
    try:
        yield _guard
    finally:
        _guard = before


def note_input(path: PathLike, *, is_lasting: bool = False) -> None:
    """Note a file that the run reads, if a block of `guarding_files` is open.

    Args:
        path: the file; one that does not exist does not count.
        is_lasting: the file is never replaced, whatever the user asks for.

    Raises:
        DarkconvError: the file is an output too.
    """
    if _guard:
        _guard.read(path, is_lasting=is_lasting)


def note_pictures(paths: Iterable[PathLike]) -> None:
    """Note pictures that the run reads; no output ever replaces one.

    Args:
        paths: the pictures' files.

    Raises:
        DarkconvError: one of them is an output too.
    """
    if _guard:
        for path in paths:
            _guard.read(path, is_lasting=True)


def may_overwrite() -> bool:
    """Return True if the run may replace files that it would otherwise leave alone."""
    return _guard is not None and _guard.overwrite


def note_output(
    path: PathLike, what: str = "", *, over_inputs: bool = True, makes_folder: bool = False
) -> None:
    """Note a file that the run will write, and check that it can be written.

    Args:
        path: the file to write; it need not exist.
        what: what is written, for messages: see `PlannedOutput`.
        over_inputs: the file may replace an input if the user asks for that.
        makes_folder: the run makes the file's folder if there is none.

    Raises:
        DarkconvError: the file cannot be written, or is another output or an input.
    """
    if not makes_folder or os.path.isdir(os.path.dirname(path) or os.curdir):
        check_writable(path)
    if _guard:
        _guard.write(PlannedOutput(os.fspath(path), what, over_inputs))


def note_folder(path: PathLike) -> None:
    """Note a folder that the run replaces as a whole.

    Args:
        path: the folder to replace; it need not exist.

    Raises:
        DarkconvError: the folder cannot be made, is another output, or holds an input or an output.
    """
    if not os.path.isdir(path):
        check_writable(path)
    if _guard:
        _guard.write(PlannedOutput(os.fspath(path), is_folder=True))


def note_folder_use(path: PathLike) -> None:
    """Note a folder into which the run writes files, and which it makes if there is none.

    Args:
        path: the folder to write into; it need not exist.

    Raises:
        DarkconvError: the folder cannot be made, or is an output as a whole.
    """
    check_folder(path)
    if _guard:
        _guard.use_folder(path)


def note_taken(path: PathLike) -> None:
    """Note that a file is about to get its name: see `FileGuard.take`.

    Args:
        path: the name that it gets.

    Raises:
        DarkconvError: the output was not planned, and is an input.
    """
    if _guard:
        _guard.take(path)


def check_belongs(path: PathLike, main: PathLike) -> None:
    """Check a file whose name follows from another output's name, rather than from the user.

    If the other output exists, an earlier run has written both, and both are replaced. If it does
    not exist, an earlier run cannot have written the file.

    Args:
        path: the file to write, which may exist.
        main: the output whose name the file's name follows from.

    Raises:
        DarkconvError: no earlier run has written the file, and the run may not overwrite it.
    """
    if not may_overwrite() and os.path.exists(path) and not os.path.exists(main):
        raise DarkconvError(
            f"{os.fspath(path)}: would be written beside {os.fspath(main)}, "
            "but is there already, without it",
            hint=ASKED,
        )


def check_own(path: PathLike, is_own: Callable[[PathLike], bool]) -> None:
    """Check a file in the user's folder whose name follows from an input's name.

    Args:
        path: the file to write, which may exist.
        is_own: returns True if an earlier run of darkconv has written an existing file.

    Raises:
        DarkconvError: no earlier run has written the file, and the run may not overwrite it.
    """
    if not may_overwrite() and os.path.exists(path) and not is_own(path):
        raise DarkconvError(
            f"{os.fspath(path)}: is there already, and was not made by darkconv", hint=ASKED
        )


def check_pair(cfg: PathLike, weights: PathLike) -> None:
    """Check that a cfg and its weights do not replace one half each of two other models.

    Args:
        cfg: the cfg that will be written.
        weights: the weights that will be written.

    Raises:
        DarkconvError: one of the two belongs by its name to another model, whose other half would
            stay.
    """
    for path, half in (
        (weights, Path(weights).with_suffix(".cfg")),
        (cfg, Path(cfg).with_suffix(".weights")),
    ):
        stays = os.path.exists(half) and not (_guard is not None and _guard.plans(half))
        if stays and not may_overwrite():
            raise DarkconvError(
                f"{os.fspath(path)}: belongs to {half} by its name, which would not be written",
                hint=f"-o {Path(path).with_suffix('')}.cfg {Path(path).with_suffix('')}.weights, "
                "or --overwrite",
            )


def check_outputs(
    outputs: Iterable[PathLike], inputs: Iterable[PathLike] = (), *, overwrite: bool = False
) -> None:
    """Check that files can be written, and that none is another output or an input.

    Args:
        outputs: the files to write.
        inputs: the files that they are made from.
        overwrite: outputs may replace inputs.

    Raises:
        DarkconvError: an output cannot be written, is named twice, or would replace an input.
    """
    guard = FileGuard(overwrite=overwrite)
    for path in inputs:
        guard.read(path)
    for path in outputs:
        check_writable(path)
        guard.write(PlannedOutput(os.fspath(path)))


def check_writable(path: PathLike) -> None:
    """Check that a file can be written, as far as this is known before writing.

    Args:
        path: the file; it need not exist.

    Raises:
        DarkconvError: its folder does not exist, the folder or the file is write-protected, or the
            path leads to something that is not a regular file.
    """
    target = Path(path)
    with_reason = f"{target}: cannot write"
    try:
        place = written_place(target)
        _check_reachable(place)
    except OSError as error:
        raise DarkconvError(f"{with_reason}: {error.strerror}") from error
    if is_no_file(place):
        raise DarkconvError(f"{with_reason}: it is there, and is no file")
    reason = _refusal(place)
    if reason:
        raise DarkconvError(f"{with_reason}: {os.strerror(reason)}")


def check_folder(path: PathLike) -> None:
    """Check that a folder can be made, or can get files, as far as this is known before.

    Args:
        path: the folder; it need not exist.

    Raises:
        DarkconvError: the folder, or one that it would lie in, is a file or is write-protected.
    """
    found = Path(path)
    while not os.path.lexists(found) and found != found.parent:
        found = found.parent
    reason = None
    if not os.path.isdir(found):
        reason = errno.EEXIST if found == Path(path) else errno.ENOTDIR
    elif not os.access(found, os.W_OK):
        reason = errno.EACCES
    if reason:
        raise DarkconvError(f"{path}: cannot make the folder: {os.strerror(reason)}")


def _check_reachable(place: Path) -> None:
    """Raise an OSError if the system refuses the path itself, for example if it is too long."""
    try:
        place.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error


def _refusal(place: Path) -> int | None:
    folder = place.parent
    if not os.path.exists(folder):
        return errno.ENOENT
    if not os.path.isdir(folder):
        return errno.ENOTDIR
    return errno.EACCES if not os.access(folder, os.W_OK) or is_closed(place) else None


def written_place(path: PathLike) -> Path:
    """Return the file that is written for a path: the target of a link, else the path itself.

    Args:
        path: the path; neither it nor a link's target need exist.

    Raises:
        OSError: the links form a circle.
    """
    target = Path(path)
    if not os.path.islink(target):
        return target
    try:
        return Path(os.path.realpath(target, strict=True))
    except FileNotFoundError:  # as open() does, writing makes the file that the link leads to
        return Path(os.path.realpath(target))


def is_no_file(path: PathLike) -> bool:
    """Return True if something other than a regular file is there: a folder, a pipe, a device.

    Args:
        path: the path; False if nothing is there.
    """
    try:  # one call: between two calls another process may replace the file
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def is_closed(path: PathLike) -> bool:
    """Return True if a file exists and is write-protected.

    A file that another process replaces between the two looks does not count.

    Args:
        path: the file; False if it does not exist.
    """
    before = identity(path)
    return before is not None and not os.access(path, os.W_OK) and identity(path) == before


def identity(path: PathLike) -> Identity | None:
    """Return the numbers of a file's device and inode, which are equal for all names of one file.

    Args:
        path: the file; links are followed.

    Returns:
        None if there is no such file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def place_of(path: PathLike) -> str:
    """Return the place that a path leads to, as a text that is equal for equal places.

    Args:
        path: the path; it need not exist.
    """
    place = os.path.realpath(path)
    return place.casefold() if _ignores_case(os.path.dirname(place)) else place


def _ignores_case(folder: str) -> bool:
    """Return True if a folder takes `A` and `a` for the same file, tested with its own name."""
    other = folder.swapcase()
    return other != folder and identity(other) is not None and identity(other) == identity(folder)


def _lies_in(folder: PlannedOutput, other: PlannedOutput) -> bool:
    return folder.is_folder and folder is not other and _is_below(other.path, folder.path)


def _is_below(path: PathLike, folder: PathLike) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _written_twice(output: PlannedOutput, other: PlannedOutput) -> DarkconvError:
    same = "" if output.path == other.path else f", also as {other.path}"
    both = f": for {other.what} and for {output.what}" if output.what and other.what else ""
    hint = "give each its own output" if both else None
    return DarkconvError(f"{output.path}: is to be written twice{same}{both}", hint=hint)
