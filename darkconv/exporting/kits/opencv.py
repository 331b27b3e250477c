"""The kit for OpenCV: the file, and a short program that finds what `darkconv detect` finds."""

from darkconv.exporting.kits.kit import Filling, Kit

INNER = {
    False: "SIZE",
    True: "np.maximum(1, np.minimum(SIZE, shape * SIZE[::-1] // shape[::-1]))",
}
"""Width and height that a picture takes of the input, without and with a letterbox."""


def fill(kit: Filling) -> None:
    """Write the file, its labels, the program and how to run it."""
    is_letterbox = kit.facts.is_letterbox
    kit.write_model("model.onnx")
    kit.write("labels.txt", kit.facts.labels)
    kit.fill_in("detect.py", inner=INNER[is_letterbox])
    kit.fill_in("README.md", fit="fitted between grey borders" if is_letterbox else "stretched")


KIT = Kit(
    name="opencv",
    what="OpenCV's dnn module",
    fill=fill,
    fixed={"head": "boxes", "layout": "split", "pixels": False, "input": "float32-nchw"},
)
