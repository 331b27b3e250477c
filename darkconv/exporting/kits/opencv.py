"""The kit for OpenCV: the ONNX file, and a short program with the results of `darkconv detect`."""

from darkconv.exporting.kits.kit import Filling, Kit
from darkconv.exporting.kits.program import (
    Program,
    how_it_fits,
    what_it_does,
    what_it_prints,
    write_program,
)

PROGRAM = Program(
    load="""
net = cv2.dnn.readNetFromONNX(str(HERE / "model.onnx"))""",
    run="""
    net.setInput(cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True))
    outputs = net.getUnconnectedOutLayersNames()
    values = {name: value[0] for name, value in zip(outputs, net.forward(outputs))}""",
)
OUTPUTS = {
    True: "outputs `boxes` (N, boxes, 4), corners in 0..1, and `scores` (N, boxes, {classes})",
    False: "output `probabilities` (N, {classes})",
}
"""Description of the outputs, for a detector and for a classifier."""


def fill(kit: Filling) -> None:
    """Write the ONNX file, its labels, the program, and a page that tells how to run it.

    Args:
        kit: folder to fill.
    """
    facts = kit.facts
    kit.write_model("model.onnx")
    kit.write("labels.txt", facts.labels)
    kit.fill_in(
        "README.md",
        program=write_program(kit, PROGRAM),
        does=what_it_does(kit),
        prints=what_it_prints(kit),
        fit=how_it_fits(kit),
        moved=", which moves boxes by a few of them" if facts.finds_boxes else "",
        outputs=OUTPUTS[facts.finds_boxes].format(classes=len(facts.names)),
        alike="compare its boxes with\n  those of `darkconv detect`"
        if facts.finds_boxes
        else "compare its scores\n  with those of `darkconv eval`",
    )


KIT = Kit(
    name="opencv",
    what="OpenCV's dnn module",
    fill=fill,
    fixed={"head": "boxes", "layout": "split", "pixels": False, "input": "float32-nchw"},
    takes_classifiers=True,
)
