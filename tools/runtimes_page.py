"""The page that tools/runtimes.py writes of its lines."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOT_HAD = "-"
INTRODUCTION = """# Runtimes

Which runtimes of other people run darkconv's files, and whether they give the numbers of
onnxruntime. `tools/runtimes.py` has written this page from a run of all of them, on the trained
models of a collection that is not part of darkconv, with two photographs, and on networks of
`cfgs/` with random weights, made for smaller pictures where they take them.
`tests/test_runtimes.py` runs the bundled model in each runtime with every change of darkconv. To
ship a file, begin with [deploy.md](deploy.md).

A file is right where no value is off by more than 0.0001 of the largest of its output: 0.03 with
half precision, where runtimes round in different places. With 8 bits its numbers may be no more
than twice as far from those of the float32 file as onnxruntime's are. Detections after suppression
are compared one by one. A cell says how many networks are right, of how many that were run so.
"""
TERMS = """
*boxes* has the corners and scores of all boxes, *nms* what suppression leaves, *raw* what the heads
give: see [what comes out](onnx.md#what-comes-out). Files have a free batch and float32 inputs but
where a row says otherwise; *fixed batch* is `--dynamic none`, *free size* is `--dynamic batch,size`
with pictures of another size than the cfg's, *not folded* is `--no-fold`. ncnn takes one picture.
Where LiteRT has a column, it runs the `.tflite` file, which has fewer options.
"""
CAUSES: Sequence[tuple[str, str, str]] = (
    (
        "mnn",
        r"(alexnet|yolov1-tiny).*: wrong",
        "in some runs, not in others, with the same file; both have large `[connected]` layers. "
        "Whose fault it is was not found out: compare before you rely on it",
    ),
    (
        "mnn",
        r"nms, 2 pictures: wrong",
        "MNN's NonMaxSuppression finds nothing but in the first picture of a batch. "
        "MNN's fault; take `--head boxes`, or a picture at a time",
    ),
    (
        "ncnn",
        r"nms.*unordered_map::at",
        "pnnx ends on NonMaxSuppression. Its fault, and ncnn has no such layer; take "
        "`--head boxes`",
    ),
    (
        "ncnn",
        r"fp16.*Tensor\.to",
        "pnnx writes casts that ncnn does not know. Its fault; convert the float32 file: pnnx "
        "stores weights in half precision by itself",
    ),
    (
        "mnn",
        r"int8.*(zip|MNN gives 0)",
        "MNN gives no outputs of a file with QuantizeLinear. MNN's fault; let its own tools make "
        "8 bits of the float32 file",
    ),
    (
        "ncnn",
        r"int8.*pnnx\.Expression",
        "pnnx does not know QuantizeLinear. Its fault; let ncnn's own tools make 8 bits of the "
        "float32 file",
    ),
    (
        "ncnn",
        r"yolov2.*Tensor\.reshape",
        "pnnx does not know the reshape of `[reorg]`, to six axes. Its fault",
    ),
    (
        "ncnn",
        r"Gaussian.*Tensor\.slice",
        "pnnx writes a slice that ncnn does not know. Its fault; take `--head raw`",
    ),
    (
        "mnn",
        r"yolov3-tiny.*: wrong",
        "off by up to 0.0009 of the largest value. Probably its way of computing 3x3 convolutions "
        "(Winograd's), which rounds more; not confirmed",
    ),
    (
        "ncnn",
        r"uint8.*Tensor\.to",
        "pnnx writes casts that ncnn does not know. Its fault; take float32 input, and ncnn's "
        "`from_pixels` and `substract_mean_normalize`",
    ),
)
"""Runtime, a regular expression of network, file and what was said, and why: whose fault it is."""
UNKNOWN = "not looked into"
Line = Mapping[str, Any]


def page(lines: Iterable[Line], labels: Mapping[str, str], variants: Sequence[str]) -> str:
    """Return the page, as Markdown.

    Args:
        lines: of a run; of several for one file in one runtime the last counts.
        labels: of runtimes, by name and in order.
        variants: forms of files, in order.
    """
    found = {(one["network"], one["variant"], one["runtime"]): one for one in lines}
    had = [one for one in found.values() if not one["said"].startswith("not made")]
    names = [name for name in labels if any(one["runtime"] == name for one in had)]
    trained = [one for one in had if one["trained"]]
    others = [one for one in had if not one["trained"]]
    parts = [
        INTRODUCTION,
        versions(had, names, labels),
        "## Trained models\n",
        counts(trained, names, labels, variants),
        TERMS,
        "## The networks of cfgs/, with random weights\n",
        counts(others, names, labels, variants),
        names_of(others),
        "\n## What is not right, and why\n",
        failures(had, names, labels, variants),
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def versions(lines: Sequence[Line], names: Sequence[str], labels: Mapping[str, str]) -> str:
    """Which versions ran."""
    known = {one["runtime"]: one["version"] for one in lines if "version" in one}
    return table(["runtime", "version"], [(labels[name], known[name]) for name in names])


def counts(
    lines: Sequence[Line], names: Sequence[str], labels: Mapping[str, str], variants: Sequence[str]
) -> str:
    """How many networks are right, by form of file and runtime."""
    cells: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for one in lines:
        cells[one["variant"], one["runtime"]].append(one["said"] == "right")

    def cell(variant: str, name: str) -> str:
        rights = cells[variant, name]
        return f"{sum(rights)} of {len(rights)}" if rights else NOT_HAD

    shown = [variant for variant in variants if any((variant, name) in cells for name in names)]
    rows = [(variant, *(cell(variant, name) for name in names)) for variant in shown]
    return table(["file", *(labels[name] for name in names)], rows)


def failures(
    lines: Sequence[Line], names: Sequence[str], labels: Mapping[str, str], variants: Sequence[str]
) -> str:
    """Each thing that is not right, with its cause."""
    groups: defaultdict[tuple[str, str, str], list[Line]] = defaultdict(list)
    for one in lines:
        if one["said"] != "right":
            groups[one["runtime"], one["said"].partition(":")[0], cause_of(one)].append(one)
    rows = []
    for (name, verdict, cause), group in sorted(
        groups.items(), key=lambda item: names.index(item[0][0])
    ):
        forms = [v for v in variants if any(one["variant"] == v for one in group)]
        networks = sorted({one["network"].rpartition("/")[2] for one in group})
        rows.append((labels[name], verdict, "; ".join(forms), shown_networks(networks), cause))
    headers = ["runtime", "", "file", "networks", "why"]
    return table(headers, rows) if rows else "Nothing.\n"


def names_of(lines: Sequence[Line]) -> str:
    """Which networks ran."""
    found = sorted({one["network"].rpartition("/")[2] for one in lines})
    told = f"They are {', '.join(found)}; others of cfgs/ were not run."
    return "\n".join(textwrap.wrap(told, 100)) + "\n"


def shown_networks(networks: Sequence[str], most: int = 6) -> str:
    """Names, or how many there are."""
    return ", ".join(networks) if len(networks) <= most else f"{len(networks)} networks"


def cause_of(line: Line) -> str:
    """Why a file is not right."""
    for runtime, said, cause in CAUSES:
        text = f"{line['network']} {line['variant']}: {line['said']}"
        if line["runtime"] == runtime and re.search(said, text):
            return cause
    off = f", off by {line['off']:.2g}" if "off" in line else ""
    said = line["said"].partition(": ")[2]
    return f"{UNKNOWN}: {said}".removesuffix(": ")[:200].replace("|", "\\|") + off
