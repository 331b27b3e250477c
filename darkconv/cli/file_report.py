"""What `convert` prints of the files that it compared."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from darkconv.console.printing import echo, echo_json, echo_table

if TYPE_CHECKING:
    from darkconv.exporting.writing import Exported
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
    from darkconv.verification import tables

    echo_table(("", "float32", found.precision), tables.precision_rows(found), left=(0,))
    echo(tables.precision_remark(found), err=True)


def show_agreement(done: "FileAgreement") -> None:
    """Print the table of a file beside its model.

    Raises:
        DarkconvError: the two disagree, or there was nothing to compare.
    """
    from darkconv.verification import tables

    echo_table(("", done.precision, "allowed"), tables.agreement_rows(done), left=(0,))
    echo(tables.agreement_remark(done), err=True)
    if done.fault:
        raise done.fault
