"""Define the options of `darkconv convert` for half precision and 8 bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from darkconv.console.options import options_as
from darkconv.console.values import SHARE
from darkconv.core.model import Model
from darkconv.loading.formats import LITERT_SUFFIX
from darkconv.options.params import OutputFiles, Word
from darkconv.options.pictures import KINDS, PictureOptions, open_pictures

OF_ONNX = ("calibration", "reduce_range", "int8_form", "min_agreement")
OUTSIDE = ("external", "in_place")  # options of files whose weights lie in another file


@dataclass(frozen=True, kw_only=True)
class PrecisionArguments:
    """The values of the options for half precision and 8 bits.

    Attributes:
        fp16: True for half precision.
        int8: True for 8 bits.
        calibrate: sources of the pictures for calibration, which chooses the ranges of 8 bits.
        calibration: method of calibration; None for the default.
        reduce_range: True for weights in 7 bits.
        int8_form, min_agreement: see `darkconv.export`.
        data: sources of labelled pictures for AP.
        as_json: True to print the comparison as JSON.
    """

    fp16: bool
    int8: bool
    calibrate: tuple[str, ...]
    calibration: str | None
    reduce_range: bool
    int8_form: str | None
    min_agreement: float | None
    data: tuple[str, ...]
    as_json: bool

    def __post_init__(self) -> None:
        """Check that the options go together."""
        if self.fp16 and self.int8:
            raise click.UsageError("--fp16 and --int8 are two kinds of file: choose one")
        if self.int8 and not self.calibrate:
            raise click.UsageError("--int8 needs --calibrate: pictures such as it will see")
        for name in ("calibrate", *OF_ONNX):
            if self._has(name) and not self.int8:
                raise click.UsageError(f"--{name.replace('_', '-')} is about --int8")
        for name, is_given in (("--data", self.data), ("--json", self.as_json)):
            if is_given and not self.kind:
                raise click.UsageError(f"{name} is about --fp16 and --int8")

    def _has(self, name: str) -> bool:
        value = getattr(self, name)
        return bool(value) or (value is not False and isinstance(value, float))

    @property
    def kind(self) -> tuple[str, ...]:
        """Return the option that says the precision; empty where there is none."""
        return ("fp16",) * self.fp16 + ("int8",) * self.int8

    def check_formats(self, outputs: Sequence[OutputFiles]) -> None:
        """Check that the formats of the outputs support the options.

        Args:
            outputs: the outputs of the command.

        Raises:
            UsageError: an option is about ONNX files, and a LiteRT file is written.
        """
        for name in set(OF_ONNX) - {"int8_form"}:
            if self._has(name) and any(one.suffix == LITERT_SUFFIX for one in outputs):
                raise click.UsageError(f"--{name.replace('_', '-')} is about .onnx files")

    def check(self, onnx_options: Mapping[str, Any]) -> None:
        """Check that the options of ONNX files go with 8 bits.

        Args:
            onnx_options: options of ONNX files that the user gave, by name.

        Raises:
            UsageError: one of them and --int8 exclude each other.
        """
        for name in ("fold", *OUTSIDE):
            if self.int8 and name in onnx_options:
                option = "no-fold" if name == "fold" else name.replace("_", "-")
                raise click.UsageError(f"--int8 and --{option} exclude each other")

    def options(self, model: Model, pictures: PictureOptions) -> dict[str, Any]:
        """Return the arguments of `darkconv.export`, with the data sets opened.

        Args:
            model: the model that is written.
            pictures: the choice of pictures.
        """
        given: dict[str, Any] = dict.fromkeys(self.kind, True)
        if self.data:
            given["data"] = open_pictures(self.data, pictures, model=model)
        if self.int8 and model.network.input_shape.is_map:
            own = replace(pictures, rename=None) if self.data else pictures
            given["calibrate"] = open_pictures(self.calibrate, own, model=model, uses_labels=False)
        elif self.int8:
            given["calibrate"] = self.calibrate
        return given | {name: getattr(self, name) for name in OF_ONNX if self._has(name)}


reduction_options = options_as(
    "reduction",
    PrecisionArguments,
    click.option(
        "--fp16",
        is_flag=True,
        help="Half precision, except in heads, decoding, inputs and outputs.",
    ),
    click.option(
        "--int8", is_flag=True, help="8 bits, except in heads and decoding; needs --calibrate."
    ),
    click.option(
        "--calibrate",
        multiple=True,
        type=Word(),
        metavar="D",
        help=f"For --int8: pictures like those that the network will see: {KINDS}.",
    ),
    click.option(
        "--calibration",
        type=click.Choice(["mse", "percentile", "minmax", "entropy"]),
        help="For --int8: how the ranges of values are chosen  [default: the one of the first "
        "three with the smallest error]",
    ),
    click.option(
        "--reduce-range",
        is_flag=True,
        help="For --int8: weights of 7 bits, for x86 CPUs without VNNI, on which 8 overflow.",
    ),
    click.option(
        "--int8-form",
        type=click.Choice(["asymmetric", "symmetric", "full"]),
        help="For --int8: asymmetric or symmetric activations (TensorRT reads symmetric ones); for "
        ".tflite also full: 8 bits from input to output, with --head logits  [default: asymmetric]",
    ),
    click.option(
        "--min-agreement",
        type=SHARE,
        help="For --int8: lowest F1 of the detections with those of float32; layers that cost "
        "too much of it stay in float32  [default: 0.97]",
    ),
    click.option(
        "--data",
        multiple=True,
        type=Word(),
        metavar="D",
        help="For --fp16 and --int8: labelled pictures, to measure AP before and after.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON."),
    title="Half precision and 8 bits",
)
"""--fp16, --int8 and their options; the command gets them as `reduction`."""
