"""Cfgs that no network can be built from, and odd ones that work."""

import pytest

from bad.catalogue import Accepted, Refused, check

NET = "[net]\nwidth=16\nheight=16\nchannels=3\n"


def cfg(text):
    """A rule that writes net.cfg."""
    return lambda folder: (folder / "net.cfg").write_text(NET + text)


CASES = [
    Refused(
        "unknown section",
        "convert net.cfg net.weights -o out.onnx",
        "net.cfg:5: layer 0 [convolutionel]: expected a Darknet layer type, found [convolutionel]\n"
        "  hint: did you mean [convolutional]?",
        cfg("[convolutionel]\nfilters=8\n"),
    ),
    Accepted(
        "an option that nobody reads",
        "info net.cfg",
        "warning: net.cfg:7: layer 0 [convolutional] colour: unknown option, ignored\n",
        cfg("[convolutional]\nfilters=8\ncolour=red\n"),
        stdout="1 layers",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case, folder):
    check(case, folder)
