"""The text of a cfg."""

from pathlib import Path

from darkconv.core.dialect import DIALECTS
from darkconv.core.layer_table import row, totals
from darkconv.core.model import Header
from darkconv.core.net import NetOptions
from darkconv.core.network import build_network
from darkconv.core.options import Notes, option_table
from darkconv.core.spec import LAYER_TYPES
from darkconv.darknet.cfg import cfg_bytes, format_cfg, parse_cfg, read_cfg
from darkconv.darknet.darkflow import is_dissection, read_dissection
from darkconv.darknet.data import read_tree
from darkconv.darknet.description import describe, read_description
from darkconv.darknet.dialect import choose_dialect
from darkconv.errors import DarkconvError, Where
from darkconv.layers.activation import ALEXEYAB_ACTIVATIONS
from darkconv.surgery.channels import find_classes
from networks import initial_model
from untrusted.mutation import NUMBERS, OF_TEXT, line_from
from untrusted.reader import Reader, check_message

TESTS = Path(__file__).resolve().parents[1]
BUNDLED, MICRO = TESTS.parent / "cfgs", TESTS / "data" / "micro"
MOST_BUNDLED = 12
"""The shortest of them: the others only take longer."""
MOST_CHANNELS = 20_000
"""Channel classes are looked for in networks of no more: their number is the user's wish."""

DISSECTION = b"""[net]
width=4
height=4
channels=3
[conv-select]
filters=14
size=1
keep=0/2
[region]
classes=1
num=2
anchors=1,1,2,2
"""


def seeds() -> list[bytes]:
    bundled = sorted(BUNDLED.glob("*.cfg"), key=lambda path: path.stat().st_size)[:MOST_BUNDLED]
    files = [*sorted(MICRO.glob("*/net.cfg")), *bundled]
    return [DISSECTION, *(path.read_bytes() for path in files)]


def option_lines() -> list[bytes]:
    """`key=value` for every option of every section, with good and bad values."""
    keys = {key for spec in (NetOptions, *LAYER_TYPES.values()) for key in option_table(spec)}
    values = [*NUMBERS, *(name.encode() for name in sorted(ALEXEYAB_ACTIVATIONS)), b"per_channel"]
    return [
        key.encode() + b"=" + value
        for number, key in enumerate(sorted(keys))
        for value in values[number % 3 :: 3]
    ]


def prepare(folder: Path) -> None:
    (folder / "tree").write_text("a -1\nb -1\nc 0\nd 0\n")


def check(data: bytes, folder: Path) -> None:
    path = folder / "net.cfg"
    path.write_bytes(data)
    config = read_cfg(path)
    assert cfg_bytes(config) == data
    assert format_cfg(parse_cfg(format_cfg(config))) == format_cfg(config)
    if is_dissection(config):
        config = read_dissection(config).original
    assert choose_dialect(config, None) in DIALECTS.values()
    refusals = []
    for dialect in DIALECTS.values():
        try:
            check_network(config, dialect, {"tree": read_tree(folder / "tree")})
        except DarkconvError as error:
            refusals.append(error)
            check_message(str(error))
    if len(refusals) == len(DIALECTS):
        raise refusals[0]


def check_network(config, dialect, trees) -> None:
    notes = Notes()
    network = build_network(config, dialect, trees=trees, notes=notes)
    for text in notes.found():
        check_message(text)
    assert all(min(shape) > 0 for shape in network.shapes)
    model = initial_model(network)
    assert [row(layer) for layer in network.layers]
    assert totals(model)
    told = describe(network, Header.new(dialect), ())
    again, _, _ = read_description(told, Where(file="net.safetensors"))
    assert cfg_bytes(again.config) == cfg_bytes(config)
    assert again.shapes == network.shapes
    assert arrays(again) == arrays(network)
    channels = network.input_shape.c + sum(shape.c for shape in network.shapes)
    if channels <= MOST_CHANNELS:
        assert len(find_classes(network).labels) == channels


def arrays(network) -> list[tuple[str, tuple[int, ...]]]:
    return [(key, slot.shape) for key, _, slot in network.keyed_slots()]


CFG = Reader("cfg", check, seeds, (*OF_TEXT, *[line_from(option_lines())] * 3), prepare)
