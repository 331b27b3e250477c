"""Reports of `verify`: which layer goes wrong first, and how far each is off."""

import re

import pytest

from darkconv.report.layer_chart import layer_chart
from darkconv.verification.page import write_layer_report, write_output_report
from networks import network
from pages import BODY, HOSTILE, Checker, layers, outputs


@pytest.fixture
def written(tmp_path):
    """A function that writes a report and reads its page."""

    def write(writer, report):
        writer(tmp_path / "report.html", report)
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
        return (tmp_path / "report.html").read_text()

    return write


def cells(text):
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_layers_are_listed_worst_first_and_the_first_wrong_one_is_marked(written):
    text = written(write_layer_report, layers())
    assert cells(text)[1:] == [
        ["3", "yolo", "inf", "3,584", "wrong", "14x16x16"],
        ["2", "convolutional", "3.0e-02", "3,584", "first wrong", "14x16x16"],
        ["0", "convolutional", "1.0e-07", "3,072", "", "12x16x16"],
        ["1", "convolutional", "0", "2,048", "", "8x16x16"],
    ]
    texts = Checker(text).texts
    assert "PyTorch and ONNX disagree from layer 2 [convolutional] on" in texts
    assert "first wrong: 2 convolutional" in texts
    assert "script" not in text


def test_layers_that_agree_have_no_marks(written):
    text = written(write_layer_report, layers((1e-7, 0.0, 1e-6, 1e-5)))
    assert "PyTorch and ONNX agree on all 4 layers" in text
    assert "first wrong:" not in text
    assert 'class="verdict"' in text


def bars(errors):
    """(class, top, height) of each bar, in percent."""
    chart = layer_chart(network(BODY, shape=(3, 16, 16)).layers, errors, 1e-4)
    found = re.findall(r'<rect class="(\w+)".*? y="(.*?)%".*? height="(.*?)%"', chart)
    return [(kind, float(top), float(height)) for kind, top, height in found]


def test_the_axis_is_logarithmic():
    found = bars((1e-7, 1e-6, 1e-5, 1e-3))
    assert [kind for kind, _, _ in found] == ["kept", "kept", "kept", "wrong"]
    heights = [height for _, _, height in found]
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.02)
    assert heights[3] - heights[2] == pytest.approx(2 * (heights[2] - heights[1]), abs=0.03)


@pytest.mark.parametrize("errors", [(0.0,) * 4, (float("inf"),) * 4, (1e-30, 0, 1e9, 1.0)])
def test_odd_errors_stay_in_the_chart(errors):
    for _, top, height in bars(errors):
        assert 0 <= top <= 100
        assert top + height == pytest.approx(100, abs=0.02)


def test_outputs_of_a_file_are_listed(written):
    text = written(write_output_report, outputs())
    assert HOSTILE not in text
    assert [row[1:] for row in cells(text)[1:]] == [
        ["1.0e-06", "1e-04", "20", ""],
        ["5.0e-01", "1e-02", "1", "wrong"],
    ]
    assert any(
        "net.onnx does not give what test.cfg gives: boxes" in t for t in Checker(text).texts
    )
