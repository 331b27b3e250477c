"""What a kit is, and the folder in which one is filled."""

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
"""Ends the names of templates, so that no tool takes them for what they become."""
ELSEWHERE = ("external", "in_place")
"""Options of ONNX files whose weights lie outside of them: a kit's folder can be moved."""
OF_ONNX = tuple(name for name in OPTIONS_BY_SUFFIX[ONNX_SUFFIX] if name not in ELSEWHERE)


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A kind of folder that some device, server or program takes as it is.

    Attributes:
        name: by which it is asked for.
        what: takes it, in words.
        fill: writes the files.
        fixed: options of `darkconv.export` that what takes it leaves no choice about.
        usual: options as they are where the user does not say.
        options: those that the user may give.
        takes_classifiers: it is not for detectors alone.
        takes_others: it is for networks too that give neither boxes nor scores of classes.
        channels: of the network's input, that it can have.
        libraries: by the names that they are imported by, that write it.
        programs: packages whose program writes it: they are not imported.
        check: raises where options miss something, before anything is written.
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
        kit: what it becomes.
        model: that it is for.
        facts: of the model.
        options: of `darkconv.export`, the kit's own among them.
        folder: which has the kit's name later.
        progress: shows how far long steps are.
        written: the model's file, and how it was checked; None before there is one.
        place: the folder's name at the end, for messages.
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
            name: of the file, below the kit's folder.
            without: options that are about what is made of the file.

        Raises:
            DarkconvError: it gives no numbers, or other ones than it should.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        known = {*OPTIONS_BY_SUFFIX[path.suffix]} - {*without}
        given = {name: value for name, value in self.options.items() if name in known}
        self.written = write_checked(self.model, path, given, progress=self.progress)
        return path

    def made(self, name: str, checked: str | None = None) -> None:
        """Have a file that was made of the model's be that in its place.

        Args:
            name: of it.
            checked: how it was tried; as the model's file, if that is not said.
        """
        assert self.written is not None, "it is made of what was written"
        told = self.written.checked if checked is None else checked
        self.written = replace(self.written, files=(self.folder / name,), checked=told)

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the kit.

        Args:
            name: of the file, below the kit's folder.
            content: bytes, or a text, which becomes UTF-8.
        """
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, [content.encode() if isinstance(content, str) else content])

    def fill_in(self, template: str, *, folder: str | None = None, **values: object) -> None:
        """Write a file from the kit's template of that name.

        Args:
            template: name of the template, without its suffix.
            folder: that it is in, of `templates`, if that is not the kit's own.
            values: of the template's words, beside those that every template has.
        """
        path = files(__package__) / "templates" / (folder or self.kit.name)
        text = (path / f"{template}{TEMPLATE_SUFFIX}").read_text(encoding="utf-8")
        self.write(template, _Page(text).substitute(self._words(values)))

    def _words(self, more: Mapping[str, object]) -> dict[str, object]:
        """Return what templates can say of every model."""
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
