"""Print comparisons of the files that `convert` wrote."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from darkconv.console.printing import echo, echo_json, echo_table

if TYPE_CHECKING:
    from darkconv.exporting.writing import Exported


def print_reports(written: "Mapping[str, Exported]", *, as_json: bool) -> None:
    """Print comparisons of files in half precision and 8 bits with float32, by file name.

    Args:
        written: what was written, by file name.
        as_json: True to print JSON instead of tables.

    Raises:
        DarkconvError: a file gives values that are not finite, or there was nothing to compare.
    """
    if as_json:
        echo_json({name: one.comparison for name, one in written.items() if one.precision})
    for one in () if as_json else written.values():
        show_comparison(one)
    for one in written.values():
        if one.fault:
            raise one.fault


def show_comparison(done: "Exported") -> None:
    """Print the table of a file beside its float32 form or its model, and the verdict on 8 bits.

    Args:
        done: the file that was written, with its comparison.
    """
    from darkconv.exporting import views

    if done.precision or done.agreement:
        headers, rows, remark = views.comparison(done)
        echo_table(headers, rows, left=(0,))
        echo(remark, err=True)
    for line in done.verdict.lines() if done.verdict else ():
        echo(line)
