"""Write the report of a classifier's evaluation."""

from darkconv.evaluation.result import ClassEvaluation
from darkconv.evaluation.tables import OF_CLASSIFIER, class_rows
from darkconv.evaluation.unread import unread_section
from darkconv.files import PathLike, write_bytes
from darkconv.presentation.markup import escape
from darkconv.presentation.numerals import per_cent
from darkconv.report.matrix import matrix
from darkconv.report.page import key_figures, page, section, table


def write_classification_report(path: PathLike, result: ClassEvaluation) -> None:
    """Write the report as one HTML file.

    Args:
        path: the file to write.
        result: the evaluation of a classifier.
    """
    title = f"Evaluation of {result.model}"
    counts = result.counts
    figures = [(f"top-{k}", f"{per_cent(share)} %", "") for k, share in counts.top.items()]
    figures.append(("ms a picture", f"{1000 * sum(result.seconds.values()):.1f}", ""))
    rows = list(class_rows(result))
    note = '<p class="note">Rows are true classes, columns what was found.</p>'
    lead = f"{counts.pictures:,} pictures of {result.source}, {len(rows):,} classes."
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(lead)}</p>",
        key_figures(figures),
        section("Classes", table(OF_CLASSIFIER, rows, left=(0, 3))),
        unread_section(result, "They are not counted."),
        section(
            "What is taken for what", note, matrix(result.names, result.names, counts.confusion)
        ),
    ]
    write_bytes(path, [page(title, parts).encode()])
