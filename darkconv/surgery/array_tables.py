"""Rows of tables about arrays: statistics of one model, and differences between two."""

from darkconv.surgery.compare import ArrayDifference, ArrayStatistics

STATISTICS = (
    "array", "shape", "mean", "deviation", "min", "max", "zeros", "not finite",
)  # fmt: skip
DIFFERENCES = ("array", "state", "max difference", "relative")


def statistics_row(row: ArrayStatistics) -> tuple[object, ...]:
    """Return the cells of an array's row, in the order of `STATISTICS`.

    Args:
        row: statistics of the array.
    """
    return (
        row.key,
        "x".join(map(str, row.shape)),
        *(f"{x:.4g}" for x in (row.mean, row.deviation, row.minimum, row.maximum)),
        f"{row.zeros:.1%}",
        row.non_finite or "",
    )


def difference_row(row: ArrayDifference) -> tuple[object, ...]:
    """Return the cells of an array's row, in the order of `DIFFERENCES`.

    Args:
        row: difference between the arrays of two models.
    """
    if row.state == "other shape":
        a, b = ("x".join(map(str, shape or ())) for shape in row.shapes)
        return row.key, f"other shape: {a}, {b}", "", ""
    numbers = ("" if x is None else f"{x:.2e}" for x in (row.max_abs, row.relative))
    return row.key, row.state, *numbers
