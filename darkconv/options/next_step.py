"""Print the command that usually follows a command, with the user's own files."""

import logging
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from darkconv.console.given import given_words
from darkconv.console.printing import echo
from darkconv.core.processes import is_first_process
from darkconv.errors import one_line
from darkconv.logs import NOTE
from darkconv.options.params import READING_NAMES

logger = logging.getLogger("darkconv")

Params = Mapping[str, Any]
"""Values of a command's parameters by name."""
Words = Sequence[object]

COMPARED = (".onnx", ".keras", ".tflite", ".pt2", ".safetensors")
"""Suffixes of files that `verify` takes."""
RUN = (".cfg", ".onnx", ".tflite", ".safetensors")
"""Suffixes of models that `eval` takes."""
TRAINED = (".cfg", ".safetensors")
"""Suffixes of models that `convert` and `finetune` take."""

NAMELESS = READING_NAMES[2:]
"""Parameters of reading a model, but for those that are about names."""
PICTURES = ("split", "outside", "images_folder", "limit")
"""Parameters of choosing pictures without looking at their labels."""
LABELLED = (*PICTURES[1:], "data_names", "rename", "only_classes")
"""Parameters of choosing labelled pictures, but for the split."""


def show_next(ctx: click.Context) -> None:
    """Print the command that usually follows the one that has run, if there is one.

    The line goes to stderr, and can be pasted into a shell. Nothing is printed with -q, with
    --json, or if a name holds characters that cannot be printed.

    Args:
        ctx: context of the command.
    """
    step = STEPS.get(" ".join(_names(ctx)))
    is_wanted = logger.isEnabledFor(NOTE) and is_first_process()
    if step is None or not is_wanted or ctx.params.get("as_json"):
        return
    words = step(ctx.params)
    if not words:
        return
    line = shlex.join(["darkconv", *map(_word, words)])
    if line == one_line(line):
        echo(f"next: {line}", err=True)


def _names(ctx: click.Context) -> Iterator[str]:
    """Yield the names of the command and of the groups in which it is, without the program's."""
    if ctx.parent is not None:
        yield from _names(ctx.parent)
        yield str(ctx.command.name)


def _word(word: object) -> str:
    """Return a word of a command; a path that begins with a hyphen would be read as an option."""
    text = str(word)
    return f"./{text}" if isinstance(word, Path) and text.startswith("-") else text


def _files(output: Any) -> list[Path]:
    """Return the one or two files of an output."""
    return [output.path, output.weights] if output.weights else [output.path]


def _first(params: Params, suffixes: Iterable[str]) -> list[Path]:
    """Return the files of the first output with one of some suffixes; none if there is no such."""
    return next((_files(one) for one in params["outputs"] if one.suffix in suffixes), [])


def _model(words: Sequence[str]) -> Sequence[str]:
    """Return the words of the model at the start of a command's words."""
    is_alone = Path(words[0]).suffix not in ("", ".cfg")
    return words[:1] if is_alone else words[:2]


def _beside(model: Sequence[str | Path], ending: str) -> list[Path]:
    """Return the names of Darknet's two files for a model that is made from another.

    Args:
        model: files of the other model.
        ending: what is put behind its name.
    """
    place = Path(model[-1])
    return [place.with_name(f"{place.stem}-{ending}{suffix}") for suffix in (".cfg", ".weights")]


def _exported(model: Sequence[Path]) -> Words:
    return ["convert", *model, "-o", model[0].with_suffix(".onnx")] if model else []


def _after_convert(params: Params) -> Words:
    words, outputs = params["words"], params["outputs"]
    if params["kit"]:
        return ["serve", outputs[0].path] if params["kit"] == "browser" else []
    if made := _first(params, (".cfg",)):
        return ["verify", *made]
    is_plain = all(params[name] is None for name in ("cutoff", "bn_epsilon", "reorg"))
    made = _first(params, COMPARED) if is_plain else []
    return ["verify", *words, *made, *given_words(NAMELESS)] if made else []


def _after_reclass(params: Params) -> Words:
    made = _first(params, TRAINED)
    if made and made[0].suffix == ".cfg" and params["data"] and not params["no_labels"]:
        data = made[0].with_suffix(".data")
        return ["finetune", *made, "--data", data, "-o", *_beside(made, "tuned")]
    return _exported(made)


def _after_prune(params: Params) -> Words:
    words, plan = params["words"], params["save_plan"]
    if params["dry_run"] or params["explain"]:
        return []
    if plan and not params["outputs"]:
        target = _beside(words, "pruned")
        return ["prune", *words, "--plan", plan, "-o", *target, *given_words(READING_NAMES)]
    made = _first(params, TRAINED)
    every = dict.fromkeys((*params["images"], *params["refitted_on"]))
    shown = [word for word in every if not word.endswith(".npz")]
    is_replaced = not {*map(str, made)}.isdisjoint(words)
    if not (made and shown) or is_replaced:
        return _exported(made)
    sources = [word for one in shown for word in ("--data", one)]
    options = given_words((*NAMELESS, *PICTURES))
    target = _beside(made, "recovered")
    return ["finetune", *made, "--teacher", *words, *sources, "-o", *target, *options]


def _after_dissect(params: Params) -> Words:
    return _exported(_first(params, TRAINED))


def _after_finetune(params: Params) -> Words:
    made = _first(params, RUN)
    if not (made and params["valid"]):
        return _exported(_first(params, TRAINED))
    sources = [word for one in params["valid"] for word in ("--data", one)]
    split = ["--split", params["valid_split"]] if params["valid_split"] else []
    return ["eval", *made, *sources, *split, *given_words(LABELLED)]


def _after_graft(params: Params) -> Words:
    if made := _first(params, (".cfg", ".safetensors")):
        return ["verify", *made]
    made = _first(params, (".weights",))
    *_, before, last = params["words"]
    receiver = before if last.endswith(".weights") else last
    is_cfg = Path(receiver).suffix in ("", ".cfg")
    return ["verify", receiver, *made, *given_words(NAMELESS)] if made and is_cfg else []


def _after_fetch(params: Params) -> Words:
    if params["name"] is None:
        return []
    files = [params["folder"] / f"{params['name']}{suffix}" for suffix in (".cfg", ".weights")]
    return _exported(files) if all(file.exists() for file in files) else []


def _after_profile(params: Params) -> Words:
    model = _model(params["words"])
    how = ["--profile", params["path"], "--ratio", "0.5"]
    return ["prune", *model, *how, "-o", *_beside(model, "pruned"), *given_words(READING_NAMES)]


def _after_data_convert(params: Params) -> Words:
    return ["data", "check", params["output"]]


STEPS: Mapping[str, Callable[[Params], Words]] = {
    "convert": _after_convert,
    "reclass": _after_reclass,
    "prune": _after_prune,
    "dissect": _after_dissect,
    "finetune": _after_finetune,
    "graft": _after_graft,
    "fetch": _after_fetch,
    "profile": _after_profile,
    "data convert": _after_data_convert,
}
"""Functions that return the words of the next command, by the command that has run."""
