"""The metadata of `.keras` and LiteRT files, as texts by key."""

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
"""Allowed values of the metadata, by key."""
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
    """Return the metadata of a file: the Darknet model, and what its inputs and outputs are.

    Args:
        network: network of the model.
        header: header of the weights file.
        names: class names.
        head: kind of the outputs: see `to_keras`.
        precision: one of `PRECISIONS`.
        resize: how pictures are fitted to the input; None for what the network says.
    """
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
    """Check that metadata are complete, and agree with the outputs of a graph.

    Args:
        text: the metadata.
        network: network that they describe.
        outputs: names of the outputs that are not recurrent state.

    Raises:
        ValueError: a value is missing or not allowed.
    """
    check_choices(text, CHOICES, ("threshold", "nms"))
    expected, found = expected_outputs(network, text["head"]), ", ".join(outputs) or "none"
    if expected and list(outputs) != expected:
        raise ValueError(f"outputs: expected {', '.join(expected)}, found {found}")
    if not expected and len(outputs) != len(network.outputs):
        raise ValueError(f"outputs: expected {len(network.outputs)}, found {found}")


def expected_outputs(network: Network, head: str) -> list[str]:
    """Return the names that a file's outputs must have; none if they are named after layers.

    Args:
        network: network of the file.
        head: kind of the outputs: see `to_keras`.
    """
    has_boxes = network.finds_boxes
    return sorted(box_outputs(network)) if head == "boxes" and has_boxes else []
