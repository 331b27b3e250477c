"""What `.keras` and LiteRT files say of themselves, as text under plain keys."""

from collections.abc import Mapping, Sequence

from darkconv import __version__
from darkconv.backends.exported import check_choices
from darkconv.backends.keras.heads import HEADS
from darkconv.core.model import Header
from darkconv.core.net import RESIZE_MODES
from darkconv.core.network import Network
from darkconv.darknet.description import describe
from darkconv.layers.box_heads import box_outputs
from darkconv.layers.head import nms_settings

INPUT_KIND = "float32-nhwc"
PRECISIONS = ("float32", "float16", "int8")
CHOICES = {
    "head": HEADS,
    "input": (INPUT_KIND,),
    "boxes": ("relative",),
    "precision": PRECISIONS,
    "resize": RESIZE_MODES,
}
"""What the metadata can say."""
THRESHOLD, OVERLAP = 0.25, 0.45


def file_metadata(
    network: Network,
    header: Header,
    names: Sequence[str],
    *,
    head: str,
    precision: str = PRECISIONS[0],
    resize: str | None = None,
) -> dict[str, str]:
    """What a reader needs beside the graph: the Darknet model, and what goes in and comes out."""
    heads = network.box_heads
    kind, beta = nms_settings(heads[-1].spec) if heads else ("sort", 0.6)
    return {
        "darkconv": __version__,
        **describe(network, header, names),
        "input": INPUT_KIND,
        "head": head,
        "boxes": "relative",
        "precision": precision,
        "resize": network.options.resize_mode(resize),
        "threshold": repr(THRESHOLD),
        "nms": repr(OVERLAP),
        "nms_kind": kind,
        "beta_nms": repr(beta),
    }


def check_metadata(text: Mapping[str, str], network: Network, outputs: Sequence[str]) -> None:
    """Check that metadata are whole and go with a graph's outputs.

    Args:
        text: the metadata.
        network: that they describe.
        outputs: names of the outputs that are no state.

    Raises:
        ValueError: a value is missing or impossible.
    """
    check_choices(text, CHOICES, ("threshold", "nms"))
    expected, found = expected_outputs(network, text["head"]), ", ".join(outputs) or "none"
    if expected and list(outputs) != expected:
        raise ValueError(f"outputs: expected {', '.join(expected)}, found {found}")
    if not expected and len(outputs) != len(network.outputs):
        raise ValueError(f"outputs: expected {len(network.outputs)}, found {found}")


def expected_outputs(network: Network, head: str) -> list[str]:
    """Names of a file's outputs; none where they are those of Keras's layers."""
    has_boxes = network.finds_boxes
    return sorted(box_outputs(network)) if head == "boxes" and has_boxes else []
