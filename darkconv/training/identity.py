"""The identity of a run: what decides its steps, kept in checkpoints and compared on resuming.

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
"""Key of the run's identity in a checkpoint."""
Identity = Mapping[str, str]

FREE = ("epochs", "steps", "workers", "evaluate_every", "draw_every", "checkpoint_every")
"""Fields of a recipe that may change when a run goes on; the number of steps has its own part."""
SPELLED = {
    "averaging": "averaging (--ema)",
    "decay": "decay (--weight-decay)",
    "freeze_first": "freeze_first (--freeze)",
    "rate": "rate (--lr)",
}
"""Fields of a recipe whose options have other names."""
COUNTED = ("steps", "processes")
"""Parts that may differ; the user is told about them."""
BY_RECIPE = ("batch", "subdivisions", "sequential_subdivisions", "momentum", "decay", "letter_box")
"""Options of [net] whose effect is among the recipe's parts."""
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
"""Options of [net] that have no effect on the steps."""
DIGITS = 12  # hexadecimal digits of a digest, enough to distinguish the data sets of one user
MOST_TOLD = 5
MOST_READ = 256
"""Number of pictures whose contents are compared; of the others the sizes are."""


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
        model: model that learns.
        recipe: training recipe; fields that are None count with their effect.
        course: the recipe's numbers for this run.
        training: training pictures.
        valid: pictures for the evaluation; None for no evaluation.
        teacher: model that teaches; None for none.
        labels: the labels are used.
        processes: number of processes that share a step.
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
    """Return the fields of a recipe; those that are None with their effect."""
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
    """Yield the options of the cfg, one part for each section."""
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
    """Yield parts for the names, the labels and the contents of the pictures, wherever they lie."""
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
    """Yield the files' paths relative to the folder that holds them all."""
    paths = [os.path.abspath(file) for file in files]
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # the files are on several drives, or there are none
        folder = ""
    return (os.fsencode(path[len(folder) :].replace(os.sep, "/")) for path in paths)


def _contents(files: Sequence[Path]) -> Iterator[bytes]:
    """Yield the sizes of all files, and the content of `MOST_READ` of them, evenly spread.

    To compare all contents is not worth reading a large data set once more.
    """
    sizes = [_size(file) for file in files]
    yield _text(sizes).encode()
    for file in evenly_spread(files, MOST_READ):
        with contextlib.suppress(OSError):
            yield file.read_bytes()


def _size(file: Path) -> int | None:
    """Return the size of a file in bytes; None if it is missing, which training reports."""
    try:
        return file.stat().st_size
    except OSError:
        return None


def _label_bytes(sample: Sample) -> Iterator[bytes]:
    yield _text(list(sample.names)).encode()
    yield sample.boxes.tobytes()
    yield sample.difficult.tobytes()


def _digest_of_model(model: Model) -> str:
    """Return a digest of everything that a model's outputs depend on."""
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
    """Return a value as text; equal values give one text: 10 and 10.0, a tuple and a list."""
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
    """Return a text on the differences between two identities; empty if there is none.

    Parts in `COUNTED` are ignored.

    Args:
        begun: identity in the checkpoint.
        now: identity of the run that resumes it.
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
    """Yield a text for each difference in a part; in a section of the cfg, for each option."""
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
