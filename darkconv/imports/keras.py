"""Keras files: .h5 of weights or of whole models, and .keras, which also states the epsilons."""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from darkconv.errors import WeightsError, Where
from darkconv.files.archive import Archive
from darkconv.imports.found import SPACE_TO_DEPTH, Checkpoint, FoundArray, LayerArray, Unit
from darkconv.imports.hdf5 import Hdf5, open_hdf5, parse_config

CONFIG, WEIGHTS, OURS = "config.json", "model.weights.h5", "darkconv.json"
HWIO = (3, 2, 0, 1)
"""The axes of a kernel HWIO (height, width, inputs, filters) in Darknet's order, OIHW."""
DEPTHWISE = (2, 3, 0, 1)
NORM = {
    "gamma": "scales",
    "beta": "biases",
    "moving_mean": "rolling_mean",
    "moving_variance": "rolling_variance",
    "running_mean": "rolling_mean",
    "running_std": "rolling_variance",
}
"""Darknet's names of batch norm's arrays by Keras's; Keras 1 calls the variance `running_std`."""
KERNELS = {"kernel", "depthwise_kernel", "W"}
BIASES = {"bias", "b"}
EPSILON = 1e-3
"""The epsilon that Keras adds to the variance by default."""
SLOPE = 0.1
"""The slope of Darknet's leaky activation below zero."""
MOST_STEMS = 4
"""The most names, numbers aside, under which a program counts its layers."""
KERAS_YOLO2 = "keras-yolo2 or experiencor's keras-yolo3"
KNOWN = (
    (r"conv_\d+$", KERAS_YOLO2),
    (r"convolution2d_\d+$", "YAD2K"),
    (r"(?:depthwise_)?conv2d(?:_\d+)?$", "keras-yolo3, keras-YOLOv3-model-set or YAD2K"),
)
"""The patterns of convolutions' names, with the tools that use them."""


@dataclass(frozen=True)
class LayerArrays:
    """A layer of the file: its name, and its arrays by Keras's names."""

    name: str
    arrays: Mapping[str, FoundArray]


def open_weights(hdf5: Hdf5) -> Checkpoint:
    """Return the layers of an .h5 file of weights or of a whole model.

    Args:
        hdf5: the file, which has to stay open while arrays are read.

    Raises:
        WeightsError: the file is damaged.
    """
    top = hdf5.attributes("")
    config = parse_config(top["model_config"], hdf5.file) if "model_config" in top else None
    root = "model_weights" if "model_weights" in {p.partition("/")[0] for p in hdf5.arrays} else ""
    is_old = bool(hdf5.names(root, "layer_names"))
    layers = list(_old_layers(hdf5, root) if is_old else _new_layers(hdf5))
    return named_checkpoint(hdf5.file, layers, config, "a Keras .h5 file")


def open_keras(archive: Archive, file: str, stack: ExitStack) -> Checkpoint:
    """Return the layers of a .keras file.

    Args:
        archive: the open file, which is a zip archive.
        file: the file's name for messages.
        stack: the stack that closes the HDF5 file in the archive.

    Raises:
        WeightsError: darkconv has written the file, or it is damaged.
        ArchiveError: the archive is damaged.
    """
    if OURS in archive.members:
        raise WeightsError(
            "is a file that darkconv wrote",
            where=Where(file=file),
            hint="give it alone, without a cfg",
        )
    config = parse_config(archive.read(CONFIG), file)
    hdf5 = open_hdf5(io.BytesIO(archive.read(WEIGHTS)), file, stack)
    layers = list(_new_layers(hdf5, dict(_kinds(config))))
    return named_checkpoint(file, layers, config, "a .keras file")


def _old_layers(hdf5: Hdf5, root: str) -> Iterator[LayerArrays]:
    """Yield the layers of Keras 1 and 2, in the order of the model."""
    for group in hdf5.names(root, "layer_names"):
        path = f"{root}/{group}" if root else group
        found: dict[str, dict[str, FoundArray]] = {}
        for name in _weight_names(hdf5, path):
            array = hdf5.arrays.get(f"{path}/{name}")
            if array is None:
                raise WeightsError(
                    f"names an array {name} that it does not have", where=Where(file=hdf5.file)
                )
            layer, word = split_name(name, group)
            found.setdefault(layer, {})[word] = array
        yield from (LayerArrays(layer, arrays) for layer, arrays in found.items())


def _weight_names(hdf5: Hdf5, path: str) -> list[str]:
    """Return the array names that a layer's group states; groups without arrays may be missing."""
    if not any(name.startswith(f"{path}/") for name in hdf5.arrays):
        return []
    names = hdf5.names(path, "weight_names")
    return names or [n.removeprefix(f"{path}/") for n in hdf5.arrays if n.startswith(f"{path}/")]


def split_name(name: str, group: str) -> tuple[str, str]:
    """Split an array's name, such as `conv_1/kernel:0` or Keras 1's `convolution2d_1_W:0`.

    Args:
        name: the array's name in the file.
        group: the name of the group that the array lies in.

    Returns:
        The layer's name, and Keras's name of the array.
    """
    plain = name.partition(":")[0]
    if "/" not in plain:
        if plain.startswith(f"{group}_"):
            return group, plain.removeprefix(f"{group}_")
        return group, plain
    path, _, word = plain.rpartition("/")
    return path.rpartition("/")[2], word


def _new_layers(hdf5: Hdf5, names: Mapping[str, str] | None = None) -> Iterator[LayerArrays]:
    """Yield the layers of Keras 3, whose arrays are numbered.

    Args:
        hdf5: the file; newer ones state the names of the layers.
        names: the layers' names in the config, by the group's name; None if there is no config.
    """
    groups: dict[str, dict[str, FoundArray]] = {}
    for path, array in hdf5.arrays.items():
        owner, _, number = path.rpartition("/")
        if owner.endswith("/vars") and not owner.startswith("optimizer"):
            owner = owner.removesuffix("/vars")
            groups.setdefault(owner, {})[number] = array
    for owner in sorted(groups, key=_counted_path):
        named, last = hdf5.attributes(f"{owner}/vars").get("name"), owner.rpartition("/")[2]
        name = named if isinstance(named, str) else (names or {}).get(last, last)
        yield LayerArrays(name, _words(groups[owner], owner))


def _counted_path(path: str) -> list[tuple[str, int]]:
    """Return a sort key for groups: by the number that Keras gives to each kind of layer."""
    return [stem_of(part) for part in path.split("/")]


def _words(arrays: Mapping[str, FoundArray], owner: str) -> dict[str, FoundArray]:
    """Return numbered arrays by Keras's names, which follow from their shapes."""
    if not all(number.isdecimal() for number in arrays):
        return dict(arrays)
    ordered = [arrays[number] for number in sorted(arrays, key=int)]
    if len(ordered[0].shape) > 1:
        words = ["depthwise_kernel" if "depthwise" in owner else "kernel", "bias"]
    else:
        words = ["gamma", "beta", "moving_mean", "moving_variance"]
    return dict(zip(words, ordered, strict=False)) if len(ordered) <= len(words) else {}


def _kinds(config: Any) -> Iterator[tuple[str, str]]:
    """Yield (the name of a group, the name of its layer) of a .keras file's config."""
    counts: dict[str, int] = {}
    for entry in _layer_entries(config):
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(entry.get("class_name"))).lower()
        kind = kind.replace("conv2_d", "conv2d")
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        name = entry.get("name") or entry.get("config", {}).get("name")
        if isinstance(name, str):
            yield (f"{kind}_{number}" if number else kind), name


def _layer_entries(config: Any) -> Iterator[dict[str, Any]]:
    """Yield the entries of all layers of a config, including those of nested models."""
    if not isinstance(config, dict):
        return
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    if not isinstance(layers, list):
        layers = config.get("layers") if isinstance(config.get("layers"), list) else []
    for entry in layers or []:
        if isinstance(entry, dict) and isinstance(entry.get("config"), (dict, list)):
            yield entry
            yield from _layer_entries(entry)


def stem_of(name: str) -> tuple[str, int]:
    """Return a name without its number, and the number; a name without one has number 0.

    Args:
        name: the layer's name, such as `conv2d_3`.
    """
    found = re.match(r"(.*?)_(\d+)$", name) or re.match(r"(.*?[A-Za-z])(?<!_v)(\d+)$", name)
    return (found[1], int(found[2])) if found else (name, 0)


def named_checkpoint(file: str, layers: list[LayerArrays], config: Any, kind: str) -> Checkpoint:
    """Return the content of a Keras file, with its layers in the order that their names tell.

    Args:
        file: the file's name for messages.
        layers: the layers in the order of the file.
        config: the configuration of a whole model; None for a file of weights alone.
        kind: the kind of the file in words.
    """
    epsilons = _epsilons(config)
    units, spare = [], []
    for layer in layers:
        unit = _unit(layer, epsilons)
        if unit is None:
            spare += [found.name for found in layer.arrays.values()]
        else:
            units.append(unit)
    kernels = _by_number([unit for unit in units if not unit.is_norm_alone])
    norms = _by_number([unit for unit in units if unit.is_norm_alone])
    if config is not None:
        kind = f"{kind} of a whole model"
    return Checkpoint(
        file,
        kind,
        _tool(kernels),
        (*kernels, *norms),
        "counters",
        spare=tuple(spare),
        program_epsilon=None if config is not None else EPSILON,
        reorg=SPACE_TO_DEPTH,
        says_reorg=_tool(kernels) == KERAS_YOLO2 or _says_space_to_depth(config),
        notes=tuple(_config_notes(config)),
        description=config,
    )


def _unit(layer: LayerArrays, epsilons: Mapping[str, float]) -> Unit | None:
    words = layer.arrays.keys()
    if words & NORM.keys():
        parts = {
            NORM[word]: LayerArray(found) for word, found in layer.arrays.items() if word in NORM
        }
        return Unit(layer.name, parts, epsilon=epsilons.get(layer.name))
    kernel = next((layer.arrays[word] for word in words & KERNELS), None)
    if kernel is None:
        return None
    is_depthwise = "depthwise_kernel" in words or "depthwise" in layer.name
    parts = {"weights": _kernel(kernel, is_depthwise=is_depthwise)}
    for word in words & BIASES:
        parts["biases"] = LayerArray(layer.arrays[word])
    return Unit(layer.name, parts, is_depthwise=is_depthwise)


def _kernel(found: FoundArray, *, is_depthwise: bool) -> LayerArray:
    if len(found.shape) == 4:
        return LayerArray(found, DEPTHWISE if is_depthwise else HWIO)
    return (
        LayerArray(found, (1, 0), is_flat_map=True) if len(found.shape) == 2 else LayerArray(found)
    )


def _by_number(units: list[Unit]) -> list[Unit]:
    """Return layers in the order in which the program has made them, as their numbers tell."""
    stems = list(dict.fromkeys(stem_of(unit.name)[0] for unit in units))
    if len(stems) > MOST_STEMS or len({unit.name for unit in units}) < len(units):
        return units

    def place(unit: Unit) -> tuple[int, int]:
        stem, number = stem_of(unit.name)
        return stems.index(stem), number

    return sorted(units, key=place)


def _tool(kernels: Sequence[Unit]) -> str:
    for pattern, tool in KNOWN:
        if sum(bool(re.match(pattern, unit.name)) for unit in kernels) * 2 > len(kernels):
            return tool
    return ""


def _epsilons(config: Any) -> dict[str, float]:
    """Return the epsilon of each batch norm of a whole model, by the layer's name."""
    found = {}
    for entry in _layer_entries(config):
        options = entry["config"]
        if "BatchNormalization" in str(entry.get("class_name")) and isinstance(options, dict):
            epsilon = options.get("epsilon", EPSILON)
            name = options.get("name") or entry.get("name")
            if isinstance(epsilon, (int, float)) and isinstance(name, str) and 0 <= epsilon < 1:
                found[name] = float(epsilon)
    return found


def _says_space_to_depth(config: Any) -> bool:
    return any(
        "space_to_depth" in f"{entry.get('name')} {entry['config']}"
        for entry in _layer_entries(config)
        if "layers" not in entry["config"]
    )


def _config_notes(config: Any) -> Iterator[str]:
    """Yield a note for everything in a whole model that Darknet computes in another way."""
    slopes: set[float] = set()
    shifted: list[str] = []
    is_smooth = False
    for entry in _layer_entries(config):
        options, kind = entry["config"], entry.get("class_name")
        if not isinstance(options, dict):
            continue
        is_smooth = is_smooth or _is_bilinear(entry)
        if kind == "LeakyReLU":
            slope = options.get("negative_slope", options.get("alpha", SLOPE))
            slopes |= {float(slope)} if isinstance(slope, (int, float)) else set()
        if kind in ("Conv2D", "DepthwiseConv2D", "Convolution2D") and _is_shifted(options):
            shifted.append(str(options.get("name")))
    if is_smooth:
        yield (
            "it enlarges maps bilinearly, where Darknet's [upsample] repeats values: results differ"
        )
    others = sorted(slope for slope in slopes if abs(slope - SLOPE) > 1e-6)
    if others:
        yield f"its LeakyReLU has slope {', '.join(f'{s:g}' for s in others)}; Darknet's is 0.1"
    if shifted:
        yield (
            f"{len(shifted)} convolutions with a stride have padding 'same' ({shifted[0]} is the "
            "first): at even sizes Keras begins a pixel later than Darknet, so results differ"
        )


def _is_bilinear(entry: Mapping[str, Any]) -> bool:
    """Return True for layers that enlarge a map by interpolation."""
    options, text = entry["config"], json.dumps(entry.get("inbound_nodes", ""))
    if entry.get("class_name") == "UpSampling2D":
        return bool(options.get("interpolation", "nearest") != "nearest")
    is_resize = "resize" in str(options.get("function", options.get("name")))
    return is_resize and "layers" not in options and "bilinear" in f"{text} {json.dumps(options)}"


def _is_shifted(options: Mapping[str, Any]) -> bool:
    strides, size = (options.get(key) or [1] for key in ("strides", "kernel_size"))
    is_strided = isinstance(strides, list) and max(strides, default=1) > 1
    is_wide = isinstance(size, list) and max(size, default=1) > 1
    return is_strided and is_wide and options.get("padding") == "same"
