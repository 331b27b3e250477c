"""Recognise PyTorch programs that follow a Darknet cfg by their names, and make layers of these."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from darkconv.imports.found import RATIOS, SPACE_TO_DEPTH, FoundArray, LayerArray, Unit

ARRAYS = {"weight": "weights", "bias": "biases", "implicit": "weights"}
NORM_ARRAYS = {
    "weight": "scales",
    "bias": "biases",
    "running_mean": "rolling_mean",
    "running_var": "rolling_variance",
}
RUNNING = {"running_mean", "running_var"}
"""The arrays that only batch norm has."""
SPARE = {
    "num_batches_tracked",
    "anchors",
    "anchor_grid",
    "anchor_vec",
    "anchor_wh",
    "grid",
    "stride",
}
SPARE |= {"_LN_MODEL_VERSION", "scaled_anchors", "offset"}
"""The last words of names that are no weights: counters, and the constants of a head."""
NUMBERS = "numbers"
ORDER = "order"


class NamingScheme(NamedTuple):
    """The naming scheme of a family of programs.

    Attributes:
        tool: the names of the programs.
        pattern: the regular expression that finds the number of the layer in a name.
        counts: NUMBERS if the number is the layer index in the cfg, ORDER if it only increases.
        epsilon: the epsilon that the programs' batch norm adds to the variance.
        decodes: the names of the programs that decode boxes as new_coords=1 does.
        ignores_scale: the names of the programs that do not know scale_x_y.
        reorg: what they compute for [reorg]; "" if the same as Darknet.
        adds_under_root: see `Checkpoint`.
        pads_zeros: True if a [maxpool] of even size and stride 1 includes zeros beyond the border;
            Darknet's ignores what lies there.
        floors_pools: True if a [maxpool] leaves out the last row and column of an odd map;
            Darknet's does not, unless its padding option says so.
        has_plain_classes: True if its classifiers end in a convolution without activation or
            softmax.
        ratios: the last word of the name of the numbers that weight a [shortcut]'s sources; see
            `ratios.ratio_weights`.
    """

    tool: str
    pattern: str
    counts: str
    epsilon: float = 1e-5
    decodes: str = ""
    ignores_scale: str = ""
    reorg: str = SPACE_TO_DEPTH
    adds_under_root: bool = True
    pads_zeros: bool = False
    floors_pools: bool = False
    has_plain_classes: bool = False
    ratios: str = ""


NAMINGS = (
    NamingScheme(
        "PyTorch-YOLOv3 (pytorchyolo) and its children",
        r"(?:^|\.)module_list\.(\d+)\.(?:conv|batch_norm)_\d+\.",
        NUMBERS,
        decodes="PyTorch-YOLOv3 of March and April 2021",
        ignores_scale="PyTorch-YOLOv3",
        pads_zeros=True,
        floors_pools=True,
    ),
    NamingScheme(
        "ultralytics/yolov3 of the archive, PyTorch_YOLOv4 or yolor",
        r"(?:^|\.)module_list\.(\d+)\.(?:(?:Conv2d|BatchNorm2d|WeightedFeatureFusion|\d+)\.|$)",
        NUMBERS,
        epsilon=1e-4,
        ratios="w",
        decodes="PyTorch_YOLOv4 and yolor",
        ignores_scale="ultralytics/yolov3",
        pads_zeros=True,
        floors_pools=True,
    ),
    NamingScheme("a program with module_list", r"(?:^|\.)module_list\.(\d+)\.", NUMBERS),
    NamingScheme(
        "pytorch-0.4-yolov3, pytorch-YOLOv4 or darknet2any",
        r"(?:^|\.)models\.(\d+)\.(?:(?:conv|bn)\d+\.|\d+\.)?",
        ORDER,
        floors_pools=True,
    ),
    NamingScheme(
        "libreyolo",
        r"(?:^|\.)yolo\w+\.layers\.(\d+)\.",
        NUMBERS,
        adds_under_root=False,
    ),
    NamingScheme(
        "darkconv",
        r"^(?:(?:module|model|net|network|ema|_orig_mod)\.)*layers\.(\d+)\.",
        NUMBERS,
        reorg="",
        adds_under_root=False,
    ),
)
"""The known naming schemes; the first one that all weights of a file follow is taken."""

BY_LIGHTNET = NamingScheme(
    "lightnet", "", ORDER, reorg="", floors_pools=True, has_plain_classes=True
)
LIGHTNET = {
    "YoloV4": (
        r"backbone\.",
        r"neck\.0\.",
        *(r"neck\.1\.lateral\.0\.", r"neck\.1\.upsample\.0\.", r"neck\.1\.lateral\.1\."),
        *(r"neck\.1\.combine\.0\.", r"neck\.1\.upsample\.1\.", r"neck\.1\.lateral\.2\."),
        *(r"neck\.1\.combine\.1\.", r"head\.2\.", r"neck\.1\.downsample\.0\."),
        *(r"neck\.1\.combine\.2\.", r"head\.1\.", r"neck\.1\.downsample\.1\."),
        *(r"neck\.1\.combine\.3\.", r"head\.0\."),
    ),
    "YoloV3": (
        r"backbone\.",
        *(r"neck\.0\.module\.[0-4]\.", r"head\.0\.", r"neck\.0\.module\.5\."),
        *(r"neck\.1\.module\.[0-4]\.", r"head\.1\.", r"neck\.1\.module\.5\."),
        *(r"neck\.2\.", r"head\.2\."),
    ),
    "TinyYoloV3": (
        r"backbone\.",
        *(r"neck\.module\.[12]\.", r"head\.0\.[01]\.", r"neck\.module\.3\.", r"head\.1\.[01]\."),
    ),
    "others": (r"backbone\.", r"neck\.", r"head\."),
}
"""The order of lightnet's modules in the cfg, by model.

For the larger models it is stated by lightnet's `darknet_order`. For TinyYoloV3 it follows from the
module itself: the order in which lightnet lists its modules is another.
"""
LIGHTNET_PARTS = {"backbone", "neck", "head"}
LIGHTNET_MARK = re.compile(r"backbone\.(?:module\.)?\d+_[a-z]+\.")
"""The start of names in all models of lightnet that follow a Darknet cfg."""
LIGHTNET_BLOCK = re.compile(
    r"backbone\.(?:module\.)?(\d+)_csp(\.split2|\.split1|\.residual(\d+)|\.conv|\.post)"
)
"""The branches of a block; two of them stand in the reverse order in the cfg."""


class StateDictLayers(NamedTuple):
    """The layers of a state dict.

    Attributes:
        units: the layers, in order.
        naming: their naming scheme; None if it is unknown.
        rule: see `Checkpoint.rule`.
        spare: names of the arrays that belong to no layer.
    """

    units: tuple[Unit, ...]
    naming: NamingScheme | None
    rule: str
    spare: tuple[str, ...]


def name_units(found: Sequence[FoundArray], *, is_ordered: bool) -> StateDictLayers:
    """Make layers of the arrays of a state dict.

    Args:
        found: the arrays in the order of the file.
        is_ordered: True if that order is the program's rather than the alphabet's.

    Returns:
        The layers and their naming scheme.
    """
    spare = [one.name for one in found if one.name.rpartition(".")[2] in SPARE]
    learned = [one for one in found if one.name not in set(spare)]
    modules = _modules(learned)
    for naming in NAMINGS:
        numbers = [re.search(naming.pattern, f"{path}.") for path in modules]
        if modules and all(numbers):
            counted = [int(number[1]) for number in numbers if number]
            return StateDictLayers(
                _counted(modules, counted, naming), naming, naming.counts, tuple(spare)
            )
    start = _wrapping(modules)
    prefixes = lightnet_order(path[start:] for path in modules)
    is_lightnet = bool(prefixes)
    units = _paired(_in_order(modules, prefixes, is_ordered=is_ordered))
    rule = ORDER if is_ordered or is_lightnet or _is_counted(modules) else "none"
    return StateDictLayers(tuple(units), BY_LIGHTNET if is_lightnet else None, rule, tuple(spare))


def _modules(found: Iterable[FoundArray]) -> dict[str, dict[str, FoundArray]]:
    """Return the arrays of each module by their last word."""
    modules: dict[str, dict[str, FoundArray]] = {}
    for one in found:
        path, _, last = one.name.rpartition(".")
        modules.setdefault(path, {})[last] = one
    return modules


def _parts(arrays: dict[str, FoundArray]) -> dict[str, LayerArray]:
    """Return a module's arrays by Darknet's names."""
    table = NORM_ARRAYS if arrays.keys() & RUNNING else ARRAYS
    return {table.get(last, last): LayerArray(one) for last, one in arrays.items()}


def _counted(
    modules: dict[str, dict[str, FoundArray]], numbers: list[int], naming: NamingScheme
) -> tuple[Unit, ...]:
    """Make layers of the modules, one for each number."""
    layers: dict[int, dict[str, dict[str, FoundArray]]] = {}
    for (path, arrays), number in zip(modules.items(), numbers, strict=True):
        layers.setdefault(number, {})[path] = arrays
    units: list[Unit] = []
    for number, own in sorted(layers.items()):
        index = number if naming.counts == NUMBERS else None
        for unit in _of_one_layer(_paired(own)):
            parts = {RATIOS if k == naming.ratios else k: part for k, part in unit.parts.items()}
            units.append(Unit(unit.name, parts, index))
    return tuple(units)


def _of_one_layer(units: list[Unit]) -> list[Unit]:
    """Join a batch norm with the convolution of its layer, whatever their shapes."""
    norms = [unit for unit in units if unit.is_norm_alone]
    others = [unit for unit in units if not unit.is_norm_alone]
    if len(norms) == len(others) == 1 and "weights" in others[0].parts and not others[0].has_norm:
        return [joined(others[0], norms[0])]
    return units


def _paired(modules: dict[str, dict[str, FoundArray]]) -> list[Unit]:
    """Join each batch norm with the convolution that it follows."""
    plain = [Unit(path, _parts(arrays)) for path, arrays in modules.items()]
    paired: list[Unit] = []
    for unit in plain:
        before = paired[-1] if paired else None
        if unit.is_norm_alone and before and _takes(before, unit):
            paired[-1] = joined(before, unit)
        else:
            paired.append(unit)
    if any(unit.is_norm_alone for unit in paired):
        return _matched(plain) or paired
    return paired


def _matched(plain: list[Unit]) -> list[Unit] | None:
    """Join the k-th batch norm with the k-th convolution without biases, wherever it stands."""
    norms = [unit for unit in plain if unit.is_norm_alone]
    bare = [unit for unit in plain if "weights" in unit.parts and "biases" not in unit.parts]
    pairs = list(zip(bare, norms, strict=False))
    if len(norms) != len(bare) or not all(_takes(unit, norm) for unit, norm in pairs):
        return None
    partner = {unit.name: norm for unit, norm in pairs}
    others = (unit for unit in plain if not unit.is_norm_alone)
    return [joined(u, partner[u.name]) if u.name in partner else u for u in others]


def _takes(unit: Unit, norm: Unit) -> bool:
    """Return True if a batch norm may follow a layer."""
    if "weights" not in unit.parts or unit.has_norm:
        return False
    any_of_norm = next(iter(norm.parts.values()))
    return unit.parts["weights"].shape[:1] == any_of_norm.shape


def joined(unit: Unit, norm: Unit) -> Unit:
    """Return a layer with its batch norm; the convolution's own biases are kept separately.

    Args:
        unit: the layer before the batch norm, which has weights.
        norm: the batch norm, whose arrays are added.
    """
    own = {("inner_biases" if k == "biases" else k): part for k, part in unit.parts.items()}
    return Unit(unit.name, own | dict(norm.parts), unit.index, norm.epsilon, unit.is_depthwise)


def _in_order(
    modules: dict[str, dict[str, FoundArray]], prefixes: Sequence[str], *, is_ordered: bool
) -> dict[str, dict[str, FoundArray]]:
    """Return modules in the order of the cfg, as far as names or the file tell it.

    Args:
        modules: the modules in the order of the file.
        prefixes: see `lightnet_order`.
        is_ordered: True if the order of the file is the program's.
    """
    if prefixes:
        start = _wrapping(modules)
        natural = sorted(modules, key=_natural)
        places = {path: _place(path[start:], prefixes) for path in natural}
        return {path: modules[path] for path in sorted(natural, key=lambda p: places[p])}
    if not is_ordered and _is_counted(modules):
        return {path: modules[path] for path in sorted(modules, key=_natural)}
    return modules


def lightnet_order(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns of lightnet's modules in the cfg's order; () for other programs.

    Args:
        paths: the modules' names, without the start that all of them share.
    """
    known = [f"{path}." for path in paths]
    if not any(LIGHTNET_MARK.match(path) for path in known):
        return ()
    for prefixes in LIGHTNET.values():
        if all(any(re.match(prefix, path) for prefix in prefixes) for path in known):
            return prefixes
    return ()


def _wrapping(paths: Iterable[str]) -> int:
    """Return the length of the shared start of all names before lightnet's own, as `module.`."""
    words = [path.split(".") for path in paths]
    shared = 0
    for column in zip(*words, strict=False):
        if len(set(column)) > 1 or column[0] in LIGHTNET_PARTS:
            break
        shared += len(column[0]) + 1
    return shared


def _place(path: str, prefixes: Sequence[str]) -> tuple[int, tuple[int, ...]]:
    """Return the sort key of a lightnet module: its part, its block and its branch."""
    part = next(i for i, prefix in enumerate(prefixes) if re.match(prefix, f"{path}."))
    block = LIGHTNET_BLOCK.match(path)
    if not block:
        first = re.match(r"backbone\.(?:module\.)?(\d+)_", path)
        return part, (int(first[1]) if first else 0,)
    branches = (".split2", ".split1", ".residual", ".conv", ".post")
    branch = next(i for i, name in enumerate(branches) if block[2].startswith(name))
    return part, (int(block[1]), branch, int(block[3] or 0))


def _natural(path: str) -> list[tuple[int, str]]:
    """Return a sort key that puts 2 before 10."""
    return [
        (int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", path)
    ]


def _is_counted(modules: Iterable[str]) -> bool:
    """Return True if only numbers tell the layers apart."""
    stems = {re.sub(r"\d+", "#", path.rpartition(".")[0]) for path in modules}
    return len(stems) == 1
