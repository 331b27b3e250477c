"""Reports that several tests look at, and a reader of their pages."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

import darkconv as dc
from darkconv.dataset import Dataset, Sample
from darkconv.demo.page import DemoReport, Stage
from darkconv.detection import Detection
from darkconv.dissection.page import DissectionReport, Measured, Seen
from darkconv.evaluation.classification import classification
from darkconv.evaluation.classifiers import figures_of
from darkconv.evaluation.comparison import Comparison
from darkconv.evaluation.figures import ClassFigures
from darkconv.evaluation.matching import VOC
from darkconv.evaluation.result import BoxEvaluation, ClassEvaluation
from darkconv.surgery.channels import find_classes
from darkconv.surgery.importance import score_classes
from darkconv.verification.agreement import Agreement
from darkconv.verification.results import FileVerification, LayerVerification
from networks import network, random_model
from plans import unguarded_plan

BODY = """[convolutional]
filters=12
size=3
pad=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=1
activation=leaky

[convolutional]
filters=14
size=1
activation=linear

[yolo]
classes=2
num=2
anchors=5,5, 9,9
"""
HOSTILE = '<script>alert("x")</script>&'
LONG = "a_class_whose_name_is_longer_than_a_telephone_is_wide_and_has_no_space"
VOID = {"meta", "img", "br", "path"}


class Checker(HTMLParser):
    """Follows the tags of a page, and collects texts and references."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.references += [value for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def picture(folder):
    """A file with a name that must be escaped."""
    path = folder / "a & <b>.png"
    levels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(levels).save(path)
    return path


def dissection(folder):
    """Of a small network, of which half is cut."""
    model = random_model(network(BODY, shape=(3, 16, 16)), names=("cat", HOSTILE))
    stream = np.random.default_rng(0)
    pictures = [stream.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(3)]
    profile = dc.profile(model, pictures)
    plan = unguarded_plan(model, profile, keep=0.5)
    classes = find_classes(model.network)
    scores = score_classes(classes, model, "nll0", profile=profile)
    return DissectionReport(
        original=model,
        cut=model,
        final=dc.prune(model, plan),
        profile=profile,
        plan=plan,
        score="nll0",
        scores={i: scores[classes.of(i)] for i in (0, 1)},
        measured=(Measured(1000, 2.0), Measured(600, 1.5)),
        conditions="median",
        pictures=[Seen(picture(folder), [Detection(1, HOSTILE, 0.5, (1, 1, 9, 9))], [])],
        threshold=0.25,
    )


def layers(errors=(1e-7, 0.0, 3e-2, float("inf"))):
    """The same network, and how far its layers are off."""
    net = network(BODY, shape=(3, 16, 16))
    pairs = zip(net.layers, errors, strict=True)
    rows = [Agreement(layer.type, error, 1e-4, layer.out_shape.size) for layer, error in pairs]
    given = "seeded noise at 3x16x16"
    return LayerVerification(rows, given, network=net, frameworks=("PyTorch", "ONNX"))


def outputs():
    """Of a file, one of them wrong."""
    found = [Agreement(HOSTILE, 1e-6, 1e-4, 20), Agreement(f"boxes of {LONG}", 0.5, 0.01, 1)]
    net = network(BODY, shape=(3, 16, 16))
    notes = (f"compared with {HOSTILE}",)
    given = "seeded noise at 3x16x16"
    return FileVerification(found, given, notes, network=net, file="folder/net.onnx")


def evaluation(folder, *, left_out=(), unread=()):
    """Two pictures: in one a right box, one too many and one missed, in the other nothing."""
    path = picture(folder)
    names = ("cat", HOSTILE, LONG)
    boxes = np.array([(1, 1, 9, 9), (8, 8, 15, 15), (2, 9, 6, 14)], np.float64)
    labelled = Sample(path, boxes, names, np.zeros(3, bool))
    dataset = Dataset((labelled, Sample.of(path)), names, "photos")
    found = [
        Detection(0, "cat", 0.9, (1, 1, 9, 9)),
        Detection(2, LONG, 0.8, (8, 8, 15, 15)),
        Detection(0, "cat", 0.1, (2, 9, 6, 14)),
    ]
    comparison = Comparison.of([found, []], dataset, names, VOC)
    figures, mean = comparison.figures(0.25)
    return BoxEvaluation(
        model="net",
        source="photos",
        classes=figures,
        mean=mean,
        pictures=tuple(sample.image for sample in dataset.samples),
        unread=tuple(unread),
        left_out=tuple(left_out),
        seconds={"reading": 0.001, "network": 0.002, "decoding": 0.001},
        runner="PyTorch",
        rule="voc",
        at=0.25,
        found=[found, []],
        comparison=comparison,
    )


def classes():
    """Of a classifier that is right in one of two pictures."""
    names = ("cat", HOSTILE)
    result = classification([[0.9, 0.1], [0.8, 0.2]], [0, 1])
    return ClassEvaluation(
        model="net",
        source="photos",
        classes=tuple(figures_of(result, names)),
        mean=ClassFigures(name="mean", pictures=2, top1=0.5, top5=1.0),
        pictures=(Path("a.png"), Path("b.png")),
        seconds={"reading": 0.0005, "network": 0.0005},
        runner="PyTorch",
        names=names,
        counts=result,
    )


def demo(report):
    """The demo's page of the models and pictures of a dissection."""
    stages = [
        Stage(name, model, 123_456, 3.14, 0.92, 0.987)
        for name, model in (("digits10", report.original), ("recovered", report.final))
    ]
    checks = ["PyTorch and ONNX agree on all 19 layers", "back to .weights: equal byte for byte"]
    files = [("digits10.safetensors", 639_000), ("before-and-after.png", 1_250_000)]
    return DemoReport(stages, "median of 30 runs", checks, report.pictures, files, 42.0)
