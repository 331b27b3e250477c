"""Suggest darkconv's command or option for a name that it does not know."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

import click

ARGUMENTS = "darkconv.arguments"
"""Key of the arguments that a command was given, in click's `meta`."""

COMMANDS: Mapping[str, str] = {
    **dict.fromkeys(("export", "quantize", "onnx", "tflite", "keras"), "convert"),
    **dict.fromkeys(("detector", "infer", "inference", "predict", "run", "test", "yolo"), "detect"),
    **dict.fromkeys(("distill", "fit", "retrain", "train", "tune"), "finetune"),
    **dict.fromkeys(("benchmark", "evaluate", "map", "recall", "val", "valid", "validate"), "eval"),
    **dict.fromkeys(("classes", "slice"), "reclass"),
    **dict.fromkeys(("inspect", "layers", "show", "summary", "visualize"), "info"),
    **dict.fromkeys(("calc_anchors", "kmeans"), "anchors"),
    **dict.fromkeys(("average", "backbone", "diff", "fold", "merge", "partial"), "weights"),
    **dict.fromkeys(("check", "dataset", "datasets"), "data"),
    "compare": "verify",
    "download": "fetch",
}
"""darkconv's commands by their names in Darknet and other tools."""

OPTIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("conf", "confthres", "confidence", "score", "thresh"), ("threshold",)),
    **dict.fromkeys(("iou", "iouthres", "iouthresh", "nmsthresh", "nmsthreshold"), ("nms", "iou")),
    **dict.fromkeys(
        ("height", "img", "imagesize", "imgsize", "imgsz", "shape", "size", "width"),
        ("input-size",),
    ),
    **dict.fromkeys(("float16", "half"), ("fp16",)),
    **dict.fromkeys(("quantize", "uint8"), ("int8",)),
    **dict.fromkeys(
        ("format", "out", "outfile", "outfilename", "outputdir", "savedir", "saveto"), ("output",)
    ),
    **dict.fromkeys(("learningrate", "lr", "lr0"), ("rate",)),
    **dict.fromkeys(("batchsize", "bs"), ("batch",)),
    **dict.fromkeys(("clear", "force", "yes"), ("overwrite",)),
    **dict.fromkeys(("cpu", "gpu", "gpus", "i"), ("device",)),
    **dict.fromkeys(("jobs", "nproc", "numworkers"), ("workers", "threads")),
    **dict.fromkeys(("letterbox", "letterboxed"), ("resize", "letterbox")),
    **dict.fromkeys(("annotations", "dataset", "datasets"), ("data",)),
    **dict.fromkeys(("class", "classes"), ("keep", "only-classes")),
    **dict.fromkeys(("classnames", "labels"), ("names", "data-names")),
    **dict.fromkeys(("clusters", "num", "numofclusters"), ("count",)),
}
"""darkconv's options by their names in Darknet and other tools, in letters and digits alone."""


def meant_commands(name: str, known: Sequence[str]) -> list[str]:
    """Return the commands that a name may mean: another tool's name for one, or a similar name.

    Args:
        name: a name that no command has.
        known: names of the commands.
    """
    lower = name.lower()
    meant = lower if lower in known else COMMANDS.get(lower, "")
    return [meant] if meant in known else get_close_matches(lower, known)


def meant_options(word: str, known: Collection[str]) -> list[str]:
    """Return the options of a command that a word means in another tool.

    Args:
        word: the word as the user wrote it: `--conf-thres`, or `-thresh` as in Darknet.
        known: options of the command, such as `--threshold`.
    """
    letters = "".join(filter(str.isalnum, word.partition("=")[0])).lower()
    meant = (f"--{name}" for name in OPTIONS.get(letters, ()))
    return [name for name in meant if name in known]


def explain_option(error: click.NoSuchOption) -> None:
    """Add the option that was meant to an error about an unknown option.

    Args:
        error: click's error, which is changed.
    """
    if error.ctx is None:
        return
    known = {name for one in error.ctx.command.params for name in (*one.opts, *one.secondary_opts)}
    given, near = error.option_name, list(error.possibilities or ())
    if not given.startswith("--"):  # click has read the first letter of `-thresh` alone
        words = error.ctx.meta.get(ARGUMENTS, ())
        given = next((word for word in words if word.startswith(given)), given)
        near = [name for name in (f"-{given}",) if name in known] or near
    said = ", ".join(map(repr, sorted(meant_options(given, known) or near)))
    hint = f"(Did you mean one of: {said}?)" if ", " in said else f"Did you mean {said}?"
    # the whole message is made here, since versions of click word it differently
    error.message = f"No such option {given!r}." + (f" {hint}" if said else "")  # type: ignore[misc]
    error.possibilities = None  # type: ignore[misc]
