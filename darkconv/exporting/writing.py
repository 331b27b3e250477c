"""Writing a model as a file of another framework, and the record of what was written."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkconv.backends.choices import FULL, FULL_HEADS
from darkconv.backends.layouts import NMS_OPS
from darkconv.core.model import Model
from darkconv.core.views import Shown, View
from darkconv.errors import DarkconvError, Where
from darkconv.exporting.eight_bits import Verdict
from darkconv.exporting.formats import (
    FORMS_BY_SUFFIX,
    HEADS_BY_SUFFIX,
    OPTIONS_BY_SUFFIX,
    RUNNERS,
    size_of,
    unknown_format,
    write_file,
    written_files,
)
from darkconv.exporting.smaller import PrecisionOptions, write_smaller
from darkconv.libraries import is_installed
from darkconv.loading.formats import LITERT_SUFFIX, suffix_of
from darkconv.verification.precision import (
    FileAgreement,
    FilePrecision,
    Progress,
    compare_with_model,
    silent,
)

logger = logging.getLogger("darkconv")

OF_INT8 = ("calibrate", "calibration", "reduce_range", "int8_form", "min_agreement")
OF_SMALLER = ("data",)
NOT_IN_8_BITS = ("fold", "external", "in_place")
OF_BOXES = ("threshold", "nms", "resize")
"""Options that go into the metadata, for programs that look for boxes in pictures."""
RUNNING = ("int8", "data", "compare")
"""Options for which the file must be run on this machine."""
SMALLER = ("fp16", "int8", *OF_INT8, *OF_SMALLER, "compare")
"""Options of half precision and 8 bits, and of their check."""


@dataclass(frozen=True, repr=False)
class Exported(Shown):
    """The result of `export`: the files that were written, and how they were checked.

    Attributes:
        files: the file that was asked for, then the files beside it.
        size: size of all files together, in bytes.
        checked: how the file was run before it got its name; empty if it was not run.
        precision: comparison of a file in half precision or 8 bits with float32; else None.
        agreement: comparison of a LiteRT file in float32 with the model; else None.
        verdict: whether 8 bits are worth it, for an ONNX file that was asked for in 8 bits, or a
            LiteRT file in full 8 bits; else None. If they are not, the ONNX file is in float32.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> written = dc.export(model, "digits10.onnx")
        >>> [file.name for file in written.files], written.checked
        (['digits10.onnx'], 'run once in onnxruntime')
    """

    files: tuple[Path, ...]
    size: int
    checked: str
    precision: FilePrecision | None = None
    agreement: FileAgreement | None = None
    verdict: Verdict | None = None

    def _view(self) -> View:
        """Return its views as text and as a table."""
        from darkconv.exporting import views

        return View(views.as_text, views.as_html)

    @property
    def comparison(self) -> dict[str, Any]:
        """Return the comparison of a file in half precision or 8 bits with float32, for JSON."""
        compared = self.precision.to_dict() if self.precision else {}
        return {**compared, **({"verdict": self.verdict.to_dict()} if self.verdict else {})}

    @property
    def fault(self) -> DarkconvError | None:
        """Return what is wrong with the file that was written; None where nothing is."""
        where = Where(file=str(self.files[0]))
        is_float = self.verdict is not None and not self.verdict.is_kept
        found = self.precision
        fault = found and (found.likeness.fault if is_float else found.fault)
        if fault:
            return DarkconvError(f"was written, but {fault}", where=where)
        return self.agreement.fault if self.agreement else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict that JSON can hold."""
        return {
            "files": list(map(str, self.files)),
            "size": self.size,
            "checked": self.checked,
            "precision": self.precision.to_dict() if self.precision else None,
            "agreement": self.agreement.to_dict() if self.agreement else None,
            "verdict": self.verdict.to_dict() if self.verdict else None,
        }


def write_checked(
    model: Model, path: Path, given: Mapping[str, Any], *, progress: Progress = silent
) -> Exported:
    """Write a file, run it once, and compare it: see `export` for its options.

    `Exported.fault` says what is wrong with a file that was written.

    Args:
        model: model to write.
        path: path of the file.
        given: options by name; missing ones have the format's default.
        progress: shows the progress of long steps.

    Returns:
        What was written, with its checks and comparisons.

    Raises:
        DarkconvError: an option is wrong, or the file cannot be written or run.
    """
    check_options(model, path, given)
    plain = {name: value for name, value in given.items() if name not in SMALLER}
    how = PrecisionOptions.of(given)
    runs_here = given.get("nms_op", NMS_OPS[0]) == NMS_OPS[0]
    is_compared = given.get("compare", True) and _is_run(path) and runs_here
    precision = agreement = verdict = None
    missing = 0
    if how.kind and path.suffix.lower() in RUNNERS:
        precision, verdict = write_smaller(
            model, path, how, plain, compare=is_compared, progress=progress
        )
    else:
        missing = write_file(model, path, **plain)
        if suffix_of(path) == LITERT_SUFFIX and is_compared and given.get("check", True):
            agreement = compare_with_model(model, path)
    files = written_files(path, external=bool(given.get("external")))
    checked = _how_checked(path, missing) if given.get("check", True) else ""
    if not runs_here:
        checked = "not run: it suppresses by a plugin of TensorRT, and runs there alone"
        logger.warning("%s: was %s", path, checked)
    return Exported(files, sum(map(size_of, files)), checked, precision, agreement, verdict)


def check_options(model: Model, path: Path, given: Mapping[str, Any]) -> None:
    """Check that options apply to the format and go together.

    Args:
        model: model to write.
        path: path whose suffix names the format.
        given: options by name.

    Raises:
        DarkconvError: an option would have no effect, has an impossible value, or excludes another.
    """
    known = OPTIONS_BY_SUFFIX.get(suffix_of(path))
    if known is None:
        raise unknown_format(path)
    for name in given:
        if name not in known:
            raise DarkconvError(
                f"{path}: {name} is no option of {path.suffix} files",
                expected=", ".join(known) or "none",
            )
    network = model.network
    for name in OF_BOXES:
        if name in given and not network.finds_boxes:
            where = Where(file=network.config.file)
            raise DarkconvError(f"predicts no boxes, which {name} is about", where=where)
    if "compare" in given and not (_is_smaller(given) or suffix_of(path) == LITERT_SUFFIX):
        raise DarkconvError(f"{path}: compare is about fp16, int8 and {LITERT_SUFFIX} files")
    _check_head(path, given)
    _check_form(path, given)
    check_numbers(given)


def _check_head(path: Path, given: Mapping[str, Any]) -> None:
    heads = HEADS_BY_SUFFIX.get(suffix_of(path), ())
    if "head" in given and given["head"] not in heads:
        raise DarkconvError(
            f"{path}: head of {path.suffix} files", expected=", ".join(heads), found=given["head"]
        )


def _check_form(path: Path, given: Mapping[str, Any]) -> None:
    form, head = given.get("int8_form"), given.get("head", FULL_HEADS[0])
    forms = FORMS_BY_SUFFIX.get(suffix_of(path), ())
    if form is not None and form not in forms:
        expected = ", ".join(forms)
        raise DarkconvError(
            f"{path}: int8_form of {path.suffix} files", expected=expected, found=form
        )
    if form == FULL and head not in FULL_HEADS:
        raise DarkconvError(
            f"{path}: head of files all in 8 bits",
            expected=", ".join(FULL_HEADS),
            found=head,
            hint="detect, eval and verify compute boxes from either",
        )


def check_numbers(given: Mapping[str, Any]) -> None:
    """Check that options of half precision and 8 bits go together.

    Args:
        given: options by name.

    Raises:
        DarkconvError: an option has an impossible value, lacks another, or excludes another.
    """
    used = {name for name, value in given.items() if value is not False}
    if {"fp16", "int8"} <= used:
        raise DarkconvError("fp16 and int8 are two kinds of file: choose one")
    least = given.get("min_agreement", 0.0)
    if not 0 <= least <= 1:
        raise DarkconvError("min_agreement", expected="a number from 0 to 1", found=least)
    if "int8" in used and "calibrate" not in used:
        raise DarkconvError("int8 needs calibrate: pictures such as the network will see")
    for name in RUNNING:
        if name in used and given.get("nms_op", NMS_OPS[0]) != NMS_OPS[0]:
            raise DarkconvError(
                f"{name} and nms_op {given['nms_op']} exclude each other",
                hint=f"{name} runs the graph, which TensorRT alone can",
            )
    for names, kinds in ((OF_INT8, ("int8",)), (OF_SMALLER, ("fp16", "int8"))):
        for name in names:
            if name in used and not used & set(kinds):
                raise DarkconvError(f"{name} is about {' and '.join(kinds)}")
    for name in NOT_IN_8_BITS:
        if "int8" in used and name in given:
            raise DarkconvError(f"int8 and {name} exclude each other")


def _is_smaller(given: Mapping[str, Any]) -> bool:
    return bool(given.get("fp16") or given.get("int8"))


def _is_run(path: Path) -> bool:
    library, _ = RUNNERS.get(suffix_of(path), ("", ""))
    return bool(library) and is_installed(library)


def _how_checked(path: Path, missing: int) -> str:
    text = RUNNERS[suffix_of(path)][1] if _is_run(path) else ""
    return f"{text}: {missing:,} values are NaN" if missing else text
