"""8 bits that pay: which layers stay in float32, and whether the file is worth having."""

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
"""F1 of detections with those of the float32 file."""
FASTER = 0.95
"""A share of the time that is no chance: what takes more is not called faster."""
JUDGED_BY = 64
"""Pictures on which agreement is measured while layers are chosen, at most."""


@dataclass(frozen=True)
class Verdict:
    """Whether an 8-bit file is worth having.

    Attributes:
        is_worth: it agrees with float32 as well as was asked for and with the model, and is
            faster.
        is_kept: the file was written in 8 bits; otherwise in float32.
        reason: in words.
        agreement: with the float32 file, 0..1.
        wanted: the least agreement that was asked for.
        float32: layers that stay in float32 so that it holds, in the order in which they cost
            agreement.
        depthwise: depthwise layers that stay in float32 because 8 bits are slower there.
        speedup: float32's time over that of 8 bits, on this machine.
        shrinkage: float32's bytes over those of 8 bits.
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
        """Return what is said of the layers, and the verdict last."""
        told = []
        if self.depthwise:
            told.append(
                f"in float32, where 8 bits are slower here: {len(self.depthwise)} depthwise layers"
            )
        if self.float32:
            told.append(f"in float32, for agreement: {', '.join(self.float32)}")
        return [*told, f"{'worth it' if self.is_worth else 'not worth it'}: {self.reason}"]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """Which layers stay in float32 beside those that always do, and the file that follows.

    Attributes:
        path: of the 8-bit file.
        ordered: layers that cost agreement, in the order of what they cost.
        depthwise: layers that are slower in 8 bits.
        is_empty: no layer with weights is left in 8 bits.
    """

    path: Path
    ordered: tuple[int, ...]
    depthwise: tuple[int, ...]
    is_empty: bool


def agreement_of(found: Likeness) -> float:
    """Return F1 of detections, or where there are none 1 less the largest error of an output."""
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
) -> Choice:
    """Make an 8-bit file that agrees with float32 as well as is wanted.

    Args:
        model: what to write.
        whole: its float32 file.
        pictures: by which 8-bit numbers are chosen and agreement is measured.
        how: the numbers are chosen.
        options: of `to_onnx`.
        folder: for files.
        wanted: least agreement; 0 leaves out the search, and what is slower too.
        progress: shows how far a step is.
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
    return Choice(path, ordered, slower, len(ordered) + len(slower) == len(weighted))


def slower_depthwise(
    network: Network, written: Callable[[Collection[int]], ExportedFile]
) -> tuple[int, ...]:
    """Return the depthwise layers if a file is faster with them in float32."""
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
    """Return the least number from 1 to count for which something holds that holds for more.

    For count itself it is taken to hold.
    """
    return 1 + bisect_left(range(1, count), True, key=holds)


def judge(
    found: FilePrecision, choice: Choice, network: Network, *, wanted: float, form: str
) -> Verdict:
    """Return whether an 8-bit file is worth having.

    Args:
        found: how it compares with its float32 form.
        choice: of layers.
        network: of the model.
        wanted: see `choose_layers`.
        form: of the activations; of symmetric ones, which are another runtime's, time says
            nothing, nor of full files, which are in 8 bits whatever they cost.
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
    said = f"{measure} {agreement:.3f}" + (f" of {wanted:g} asked for" if wanted else "")
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
