"""The choice of layers for 8 bits, and whether the file is worth it."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkconv.backends.choices import FULL
from darkconv.backends.exported import ExportedFile
from darkconv.core.model import Model
from darkconv.core.network import Network
from darkconv.layers import conv
from darkconv.loading import open_exported
from darkconv.verification.likeness import Likeness
from darkconv.verification.precision import (
    Counted,
    FilePrecision,
    GraphInputs,
    Progress,
    likeness,
    silent,
    spread,
    time_of,
)

if TYPE_CHECKING:
    from darkconv.backends.onnx.quantization import Quantization

MIN_AGREEMENT = 0.97
"""Default of the least F1 of detections with those of the float32 file."""
FASTER = 0.95
"""Largest ratio of times at which a file counts as faster; a ratio nearer to 1 may be chance."""
JUDGED_BY = 64
"""Largest number of pictures on which agreement is measured while layers are chosen."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on an 8-bit file: whether it is worth it.

    Attributes:
        is_worth: True if it agrees well enough with float32 and with the model, and is faster.
        is_kept: True if the file was written in 8 bits, False if in float32.
        reason: the reason in words.
        agreement: agreement with the float32 file, 0..1.
        wanted: least agreement that was asked for, 0..1.
        float32: labels of layers that stay in float32 for the sake of agreement, the most harmful
            first.
        depthwise: labels of depthwise layers that stay in float32 because they are slower in 8
            bits.
        speedup: time in float32 over time in 8 bits, on this machine.
        shrinkage: bytes in float32 over bytes in 8 bits.
    """

    is_worth: bool
    is_kept: bool
    reason: str
    agreement: float
    wanted: float
    float32: tuple[str, ...]
    depthwise: tuple[str, ...]
    speedup: float
    shrinkage: float

    def lines(self) -> list[str]:
        """Return lines of text about the layers in float32, and the verdict in the last one."""
        told = []
        if self.depthwise:
            told.append(
                f"in float32, where 8 bits are slower here: {len(self.depthwise)} depthwise layers"
            )
        if self.float32:
            told.append(f"in float32, for agreement: {', '.join(self.float32)}")
        return [*told, f"{'worth it' if self.is_worth else 'not worth it'}: {self.reason}"]

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class QuantizationChoice:
    """The layers that stay in float32 besides those that always do, and the resulting file.

    Attributes:
        path: path of the 8-bit file.
        ordered: indices of layers that lower the agreement in 8 bits, the most harmful first.
        depthwise: indices of depthwise layers that are slower in 8 bits.
        is_empty: True if no layer with weights is left in 8 bits.
    """

    path: Path
    ordered: tuple[int, ...]
    depthwise: tuple[int, ...]
    is_empty: bool


def agreement_of(found: Likeness) -> float:
    """Return F1 of detections, or without boxes 1 less the largest relative error of an output.

    Args:
        found: comparison of a file with its float32 form.
    """
    if found.f1 is not None:
        return found.f1
    return max(0.0, 1 - max(found.errors.values(), default=0.0))


def choose_layers(
    model: Model,
    whole: ExportedFile,
    pictures: Sequence[Path],
    how: "Quantization",
    options: Mapping[str, Any],
    folder: Path,
    *,
    wanted: float = MIN_AGREEMENT,
    progress: Progress = silent,
) -> QuantizationChoice:
    """Return the layers that stay in float32 so that an 8-bit file agrees as well as asked for.

    Args:
        model: model to write.
        whole: its float32 file.
        pictures: paths of the pictures for calibration and agreement.
        how: options of quantization.
        options: options of `to_onnx`.
        folder: folder for temporary files, where the 8-bit file stays.
        wanted: least agreement, 0..1; 0 skips the search, and the test of depthwise layers too.
        progress: shows the progress of a step.

    Returns:
        The choice, with the path of the 8-bit file.

    Raises:
        UnsupportedError: the graph has recurrent states, or too old an opset.
        DarkconvError: there are no pictures.
    """
    from darkconv.backends.onnx.quantization import Quantizer, eight_bit_layers

    with progress(len(pictures), "calibrating on pictures") as update:
        inputs = Counted(GraphInputs(whole, pictures), update)
        quantizer = Quantizer(model, inputs, how, **options)
    path = folder / "int8.onnx"

    def written(floats: Collection[int]) -> ExportedFile:
        path.write_bytes(quantizer.build(floats).SerializeToString())
        return open_exported(path)

    def agreement(floats: Collection[int]) -> float:
        with progress(len(judges), "comparing on pictures"):
            return agreement_of(likeness(whole, written(floats), judges))

    some = spread(pictures)
    judges = some[:: -(-len(some) // JUDGED_BY)]
    network = model.network
    weighted = [i for i in sorted(eight_bit_layers(network)) if network.layers[i].slots]
    slower: tuple[int, ...] = ()
    ordered: tuple[int, ...] = ()
    if wanted > 0:
        if how.form == "asymmetric":
            slower = slower_depthwise(network, written)
        if agreement(slower) < wanted:
            left = [index for index in weighted if index not in slower]
            with progress(len(left), "measuring layers") as update:
                cost = {}
                for number, index in enumerate(left, 1):
                    others = set(weighted) - {index}
                    cost[index] = quantizer.error(others) ** 2 / network.layers[index].macs
                    update(number)
            order = sorted(left, key=cost.__getitem__, reverse=True)
            count = fewest(len(order), lambda n: agreement({*slower, *order[:n]}) >= wanted)
            ordered = tuple(order[:count])
    written({*slower, *ordered})
    return QuantizationChoice(path, ordered, slower, len(ordered) + len(slower) == len(weighted))


def slower_depthwise(
    network: Network, written: Callable[[Collection[int]], ExportedFile]
) -> tuple[int, ...]:
    """Return the indices of the depthwise layers if a file is faster with them in float32.

    Args:
        network: network of the model.
        written: writes the 8-bit file whose layers of some indices stay in float32, and opens it.
    """
    depthwise = tuple(
        layer.index
        for layer in network.layers
        if isinstance(layer.spec, conv.Convolutional)
        and layer.spec.group_count == layer.in_shapes[0].c > 1
    )
    if not depthwise:
        return ()
    times = time_of({"all": written(()), "dense": written(depthwise)})
    return depthwise if times["dense"] < FASTER * times["all"] else ()


def fewest(count: int, holds: Callable[[int], bool]) -> int:
    """Return the least number from 1 to count for which a condition holds.

    The condition must hold for every number above one for which it holds. It is assumed to hold for
    count, and not tested there.

    Args:
        count: largest number, 1 or more.
        holds: tests the condition.
    """
    return 1 + bisect_left(range(1, count), True, key=holds)


def judge(
    found: FilePrecision, choice: QuantizationChoice, network: Network, *, wanted: float, form: str
) -> Verdict:
    """Return whether an 8-bit file is worth it.

    Args:
        found: comparison of the file with its float32 form.
        choice: layers that stay in float32.
        network: network of the model.
        wanted: least agreement, 0..1: see `choose_layers`.
        form: form of 8 bits. Time counts only for "asymmetric"; "symmetric" files are for another
            runtime, and "full" ones are kept in any case.
    """
    before, after = found.latency.milliseconds.values()
    agreement = agreement_of(found.likeness)
    speedup, shrinkage = before / after, found.sizes[0] / found.sizes[1]
    is_timed = form == "asymmetric"
    is_faster = after < FASTER * before
    agrees = agreement >= wanted and not found.disagreement
    is_worth = agrees and (is_faster or not is_timed) and not choice.is_empty
    is_kept = wanted == 0 or is_worth or form == FULL
    measure = "F1 of detections" if found.likeness.f1 is not None else "agreement of outputs"
    least = f" (at least {wanted:g} was asked for)" if wanted else ""
    said = f"{measure} {agreement:.3f}{least}"
    if choice.is_empty:
        said = f"agreement of {wanted:g} leaves no layer in 8 bits"
    if found.disagreement:
        said += f", but it {found.disagreement}"
    if is_timed:
        said += f", {speedup:.2f} times as fast as float32"
        if not is_faster:
            said += ", which is no gain here"
    said += f", {shrinkage:.1f} times as small"
    if not is_kept:
        said += ": the file is in float32"
    labels = [network.layers[index].label for index in choice.ordered]
    return Verdict(
        is_worth,
        is_kept,
        said,
        agreement,
        wanted,
        tuple(labels),
        tuple(network.layers[index].label for index in choice.depthwise),
        speedup,
        shrinkage,
    )
