"""The description of a kit, and the folder that is filled with one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from darkconv import __version__
from darkconv.core.model import Model
from darkconv.exporting.formats import OPTIONS_BY_SUFFIX
from darkconv.exporting.kits.facts import Facts
from darkconv.exporting.writing import Exported, write_checked
from darkconv.files import write_bytes
from darkconv.loading.formats import ONNX_SUFFIX
from darkconv.verification.precision import Progress

TEMPLATE_SUFFIX = ".in"
"""Suffix of templates, so that no tool takes them for the files that are made from them."""
ELSEWHERE = ("external", "in_place")
"""Options of ONNX files whose weights lie in another file; a kit's folder can be moved."""
OF_ONNX = tuple(name for name in OPTIONS_BY_SUFFIX[ONNX_SUFFIX] if name not in ELSEWHERE)


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A kind of folder that a device, server or program takes as it is.

    Attributes:
        name: name of the kit.
        what: device or program that takes it, in words.
        fill: writes the files.
        fixed: options of `darkconv.export` that the user cannot change.
        usual: defaults of options that differ from `darkconv.export`.
        options: names of the options that the user may give.
        takes_classifiers: True if the kit is not for detectors alone.
        takes_others: True if the kit is also for networks without boxes and scores of classes.
        channels: possible numbers of channels of the network's input.
        libraries: modules that are needed to write the kit.
        programs: packages whose program is needed to write the kit; they are not imported.
        check: raises an error for a missing option, before anything is written.
    """

    name: str
    what: str
    fill: "Callable[[Filling], None]"
    fixed: Mapping[str, Any] = field(default_factory=dict)
    usual: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = OF_ONNX
    takes_classifiers: bool = False
    takes_others: bool = False
    channels: tuple[int, ...] = (3,)
    libraries: tuple[str, ...] = ("onnx",)
    programs: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any]], None] = lambda _: None


class _Page(Template):
    delimiter = "@@"


@dataclass(kw_only=True)
class Filling:
    """A kit's folder while it is filled.

    Attributes:
        kit: the kit.
        model: model that the kit is made for.
        facts: facts about the model.
        options: options of `darkconv.export`, with those of the kit.
        folder: temporary path of the folder.
        place: path of the folder at the end, for messages.
        progress: shows the progress of long steps.
        written: record of the model's file; None before it is written.
    """

    kit: Kit
    model: Model
    facts: Facts
    options: Mapping[str, Any]
    folder: Path
    place: Path
    progress: Progress
    written: Exported | None = None

    def write_model(self, name: str, *, without: Sequence[str] = ()) -> Path:
        """Write the model's file with the options, and return its path.

        Args:
            name: path of the file in the kit's folder.
            without: options that do not apply to this file, but to the file that is made from it.

        Returns:
            The file's temporary path.

        Raises:
            DarkconvError: the file cannot be written or run.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        known = {*OPTIONS_BY_SUFFIX[path.suffix]} - {*without}
        given = {name: value for name, value in self.options.items() if name in known}
        self.written = write_checked(self.model, path, given, progress=self.progress)
        return path

    def made(self, name: str, checked: str | None = None) -> None:
        """Replace the model's file in the record by a file that was made from it.

        Args:
            name: path of the new file in the kit's folder.
            checked: how the new file was checked; None if the check of the model's file counts.
        """
        assert self.written is not None, "it is made of what was written"
        told = self.written.checked if checked is None else checked
        self.written = replace(self.written, files=(self.folder / name,), checked=told)

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the kit.

        Args:
            name: path of the file in the kit's folder.
            content: bytes, or text, which is written in UTF-8.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, [content.encode() if isinstance(content, str) else content])

    def fill_in(self, template: str, *, folder: str | None = None, **values: object) -> None:
        """Write a file from a template of the kit.

        Args:
            template: name of the template without its suffix, and of the file.
            folder: folder of the template in `templates`; None for the kit's own.
            values: values of the template's words, besides those that every template has.
        """
        path = files(__package__) / "templates" / (folder or self.kit.name)
        text = (path / f"{template}{TEMPLATE_SUFFIX}").read_text(encoding="utf-8")
        self.write(template, _Page(text).substitute(self._words(values)))

    def _words(self, more: Mapping[str, object]) -> dict[str, object]:
        """Return the values of the words that every template has, and more."""
        facts = self.facts
        checked = self.written.checked if self.written else ""
        return {
            "name": facts.name,
            "width": facts.width,
            "height": facts.height,
            "channels": facts.channels,
            "classes": len(facts.names),
            "threshold": f"{facts.threshold:g}",
            "nms": f"{facts.nms:g}",
            "version": __version__,
            "checked": checked or "not run",
            **more,
        }
