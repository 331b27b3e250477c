"""Types of options that name files: each says whether the command reads or writes them."""

from pathlib import Path
from typing import Any

import click

from darkconv.files.outputs import note_folder, note_folder_use, note_input, note_output


class ReadType(click.ParamType):  # type: ignore[type-arg]
    """The type of an option or argument that names files to read."""

    def note(self, value: Any) -> None:
        """Tell of the files."""
        note_input(value)


class WrittenType(click.ParamType):  # type: ignore[type-arg]
    """The type of an option that names files to write.

    Attributes:
        has_overwrite: `--overwrite` has a meaning for it.
    """

    has_overwrite = True

    def note(self, value: Any) -> None:
        """Tell of the files, and check that they can be written."""
        raise NotImplementedError


class InputFile(click.Path, ReadType):
    """A file to read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"path_type": Path, **options})


class OutputFile(click.Path, WrittenType):
    """A file to write."""

    def __init__(self, *, over_inputs: bool = False) -> None:
        """Say whether `--overwrite` lets the file replace one that the command reads."""
        super().__init__(dir_okay=False, path_type=Path)
        self.has_overwrite = over_inputs

    def note(self, value: Path) -> None:
        """See `WrittenType`."""
        note_output(value, over_inputs=self.has_overwrite)


class ReplacedFolder(click.Path, WrittenType):
    """A folder that is made, or replaced as a whole."""

    has_overwrite = False

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def note(self, value: Path) -> None:
        """See `WrittenType`."""
        note_folder(value)


class OutputFolder(click.Path, WrittenType):
    """A folder for files, of which the command tells itself; or, if allowed, one file."""

    def __init__(self, *, file_okay: bool = False) -> None:
        super().__init__(file_okay=file_okay, path_type=Path)

    def note(self, value: Path) -> None:
        """See `WrittenType`."""
        if not self.file_okay:
            note_folder_use(value)
