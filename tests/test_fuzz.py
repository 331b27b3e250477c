"""Bytes from strangers: nothing but DarkconvError escapes, and what is accepted is right.

FUZZ_EXAMPLES=10000 in the environment tries that many inputs per reader, different ones each
time. tools/fuzz does the same with atheris, led by coverage.
"""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from darkconv.cli import main
from darkconv.darknet.weights import read_weights
from darkconv.errors import WeightsError
from networks import network
from untrusted.cfg import CFG
from untrusted.examples import examples, inputs, little_memory, read
from untrusted.exported import EXPORTED
from untrusted.labels import LABELS
from untrusted.weights import WEIGHTS

READERS = [CFG, *WEIGHTS, *LABELS, *EXPORTED]
BY_NAME = {reader.name: reader for reader in READERS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A prepared folder for each reader."""
    made = {}
    for reader in READERS:
        made[reader] = tmp_path_factory.mktemp("fuzz")
        reader.prepare(made[reader])
    return made


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_what_fuzzing_begins_with_is_accepted(reader, folders):
    assert reader.accepts(reader.seeds[0], folders[reader])


@examples(1500)
@given(inputs(CFG))
def test_any_cfg_is_read_or_refused(folders, data):
    read(CFG, data, folders[CFG])


@pytest.mark.parametrize("reader", WEIGHTS, ids=str)
@examples(80)
@given(source=st.data())
def test_any_weights_file_is_read_or_refused(reader, folders, source):
    read(reader, source.draw(inputs(reader)), folders[reader])


@pytest.mark.parametrize("reader", LABELS + EXPORTED, ids=str)
@examples(100)
@given(source=st.data())
def test_any_other_file_is_read_or_refused(reader, folders, source):
    read(reader, source.draw(inputs(reader)), folders[reader])


# --- What once failed, made small


def with_metadata(**changed):
    """What an exported file says of itself, with something else in it."""
    told = json.loads(BY_NAME["description"].seeds[0])
    return json.dumps({**told, **changed}).encode()


MANY = b"1" * 400
LAYER = b"[net]\nwidth=4\nheight=4\nchannels=3\n"
FAILED = [
    ("cfg", b"[net]\ninputs=" + b"9" * 5000 + b"\n[dropout]"),  # no int has so many digits
    ("cfg", b"[net]\ninputs=" + MANY + b"\n[dropout]"),  # no float has
    ("cfg", b"[net]\ninputs=1\n[lstm]\noutput=" + b"x" * 3000),  # all of it in the message
    ("cfg", b"[\xff\x1b[2Jnet]"),  # told to the terminal
    ("cfg", b"\x1c"),  # blank for Python, not for C
    ("cfg", LAYER + b"[yolo]\nnum=2147483647"),  # a tuple of so many anchors
    ("cfg", LAYER + b"[conv-select]\nfilters=14\nkeep=0/1,2"),
    ("cfg", LAYER + b"[conv-select]\nfilters=14\nkeep=-2/%s" % MANY),  # all of it in the message
    ("cfg", LAYER + b"[conv-select]\nfilters=2147483640\nkeep=0/1"),  # an index of each
    ("data", b"classes\xe2\x80\xa8=2\nvalid=none"),  # a line end for str.splitlines
    ("names", b"\t\xef\xbb\xbfcat"),  # written, the mark stood first and was not read back
    ("plan", b'{"darkconv_plan": 1, "model": "", "layers": {}, "means": {"0": {"0": %s}}}' % MANY),
    ("description", with_metadata(cfg="\N{GREEK SMALL LETTER PI}")),
    ("description", with_metadata(header='{"major": 0, "minor": 2, "revision": 5, "seen": 0.5}')),
    ("description", with_metadata(header='{"major": 0, "minor": 2, "revision": 1e9, "seen": 0}')),
    ("description", with_metadata(header="[" * 3000)),
    ("description", with_metadata(names="[1]")),
    ("class list", b"9" * 5000),
    ("class list", "\N{SUPERSCRIPT TWO}".encode()),  # a digit, but no number
    ("index lists", b"[[1%s]]" % (b"0" * 30)),
    ("index lists", b"[" * 3000),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data"), FAILED)
def test_what_once_failed_is_read_or_refused(name, data, folders):
    read(BY_NAME[name], data, folders[BY_NAME[name]])


def test_a_head_of_billions_of_classes_takes_no_memory(tmp_path):
    text = "[convolutional]\nfilters=2147483640\n[yolo]\nclasses=2147483635\n"
    (tmp_path / "net.weights").write_bytes(bytes(100))
    with little_memory(), pytest.raises(WeightsError, match="describes another network"):
        read_weights(tmp_path / "net.weights", network(text, (1, 1, 1)))


def test_warnings_cannot_command_a_terminal(tmp_path):
    (tmp_path / "net.cfg").write_bytes(LAYER + b"[convolutional]\n\x1b[2J=1\nactivation=\x1b[2J\n")
    told = CliRunner().invoke(main, ["info", str(tmp_path / "net.cfg")])
    assert told.exit_code == 0
    assert told.stderr == (
        f"warning: {tmp_path}/net.cfg:6: layer 0 [convolutional] \\x1b[2J: "
        "unknown option, ignored\n"
        f"warning: {tmp_path}/net.cfg:7: layer 0 [convolutional] activation: "
        "unknown name '\\x1b[2J' is relu, as in C\n"
    )
