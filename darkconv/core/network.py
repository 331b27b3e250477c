"""The content of a cfg: the options of [net], and the layers with sources and shapes. No arrays."""

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from darkconv.core.dialect import Dialect
from darkconv.core.net import NetOptions
from darkconv.core.options import Notes, TrainingNotes, note_repeated, option_place
from darkconv.core.section import Config, Section
from darkconv.core.shape import Shape, Shapes
from darkconv.core.sizes import SizeError, UnlikeSizesError, fitting_sizes, meeting
from darkconv.core.spec import (
    HeadSpec,
    LayerSpec,
    Remark,
    Slot,
    Slots,
    section_note,
    spec_class,
    stored_slots,
)
from darkconv.core.tree import Tree
from darkconv.errors import CfgError, DarkconvError, GraphError, Where

logger = logging.getLogger("darkconv")

C_COUNT = 2**31 - 1
"""A feature map or array has at most this number of values, because C counts them in 32 bits."""
NETWORK_INPUT = -1
"""The index by which layers refer to the network input."""


@dataclass(frozen=True)
class Layer:
    """One layer at its place in the network.

    Attributes:
        index: layer index as Darknet counts: layer 0 follows [net].
        section: the section of the cfg that describes the layer.
        spec: the typed options of that section.
        sources: indices of the layers that it reads; -1 is the network input.
        in_shapes: output shapes of the sources.
        out_shape: its own output shape.
        slots: its learned arrays in file order.
        tree: the class tree that `tree=` names; None if there is none, or its file was not found.
        shared: index of the layer whose arrays it uses instead of its own; None if it has its own.
    """

    index: int
    section: Section
    spec: LayerSpec
    sources: tuple[int, ...]
    in_shapes: Shapes
    out_shape: Shape
    slots: Slots
    tree: Tree | None = None
    shared: int | None = None

    def __repr__(self) -> str:
        """Return one line with the layer's index, type and shapes."""
        inputs = " and ".join(map(str, self.in_shapes))
        return f"<Layer {self.index} [{self.type}]: {inputs} -> {self.out_shape}>"

    @property
    def type(self) -> str:
        """Return the layer type with aliases resolved: `convolutional` for `[conv]`."""
        return self.spec.type

    @property
    def label(self) -> str:
        """Return the layer's name in reports, plans and exported files: `003_convolutional`."""
        return f"{self.index:03d}_{self.type}"

    @property
    def macs(self) -> int:
        """Return the number of multiply-accumulate operations of one pass on one picture."""
        return self.spec.macs(self.in_shapes, self.out_shape)

    @property
    def parameters(self) -> int:
        """Return the number of learned values."""
        return sum(slot.size for slot in self.slots)


@dataclass(frozen=True)
class Network:
    """Layers in file order: `layers[i].index == i`, and every source precedes its readers.

    Attributes:
        config: the text of the cfg.
        dialect: the dialect by whose rules the cfg was read.
        options: the options of [net].
        layers: the layers in file order.
        trees: class trees by the value of `tree=`.
    """

    config: Config
    dialect: Dialect
    options: NetOptions
    layers: tuple[Layer, ...]
    trees: Mapping[str, Tree] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return one line with the cfg's name, the number of layers, the input and the dialect."""
        layers = f"{len(self.layers)} layer{'s' * (len(self.layers) != 1)}"
        return f"<Network {self.file}: {layers}, input {self.input_shape}, {self.dialect} dialect>"

    @property
    def input_shape(self) -> Shape:
        """Return the shape of the input: (channels, height, width), or the shape of a vector."""
        return self.options.input_shape

    @cached_property
    def shapes(self) -> Shapes:
        """Return the output shape of each layer."""
        return tuple(layer.out_shape for layer in self.layers)

    @property
    def file(self) -> str:
        """Return the name of the cfg for messages."""
        return self.config.file or "<cfg>"

    def keyed_slots(self) -> Iterator[tuple[str, Layer, Slot]]:
        """Iterate over all arrays in file order.

        Returns:
            Tuples of the key "<layer>.<array>", the layer and the slot.
        """
        return iter(self._keyed_slots)

    @cached_property
    def _keyed_slots(self) -> list[tuple[str, Layer, Slot]]:
        return [
            (f"{layer.index}.{slot.name}", layer, slot)
            for layer in self.layers
            for slot in layer.slots
        ]

    @cached_property
    def consumers(self) -> Mapping[int, tuple[int, ...]]:
        """Return the indices of the layers that read each layer; index -1 is the network input."""
        found: dict[int, list[int]] = {i: [] for i in range(NETWORK_INPUT, len(self.layers))}
        for layer in self.layers:
            for source in dict.fromkeys(layer.sources):
                found[source].append(layer.index)
        return {index: tuple(readers) for index, readers in found.items()}

    def needed_layers(self, wanted: Iterable[int], known: Container[int] = ()) -> list[int]:
        """Return the given layers and all layers they depend on, in order.

        Args:
            wanted: layer indices, from 0.
            known: indices of layers whose values are already known; what only these depend on is
                not needed.
        """
        needed: set[int] = set()
        waiting = list(wanted)
        while waiting:
            index = waiting.pop()
            if index not in needed and index != NETWORK_INPUT:
                needed.add(index)
                waiting += self.layers[index].sources if index not in known else ()
        return sorted(needed)

    @property
    def parameters(self) -> int:
        """Return the number of learned values, running statistics included."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Return the number of multiply-accumulate operations for one picture."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def heads(self) -> tuple[Layer, ...]:
        """Return the layers that predict: yolo, Gaussian_yolo, region, detection or softmax."""
        return tuple(layer for layer in self.layers if isinstance(layer.spec, HeadSpec))

    @cached_property
    def box_heads(self) -> tuple[Layer, ...]:
        """Return the heads that predict boxes: yolo, Gaussian_yolo, region or detection."""
        return tuple(layer for layer in self.heads if layer.spec.finds_boxes)

    @property
    def finds_boxes(self) -> bool:
        """Return True if the network is a detector: some head predicts boxes."""
        return bool(self.box_heads)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Return the indices of the output layers: the heads, or else the last real layer."""
        heads = tuple(layer.index for layer in self.heads)
        if heads:
            return heads
        index = len(self.layers) - 1
        while index > 0 and self.layers[index].type in ("cost", "contrastive", "empty"):
            index = self.layers[index].sources[0]
        return (index,)

    def where(self, index: int, option: str | None = None) -> Where:
        """Return the place of a layer, or of one of its options, in the cfg.

        Args:
            index: layer index, from 0.
            option: name of an option; None for the layer as a whole.
        """
        return _place_of(self.file, index, self.layers[index].section, option)

    def with_config(self, config: Config) -> "Network":
        """Build the network that an edited cfg describes, with the same dialect and trees.

        Args:
            config: the text of the edited cfg.

        Raises:
            CfgError: a section or option cannot be read.
            GraphError: a source does not exist, or shapes do not fit together.
        """
        return build_network(config, self.dialect, trees=self.trees, notes=Notes())

    def with_input_size(self, width: int, height: int, *, notes: Notes | None = None) -> "Network":
        """Return the same network for another input size, as if its cfg stated that size.

        Args:
            width: width of the input in pixels.
            height: height of the input in pixels.
            notes: collects remarks about what is odd; None to drop them.

        Raises:
            GraphError: the network reads no pictures, an array would change its shape (as in a
                connected layer after a feature map), or shapes no longer fit together.
        """
        if not self.input_shape.is_map:
            raise GraphError(f"{self.file}: has no picture as input, so no size to change")
        if (self.input_shape.w, self.input_shape.h) == (width, height):
            return self
        config = resized_config(self.config, width, height)
        notes = Notes() if notes is None else notes
        changed = build_network(config, self.dialect, trees=self.trees, notes=notes)
        for (key, layer, old), (_, _, new) in zip(
            self.keyed_slots(), changed.keyed_slots(), strict=True
        ):
            if old.shape != new.shape:
                raise GraphError(
                    f"input size {width}x{height} does not fit: {key} would change its shape",
                    where=self.where(layer.index),
                    expected=old.shape,
                    found=new.shape,
                )
        return changed

    def with_resize(self, mode: str) -> "Network":
        """Return the same network whose [net] states how pictures are fitted to the input.

        A dialect that always letterboxes has no option to say otherwise. In that case a warning
        says what to do, and the network stays as it is.

        Args:
            mode: "stretch" or "letterbox".
        """
        if mode == self.options.resize_mode(None):
            return self
        if self.dialect.letterboxes:
            logger.warning(
                "%s: is for pictures that are stretched, which a cfg of the dialect %s cannot "
                "say: --resize stretch (resize=) says it again",
                self.file,
                self.dialect.name,
            )
            return self
        config = self.config.with_section(0, {"letter_box": int(mode == "letterbox")})
        return build_network(config, self.dialect, trees=self.trees, notes=Notes())


def build_network(
    config: Config,
    dialect: Dialect,
    *,
    trees: Mapping[str, Tree] | None = None,
    notes: Notes | None = None,
) -> Network:
    """Build a network from a cfg: read all sections, resolve the sources and infer the shapes.

    Args:
        config: the text of the cfg.
        dialect: the dialect by whose rules it is read.
        trees: class trees by the value of `tree=`.
        notes: collects remarks about what is odd; None to log them as warnings at once.

    Raises:
        CfgError: a section or option cannot be read.
        GraphError: a source does not exist, or shapes do not fit together.
    """
    trees = trees or {}
    found = Notes() if notes is None else notes
    advice = cache(lambda: _fitting_sizes(config, dialect, trees))
    try:
        network, remarks = _built(config, dialect, trees, found)
    except SizeError as error:
        error.hint = error.hint or advice() or None
        raise
    for index, remark in remarks:
        where = network.where(index, remark.option or None)
        found.add(where, remark.text, advice if remark.by_size else None)
    if notes is None:
        found.log()
    return network


def build_sized_network(
    config: Config, dialect: Dialect, size: tuple[int, int], *, trees: Mapping[str, Tree]
) -> Network:
    """Build a network for another input size than that of its cfg, which may be unusable.

    Args:
        config: the text of the cfg.
        dialect: the dialect by whose rules it is read.
        size: (width, height) of the input in pixels.
        trees: class trees by the value of `tree=`.

    Raises:
        CfgError: a section or option cannot be read.
        GraphError: the layers do not fit together at this size, or an array would change its shape.
    """
    own_notes, notes = Notes(), Notes()
    try:
        own = build_network(config, dialect, trees=trees, notes=own_notes)
    except (CfgError, GraphError):
        network = build_network(
            resized_config(config, *size), dialect, trees=trees, notes=notes
        ).with_input_size(*size)
    else:
        network = own.with_input_size(*size, notes=notes)
        notes = own_notes if network is own else notes
    notes.log()
    return network


def resized_config(config: Config, width: int, height: int) -> Config:
    """Return the text of a cfg with another input size.

    Args:
        config: the text of the original cfg.
        width: width of the input in pixels.
        height: height of the input in pixels.
    """
    return config.with_section(0, {"width": width, "height": height})


def _fitting_sizes(config: Config, dialect: Dialect, trees: Mapping[str, Tree]) -> str:
    """Return advice on widths and heights near those of the cfg at which the layers fit."""
    net = config.sections[0]
    options = NetOptions.read(net.options(), dialect, Where(), Notes())

    def fits(width: int, height: int) -> bool:
        try:
            sized = resized_config(config, width, height)
            _, remarks = _built(sized, dialect, trees, Notes())
        except DarkconvError:
            return False
        return not any(remark.by_size for _, remark in remarks)

    return fitting_sizes((options.width, options.height), fits)


def _built(
    config: Config, dialect: Dialect, trees: Mapping[str, Tree], notes: Notes
) -> tuple[Network, list[tuple[int, Remark]]]:
    """Return a network and the remarks of its layers, each with the layer index."""
    net, *sections = config.sections
    where = Where(file=config.file, line=net.number, section=net.name)
    note_repeated(net, where, notes)
    options = NetOptions.read(net.options(), dialect, where, notes)
    if not options.input_shape.size:
        raise CfgError(
            "the input has no size",
            where=where,
            expected="height, width and channels, or inputs",
            found=_said_of_size(net),
        )
    if options.input_shape.size > C_COUNT:
        what = f"an input of {options.input_shape} has"
        raise _too_many(options.input_shape.size, what, where)
    reader = _SpecReader(dialect, config.file, notes)
    placer = _Placer(options.input_shape, trees)
    for index, section in enumerate(sections):
        spec = reader.read(index, section)
        try:
            placer.place(index, section, spec)
        except DarkconvError as error:
            blamed = getattr(error, "layer", None)
            blamed = index if blamed is None else blamed
            here = _place_of(config.file, blamed, sections[blamed], error.where.option)
            raise error.at(error.where.inside(here)) from None
    return Network(config, dialect, options, tuple(placer.layers), trees), placer.remarks


def _said_of_size(net: Section) -> str:
    """Return the options of [net] that give the input size, as they are written."""
    keys = ("height", "width", "channels", "inputs")
    return ", ".join(f"{key}={value}" for key in keys if (value := net.get(key))) or "none of them"


def check_training_options(network: Network, *, obeys: bool) -> None:
    """Check that the options of a cfg can be used for training.

    Args:
        network: the network to train.
        obeys: True if the training follows the whole cfg, learning rate schedule included.

    Raises:
        OptionError: an option that only training reads has a value that C cannot hold; without
            `obeys`, only one that is not finite.
    """
    net, *sections = network.config.sections
    where = Where(file=network.config.file, line=net.number, section=net.name)
    strict = TrainingNotes(obeys=obeys)
    NetOptions.read(net.options(), network.dialect, where, strict)
    reader = _SpecReader(network.dialect, network.config.file, strict)
    for index, section in enumerate(sections):
        reader.read(index, section)


def _place_of(file: str | None, index: int, section: Section, option: str | None = None) -> Where:
    here = Where(file=file, line=section.number, layer=index, section=section.name, option=option)
    line = section.options().get(option) if option else None
    return option_place(line, here) if line else here


class _SpecReader:
    """Reads sections into specs; equal sections, which are common, share one spec."""

    def __init__(self, dialect: Dialect, file: str | None, notes: Notes) -> None:
        self.dialect = dialect
        self.file = file
        self.notes = notes
        self._known: dict[object, LayerSpec] = {}

    def read(self, index: int, section: Section) -> LayerSpec:
        text = section.text
        known = self._known.get(text)
        if known is not None:
            return known
        here = _place_of(self.file, index, section)
        before = self.notes.count
        note = section_note(section.name)
        if note:
            self.notes.add(here, note)
        note_repeated(section, here, self.notes)
        spec = spec_class(section.name, self.dialect, here).read(
            section.options(), self.dialect, here, self.notes
        )
        if self.notes.count == before:  # remarks are collected for each section
            self._known[text] = spec
        return spec


class _Placer:
    """Adds layers to the network, one after the other.

    Attributes:
        layers: the layers added so far.
        remarks: their remarks, each with the layer index.
    """

    def __init__(self, input_shape: Shape, trees: Mapping[str, Tree]) -> None:
        self.input_shape = input_shape
        self.trees = trees
        self.layers: list[Layer] = []
        self.remarks: list[tuple[int, Remark]] = []
        self._known: dict[tuple[object, ...], tuple[Shape, Slots, tuple[Remark, ...]]] = {}

    def place(self, index: int, section: Section, spec: LayerSpec) -> None:
        """Add a layer.

        Raises:
            GraphError: a source does not exist, or shapes do not fit together.
        """
        before = self.layers
        sources = spec.sources(index)
        for source in sources:
            if not NETWORK_INPUT <= source < index:
                raise GraphError(expected=f"a source layer from 0 to {index - 1}", found=source)
        shapes = tuple(
            [self.input_shape if s == NETWORK_INPUT else before[s].out_shape for s in sources]
        )
        if not all([shape.is_map for shape in shapes]) and spec.needs_maps(shapes):
            flat = next(s for s, shape in zip(sources, shapes, strict=True) if not shape.is_map)
            raise self._no_map(flat, f"layer {index} [{spec.type}]")
        try:
            out, slots, remarks = self._shaped(spec, shapes)
        except UnlikeSizesError as error:
            raise error.of(shapes, sources) from None
        if spec.asks_origins:
            remarks += spec.source_remarks(shapes, tuple(map(self._origin, sources)))
        if remarks:
            self.remarks += [(index, remark) for remark in remarks]
        tree = self.trees.get(getattr(spec, "tree", ""))
        layer = object.__new__(Layer)  # faster than a frozen dataclass's __init__
        fields = {"index": index, "section": section, "spec": spec, "sources": sources}
        vars(layer).update(fields, in_shapes=shapes, out_shape=out, slots=slots, tree=tree)
        shared = spec.shared_layer(index)
        vars(layer)["shared"] = None if shared is None else _lender(layer, shared, before)
        before.append(layer)

    def _origin(self, source: int) -> Shape:
        """Return the shape of a layer's first source, or its output shape if it has no source."""
        if source == NETWORK_INPUT:
            return self.input_shape
        layer = self.layers[source]
        return layer.in_shapes[0] if layer.in_shapes else layer.out_shape

    def _no_map(self, flat: int, reader: str) -> GraphError:
        """Return the error for a layer that needs a feature map but reads a vector.

        The vector may come from a layer that joins feature maps of different sizes, which then gets
        the blame.
        """
        index = flat
        while index != NETWORK_INPUT:
            layer = self.layers[index]
            if layer.in_shapes and all(shape.is_map for shape in layer.in_shapes):
                break
            index = layer.sources[0] if layer.sources else NETWORK_INPUT
        if index == NETWORK_INPUT or len({shape[1:] for shape in layer.in_shapes}) == 1:
            return GraphError(
                expected="a map of rows and columns as input",
                found=f"the plain vector of {_name(flat, self.layers)}",
            )
        error = SizeError(
            f"joins {meeting(layer.in_shapes, layer.sources)} as a plain vector, but {reader} "
            "needs a map of rows and columns"
        )
        error.layer = index
        return error

    def _shaped(self, spec: LayerSpec, shapes: Shapes) -> tuple[Shape, Slots, tuple[Remark, ...]]:
        """Return output shape, slots and remarks, computed once for equal layers and inputs."""
        key = id(spec), shapes, tuple(map(type, shapes))
        found = self._known.get(key)
        if found is None:
            self._known[key] = found = *_shaped(spec, shapes), spec.remarks(shapes)
        return found


def _shaped(spec: LayerSpec, shapes: Shapes) -> tuple[Shape, Slots]:
    out = spec.infer_shape(shapes)
    if min(out) < 1:
        raise GraphError(
            "nothing is left of the map",
            found=f"{out} from an input of {' and '.join(map(str, shapes))}",
            hint="the network input is too small for this cfg",
        )
    if out.size > C_COUNT:
        raise _too_many(out.size, f"an output of {out} has")
    slots = stored_slots(spec, shapes)
    for slot in slots:
        if slot.size > C_COUNT:
            raise _too_many(slot.size, f"its {slot.name} have")
    return out, slots


def _too_many(count: int, what: str, where: Where | None = None) -> GraphError:
    expected = f"at most {C_COUNT}, as C counts them"
    return GraphError(f"{what} {count} values", where=where, expected=expected)


def _lender(borrower: Layer, index: int, before: list[Layer]) -> int:
    """Return the index of the layer that owns the arrays which `borrower` shares."""
    if not 0 <= index < borrower.index or before[index].type != borrower.type:
        raise GraphError(
            where=Where(option="share_index"),
            expected=f"an earlier [{borrower.type}] layer",
            found=_name(index, before) if 0 <= index < borrower.index else index,
        )
    shared = before[index].shared
    owner = before[index if shared is None else shared]
    needed = borrower.spec.borrowed_slots(borrower.in_shapes)
    if [(s.name, s.shape) for s in needed] != [(s.name, s.shape) for s in owner.slots]:
        raise GraphError(
            where=Where(option="share_index"),
            expected="a layer with arrays of the same shapes",
            found=_name(index, before),
        )
    return owner.index


def _name(index: int, before: list[Layer]) -> str:
    return "the input" if index == NETWORK_INPUT else f"layer {index} [{before[index].type}]"
