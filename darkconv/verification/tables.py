"""Format the results of verifications as cells of tables and lines of text for the terminal."""

from collections.abc import Iterator

from darkconv.files.sizes import format_size
from darkconv.presentation.numerals import per_cent
from darkconv.verification.precision import AT, FileAgreement, FilePrecision
from darkconv.verification.results import LayerVerification, Verification

OF_LAYERS = ("layer", "type", "relative error", "values", "")
OF_OUTPUTS = ("output", "error", "allowed", "compared", "")

Row = tuple[object, ...]


def layer_rows(found: LayerVerification, *, shown: int | None) -> list[Row]:
    """Return the cells of the worst layers, and of the first wrong one wherever it stands.

    Args:
        found: the result for all layers.
        shown: number of layers; None for all.
    """
    return [
        (layer.index, layer.type, f"{row.error:.1e}", f"{row.compared:,}", found.mark(layer, row))
        for place, (layer, row) in enumerate(found.worst)
        if shown is None or place < shown or layer is found.first_wrong
    ]


def layer_verdict(found: LayerVerification, backend: str) -> str:
    """Return a line on the worst layer, and one on the first wrong layer if there is one.

    Args:
        found: the result for all layers.
        backend: name of the framework that PyTorch was compared with.
    """
    word = "agree" if found.ok else "DISAGREE"
    _, worst = found.worst[0]
    text = (
        f"torch and {backend} {word}: worst layer {worst.error:.1e}, allowed {worst.allowed:.0e}; "
        f"{found.compared:,} values compared"
    )
    wrong = found.first_wrong
    return f"{text}\nfirst wrong: {wrong.index:03d} {wrong.type}" if wrong else text


def output_rows(found: Verification) -> list[Row]:
    """Return the cells of the outputs of a file.

    Args:
        found: the result for the file.
    """
    return [
        (row.name, f"{row.error:.1e}", f"{row.allowed:.0e}", f"{row.compared:,}", row.verdict)
        for row in found.rows
    ]


def output_lines(found: Verification) -> Iterator[str]:
    """Yield the notes on the outputs, and the verdict.

    Args:
        found: the result for the file.
    """
    yield from found.notes
    word = "agree" if found.ok else "DISAGREE"
    yield f"model and file {word}: {found.compared:,} values compared, on {found.given}"


def precision_rows(found: FilePrecision) -> list[Row]:
    """Return the cells of a file in half precision or 8 bits beside those of its float32 form.

    Args:
        found: the comparison of both files.
    """
    first, second = (f"{ms:.2f}" for ms in found.latency.milliseconds.values())
    rows: list[Row] = [
        ("file size", *map(format_size, found.sizes)),
        ("milliseconds a picture", first, second),
    ]
    for name, pair in (("AP", found.ap), (f"AP at {AT:g}", found.ap_at)):
        if pair:
            rows.append((name, *(f"{per_cent(value)} %" for value in pair)))
    rows += [(f"relative error of {n}", "", f"{e:.1e}") for n, e in found.likeness.errors.items()]
    if found.likeness.f1 is not None:
        rows.append((f"F1 of detections above {AT:g}", "", f"{per_cent(found.likeness.f1)} %"))
    return rows


def precision_remark(found: FilePrecision) -> str:
    """Return how much was compared, and how time was measured.

    Args:
        found: the comparison of both files.
    """
    ran_on = f"{found.likeness.inputs} {'pictures' if found.likeness.f1 is not None else 'inputs'}"
    compared = f"{found.likeness.compared:,} values and detections compared on {ran_on}"
    return f"{compared}; {found.latency.conditions}"


def agreement_rows(done: FileAgreement) -> list[Row]:
    """Return the cells of a file beside its model.

    Args:
        done: the comparison of the file with its model.
    """
    return [
        ("file size", format_size(done.size), ""),
        ("milliseconds a picture", f"{done.latency.milliseconds[done.precision]:.2f}", ""),
        *((f"error of {e.name}", f"{e.error:.1e}", f"{e.allowed:.0e}") for e in done.found.rows),
    ]


def agreement_remark(done: FileAgreement) -> str:
    """Return how time was measured, and how much was compared.

    Args:
        done: the comparison of the file with its model.
    """
    compared = f"{done.found.compared:,} values compared on {done.found.given}"
    return f"{done.latency.conditions}; {compared}"
