"""What `convert` prints of the files that it compared."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from darkconv.console.printing import echo, echo_json, echo_table
from darkconv.files.sizes import format_size
from darkconv.presentation.numerals import per_cent

if TYPE_CHECKING:
    from darkconv.exporting import Exported
    from darkconv.verification.precision import FileAgreement, FilePrecision


def print_reports(written: "Mapping[str, Exported]", *, as_json: bool) -> None:
    """Print how files in half precision and 8 bits compare with float32, by the files' names.

    Raises:
        DarkconvError: a file gives no finite numbers, or there was nothing to compare.
    """
    found = {name: one.precision for name, one in written.items() if one.precision}
    if as_json:
        echo_json({name: one.to_dict() for name, one in found.items()})
    else:
        for one in found.values():
            show_precision(one)
    for done in written.values():
        if done.fault:
            raise done.fault


def show_precision(found: "FilePrecision") -> None:
    """Print the table of a file beside its float32 form."""
    from darkconv.verification.precision import AT

    first, second = (f"{ms:.2f}" for ms in found.latency.milliseconds.values())
    rows: list[tuple[object, ...]] = [
        ("file size", *map(format_size, found.sizes)),
        ("milliseconds a picture", first, second),
    ]
    for name, pair in (("AP", found.ap), (f"AP at {AT:g}", found.ap_at)):
        if pair:
            rows.append((name, *(f"{per_cent(value)} %" for value in pair)))
    rows += [(f"relative error of {n}", "", f"{e:.1e}") for n, e in found.likeness.errors.items()]
    if found.likeness.f1 is not None:
        rows.append((f"F1 of detections above {AT:g}", "", f"{per_cent(found.likeness.f1)} %"))
    echo_table(("", "float32", found.precision), rows, left=(0,))
    ran_on = f"{found.likeness.inputs} {'pictures' if found.likeness.f1 is not None else 'inputs'}"
    compared = f"{found.likeness.compared:,} values and detections compared on {ran_on}"
    echo(f"{compared}; {found.latency.conditions}", err=True)


def show_agreement(done: "FileAgreement") -> None:
    """Print the table of a file beside its model.

    Raises:
        DarkconvError: the two disagree, or there was nothing to compare.
    """
    found, timed = done.found, done.latency
    rows = [
        ("file size", format_size(done.size), ""),
        ("milliseconds a picture", f"{timed.milliseconds[done.precision]:.2f}", ""),
        *((f"error of {e.name}", f"{e.error:.1e}", f"{e.allowed:.0e}") for e in found.rows),
    ]
    echo_table(("", done.precision, "allowed"), rows, left=(0,))
    echo(f"{timed.conditions}; {found.compared:,} values compared on {found.given}", err=True)
    if done.fault:
        raise done.fault
