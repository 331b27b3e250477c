"""What notebooks show of a model and of a profile; the view of a graph."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.assets import digits10_folder, load_digits10
from darkconv.cli import main
from darkconv.files.sizes import format_size
from darkconv.surgery.profile import BINS, LayerStatistics, Profile


class Cells(HTMLParser):
    """The texts of each row of a table."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows:
            self.rows[-1][-1] += data


def profile():
    layers = {
        4: LayerStatistics(
            count=10,
            mean=np.array([1.0, 3.0, 2.0]),
            deviations=np.array([10.0, 10.0, 0.0]),
            histogram=np.ones((3, BINS), np.int64),
        )
    }
    return Profile("fingerprint", 5, layers)


def test_a_model_shows_what_it_is():
    lines = repr(load_digits10()).splitlines()
    assert lines[0].startswith("Model of ")
    assert lines[0].endswith("digits10.cfg")
    assert [line.strip() for line in lines[1:]] == [
        "19 layers, 158,045 parameters, 58.6 M MACs",
        "input 3x160x160, alexeyab dialect",
        "layer 18 [yolo]: 10 classes (zero, one, two, three, ...)",
    ]


def test_a_notebook_shows_the_table_of_layers():
    text = load_digits10()._repr_html_()
    header, *rows = Cells(text).rows
    assert header == [
        *("layer", "type", "filters", "window", "from"),
        *("input", "output", "parameters", "MACs"),
    ]
    assert len(rows) == 19
    assert rows[0] == [
        *("0", "convolutional", "16", "3x3/2", ""),
        *("3x160x160", "16x80x80", "496", "2.76 M"),
    ]
    assert "<p>19 layers, 158,045 parameters" in text


def test_what_a_model_and_a_data_set_consist_of_shows_itself_in_one_line():
    network = load_digits10().network
    assert repr(network).endswith("digits10.cfg: 19 layers, input 3x160x160, alexeyab dialect>")
    assert repr(network.config).endswith("digits10.cfg: 20 sections>")
    assert repr(network.layers[0]) == "<Layer 0 [convolutional]: 3x160x160 -> 16x80x80>"
    (route,) = [layer for layer in network.layers if layer.type == "route"]
    assert repr(route) == f"<Layer {route.index} [route]: 48x20x20 and 64x20x20 -> 112x20x20>"
    assert repr(network.layers[18].section) == "<Section [yolo], line 150>"
    sample = dc.open_dataset(digits10_folder() / "digits10.data").samples[11]
    assert repr(sample).endswith("011.jpg: zero, five, nine, six>")
    empty = type(sample).of(Path("empty.jpg"))
    assert repr(empty) == "<Sample empty.jpg: no boxes>"


def test_a_plan_shows_itself_in_one_line():
    plan = dc.plan(load_digits10(), score="l1", keep=0.5)
    assert repr(plan) == "PrunePlan: 256 of 512 channels of 10 layers go, score l1, keep=0.5"


def test_a_profile_shows_its_layers():
    assert repr(profile()) == "Profile of 5 pictures, 1 layers, 3 channels"
    header, row = Cells(profile()._repr_html_()).rows
    assert header == ["layer", "channels", "constant", "mean", "deviation", "nll0"]
    assert row == ["4", "3", "1", "2", "0.667", "-inf to 9"]


RESULTS = (
    *("Anchors", "Dataset", "Detections", "Dissection", "Evaluation", "Exported", "Finetuned"),
    *("Frame", "GraftResult", "Model", "Profile", "PrunePlan", "Verification"),
)


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_shows_itself(name):
    kind = getattr(dc, name)
    assert kind.__repr__ is not object.__repr__
    assert callable(kind._repr_html_)


def test_results_show_themselves_whatever_has_been_imported():
    script = (
        "from darkconv.assets import load_digits10\n"
        "from darkconv.surgery.graft import graft\n"
        "from darkconv.surgery.plan import plan\n"
        "model = load_digits10()\n"
        "for one in (model, plan(model, score='l1', keep=0.5), graft(model, model)):\n"
        "    print(repr(one).split()[0], one._repr_html_().count('<table>'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["Model 1", "PrunePlan: 1", "taken: 1"]


def test_what_was_found_is_shown_in_its_picture():
    frame = next(iter(dc.Detector(load_digits10()).stream(digits10_folder() / "images")))
    text = frame._repr_html_()
    assert '<img src="data:image/jpeg;base64,' in text
    header, *rows = Cells(text).rows
    assert header == ["class", "score", "x0", "y0", "x1", "y1"]
    assert [row[0] for row in rows] == frame.found.names
    assert frame.to_dict()["detections"] == frame.found.to_dict()["detections"]


def test_a_file_that_was_written_shows_how_it_was_checked(tmp_path):
    pytest.importorskip("onnxruntime")
    written = dc.export(load_digits10(), tmp_path / "net.onnx")
    size = format_size(written.size)
    assert repr(written) == f"<Exported net.onnx: {size}; run once in onnxruntime>"
    assert Cells(written._repr_html_()).rows == [["file"], [str(tmp_path / "net.onnx")]]


def test_text_of_a_cfg_is_no_html(tmp_path):
    cfg = (digits10_folder() / "digits10.cfg").read_text()
    (tmp_path / "<b>.cfg").write_text(cfg)
    (tmp_path / "x.names").write_text("<i>\n" + "\n".join("abcdefghi"))
    model = dc.load(tmp_path / "<b>.cfg", names=tmp_path / "x.names")
    assert "<i>" not in model._repr_html_()
    assert "&lt;i&gt;" in model._repr_html_()


def test_a_graph_is_viewed(monkeypatch):
    pytest.importorskip("onnx")
    seen = []

    def start(path, address):
        assert address == ("localhost", None)
        seen.append(Path(path).read_bytes())
        return "localhost", 8080

    monkeypatch.setitem(sys.modules, "netron", SimpleNamespace(start=start, wait=lambda: None))
    cfg, weights = (str(digits10_folder() / f"digits10.{suffix}") for suffix in ("cfg", "weights"))
    result = CliRunner().invoke(main, ["info", cfg, weights, "--view"])
    assert result.exit_code == 0, result.output
    assert b"000_convolutional" in seen[0]
    assert result.stderr == "http://localhost:8080 shows it; Ctrl-C ends that\n"


def test_netron_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "netron", None)
    result = CliRunner().invoke(main, ["info", "yolov3-tiny", "--view"])
    assert result.exit_code == 1
    assert "pip install 'darkconv[view]'" in result.stderr
    assert CliRunner().invoke(main, ["info", "yolov3", "--view", "--json"]).exit_code == 2
