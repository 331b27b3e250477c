"""Which program's rules hold: sections, options, header, in this order."""

import copy
import pickle

import pytest

from darkconv.core.dialect import DIALECTS
from darkconv.core.model import Header
from darkconv.darknet.cfg import parse_cfg
from darkconv.darknet.dialect import choose_dialect, named_dialect
from darkconv.errors import DarkconvError
from networks import cfg_text

PLAIN = "[convolutional]\nfilters=2\nactivation=leaky\n"
OLD, NEW = Header(0, 2, 0), Header(0, 2, 5)


@pytest.mark.parametrize(
    ("body", "header", "expected"),
    [
        (PLAIN, None, "pjreddie"),
        (PLAIN, OLD, "pjreddie"),
        (PLAIN, NEW, "alexeyab"),
        (PLAIN, Header(0, 1, 0), "pjreddie"),
        (PLAIN, Header(925353388, 1063675494, 1046), "pjreddie"),
        (PLAIN + "[l2norm]\n", NEW, "pjreddie"),
        (PLAIN + "[sam]\nfrom=0\n", OLD, "alexeyab"),
        (PLAIN + "[sam]\nfrom=0\n[implicit_add]\nfilters=2\n", OLD, "yolor"),
        (PLAIN + "[implicit_mul]\nfilters=2\n", NEW, "yolor"),
        (PLAIN + "dilation=2\n", OLD, "alexeyab"),
        (PLAIN.replace("leaky", "mish"), OLD, "alexeyab"),
        (PLAIN + "[yolo]\nmax_delta=5\n", OLD, "pjreddie"),
        (PLAIN + "[yolo]\nmax_delta=5\n", None, "alexeyab"),
        (PLAIN + "[rnn]\nhidden=3\n", OLD, "pjreddie"),
    ],
    ids=[
        "nothing speaks",
        "header 0.2.0",
        "header 0.2.5",
        "header 0.1.0",
        "header of vgg-16.weights",
        "section of pjreddie",
        "section of alexeyab",
        "section of yolor behind one of alexeyab",
        "section of yolor, header of alexeyab",
        "option",
        "activation",
        "training option loses to the header",
        "training option alone",
        "option that both write",
    ],
)
def test_dialect_is_chosen(body, header, expected):
    assert choose_dialect(parse_cfg(cfg_text(body)), header).name == expected


def test_there_is_one_object_of_each_dialect():
    for dialect in DIALECTS.values():
        assert pickle.loads(pickle.dumps(dialect)) is dialect
        assert copy.deepcopy(dialect) is dialect


def test_dialect_can_be_named():
    assert named_dialect("pjreddie").name == "pjreddie"
    with pytest.raises(DarkconvError, match="expected auto, pjreddie, alexeyab, yolor, found"):
        named_dialect("opencv")
