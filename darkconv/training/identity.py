"""What decides how a run goes on: kept in its checkpoints, and compared with what resumes it.

Two runs of one identity go through the same steps. Each part is a name and a text, JSON where it is
more than a word, so that a checkpoint holds nothing but plain values.
"""

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.core.model import Model
from darkconv.core.net import NetOptions
from darkconv.core.network import Network
from darkconv.core.spreading import evenly_spread
from darkconv.dataset import Dataset, Sample
from darkconv.errors import shortened
from darkconv.training.recipe import Course, Recipe
from darkconv.training.tasks import Data

KEY = "darkconv_run"
"""Under which a checkpoint holds the identity of its run."""
Identity = Mapping[str, str]

FREE = ("epochs", "steps", "workers", "evaluate_every", "draw_every", "checkpoint_every")
"""Fields of a recipe that may be others when a run goes on; the number of steps has a part."""
SPELLED = {
    "averaging": "averaging (--ema)",
    "decay": "decay (--weight-decay)",
    "freeze_first": "freeze_first (--freeze)",
    "rate": "rate (--lr)",
}
"""Fields of a recipe that the command line calls something else."""
COUNTED = ("steps", "processes")
"""Parts that may differ, about which the user is told."""
BY_RECIPE = ("batch", "subdivisions", "sequential_subdivisions", "momentum", "decay", "letter_box")
"""Options of [net] whose effect stands among the recipe's parts."""
OF_RATES = (
    *("learning_rate", "learning_rate_min", "policy", "burn_in", "power", "step", "steps"),
    *("scale", "scales", "seq_scales", "gamma", "sgdr_cycle", "sgdr_mult", "max_batches"),
)
"""Options of [net] that only the schedule "cfg" reads."""
UNREAD = (
    "workspace_size_limit_MB",
    "optimized_memory",
    "use_cuda_graph",
    "show_receptive_field",
)
"""Options of [net] that change no step."""
DIGITS = 12  # of a digest, which tell data sets of one user apart
MOST_TOLD = 5
MOST_READ = 256
"""Pictures whose contents are compared; of the others their sizes are."""


def describe_run(
    model: Model,
    recipe: Recipe,
    course: Course,
    *,
    training: Data,
    valid: Data | None,
    teacher: Model | None,
    labels: bool,
    processes: int,
) -> Identity:
    """Return the identity of a run.

    Args:
        model: that learns.
        recipe: how, without fields that are still to be decided.
        course: the recipe's numbers for this run.
        training: pictures to learn from.
        valid: pictures to be evaluated on.
        teacher: that teaches, if one does.
        labels: labels are learned from.
        processes: that share a step.
    """
    return {
        "steps": str(course.steps),
        "processes": str(processes),
        **_settings(recipe, model.network.options, course),
        "labels": _text(labels),
        **dict(_data_parts("data", training, labels=labels)),
        **dict(_data_parts("valid", valid, labels=True)),
        "teacher": _digest_of_model(teacher) if teacher else "none",
        "dialect": model.network.dialect.name,
        "class names": _text(list(model.names)),
        "pictures seen before": str(model.header.seen),
        **dict(_network_parts(model.network, recipe)),
    }


def _settings(recipe: Recipe, options: NetOptions, course: Course) -> dict[str, str]:
    """Return the fields of a recipe; those that it leaves open with their effect."""
    values: dict[str, Any] = {one.name: getattr(recipe, one.name) for one in fields(recipe)}
    first = options.B1 if recipe.optimizer == "cfg" and options.adam else options.momentum
    acting: dict[str, Any] = {
        "batch": course.batch,
        "accumulate": course.accumulate,
        "rate": getattr(course.schedule, "peak", None),
        "momentum": first if recipe.momentum is None else recipe.momentum,
        "decay": options.decay if recipe.decay is None else recipe.decay,
        "letterbox": options.letterboxes if recipe.letterbox is None else recipe.letterbox,
    }
    named = values | acting
    return {SPELLED.get(name, name): _text(one) for name, one in named.items() if name not in FREE}


def _network_parts(network: Network, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield what the cfg says, a part for each section."""
    left_out = {"dialect", *BY_RECIPE, *UNREAD, *(() if recipe.schedule == "cfg" else OF_RATES)}
    if network.options.policy not in ("poly", "sgdr"):
        left_out |= {"max_batches", "sgdr_cycle"}
    yield "[net]", _section(network.options, left_out)
    for layer in network.layers:
        yield f"layer {layer.index} [{layer.type}]", _section(layer.spec, {"dialect"})


def _section(spec: Any, left_out: set[str]) -> str:
    kept = (one.name for one in fields(spec) if one.name not in left_out)
    return _text({name: getattr(spec, name) for name in kept})


def _data_parts(name: str, data: Data | None, *, labels: bool) -> Iterator[tuple[str, str]]:
    """Yield which pictures there are, wherever they lie, and what these and their labels hold."""
    if data is None:
        yield name, "none"
        return
    files = [one.image if isinstance(one, Sample) else one[0] for one in data.samples]
    yield name, f"{len(files)} pictures ({_digest(_below_their_folder(files))})"
    if labels:
        yield f"labels of {name}", _labels_text(data)
    yield f"contents of {name}", f"files ({_digest(_contents(files))})"


def _labels_text(data: Data) -> str:
    if isinstance(data, Dataset):
        count = sum(len(sample.names) for sample in data.samples)
        found = _digest(part for sample in data.samples for part in _label_bytes(sample))
        return f"{count} objects ({found})"
    classes = [data.names[number] if data.names else "" for _, number in data.samples]
    return f"classes ({_digest([_text(classes).encode()])})"


def _below_their_folder(files: Sequence[Path]) -> Iterator[bytes]:
    """Yield the files' paths below the folder that holds them all."""
    paths = [os.path.abspath(file) for file in files]
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # on several drives, or there is none
        folder = ""
    return (os.fsencode(path[len(folder) :].replace(os.sep, "/")) for path in paths)


def _contents(files: Sequence[Path]) -> Iterator[bytes]:
    """Yield the sizes of all files, and what stands in those of `MOST_READ`, evenly spread.

    Whether all have the same content is not worth reading a large data set once more.
    """
    sizes = [_size(file) for file in files]
    yield _text(sizes).encode()
    for file in evenly_spread(files, MOST_READ):
        with contextlib.suppress(OSError):
            yield file.read_bytes()


def _size(file: Path) -> int | None:
    """Return the bytes of a file; None for one that is not there, which training tells of."""
    try:
        return file.stat().st_size
    except OSError:
        return None


def _label_bytes(sample: Sample) -> Iterator[bytes]:
    yield _text(list(sample.names)).encode()
    yield sample.boxes.tobytes()
    yield sample.difficult.tobytes()


def _digest_of_model(model: Model) -> str:
    """Return a digest of all that a model's outputs depend on."""
    parts = [_section(layer.spec, {"dialect"}).encode() for layer in model.network.layers]
    parts += [_text(list(model.names)).encode()]
    arrays = (array.tobytes() for array in model.arrays.values())
    return f"a model ({_digest(itertools.chain(parts, arrays))})"


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()[:DIGITS]


def _text(value: Any) -> str:
    """Return a value as text, equal values alike: 10 and 10.0, a tuple and a list."""
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, sort_keys=True)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return int(number) if number.is_integer() else number
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence | np.ndarray):
        return [_plain(one) for one in value]
    return str(value)


def tell_differences(begun: Identity, now: Identity) -> str:
    """Return what differs between the run that was begun and this one; empty if nothing does.

    Parts in `COUNTED` do not count.
    """
    names = [name for name in {**now, **begun} if name not in COUNTED]
    told = [
        text
        for name in names
        if begun.get(name) != now.get(name)
        for text in _difference(name, begun.get(name, "none"), now.get(name, "none"))
    ]
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    return "; ".join(told[:MOST_TOLD] + more)


def _difference(name: str, begun: str, now: str) -> Iterator[str]:
    """Yield what differs in a part: of a section of the cfg, each option."""
    was, is_now = (_options(name, text) for text in (begun, now))
    if was is None or is_now is None:
        yield f"{name} was {_shown(begun)}, is {_shown(now)}"
        return
    for option in was | is_now:
        before, after = (_text(one.get(option, "none")) for one in (was, is_now))
        if before != after:
            yield f"{name} {option} was {_shown(before)}, is {_shown(after)}"


def _options(name: str, text: str) -> dict[str, Any] | None:
    """Return the options of a section of the cfg; None for another part."""
    if not name.endswith("]"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _shown(text: str) -> str:
    return "the default" if text == "null" else shortened(text)
