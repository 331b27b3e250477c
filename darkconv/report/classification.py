"""The report of a classifier's evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

from darkconv.core.markup import escape
from darkconv.evaluation.classification import Classification
from darkconv.files import PathLike, write_bytes
from darkconv.report.matrix import matrix
from darkconv.report.page import key_figures, page, section, table


@dataclass(frozen=True, eq=False)
class ClassificationReport:
    """What a report tells.

    Attributes:
        name: of the model.
        source: of the pictures.
        names: of the classes.
        result: how often they are right.
        rows: class, pictures, percent that are right, what they are most often taken for.
        seconds: of a picture.
    """

    name: str
    source: str
    names: Sequence[str]
    result: Classification
    rows: Sequence[tuple[str, int, str, str]]
    seconds: float


def write_classification_report(path: PathLike, report: ClassificationReport) -> None:
    """Write a report as one HTML file."""
    title = f"Evaluation of {report.name}"
    result = report.result
    figures = [(f"top-{k}", f"{100 * share:.1f} %", "") for k, share in result.top.items()]
    figures.append(("ms a picture", f"{1000 * report.seconds:.1f}", ""))
    rows = [(name, f"{count:,}", right, other) for name, count, right, other in report.rows]
    headers = ("class", "pictures", "right", "most often taken for")
    note = '<p class="note">Rows are true classes, columns what was found.</p>'
    lead = f"{result.pictures:,} pictures of {report.source}, {len(report.rows):,} classes."
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(lead)}</p>",
        key_figures(figures),
        section("Classes", table(headers, rows, left=(0, 3))),
        section(
            "What is taken for what", note, matrix(report.names, report.names, result.confusion)
        ),
    ]
    write_bytes(path, [page(title, parts).encode()])
