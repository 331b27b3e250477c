"""Define the options of commands that find boxes, and open what they run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from darkconv.backends.choices import RUNTIMES
from darkconv.console.options import titled
from darkconv.console.values import SHARE, DeviceType, batch_option
from darkconv.loading.exported import said_resize
from darkconv.options.models import read_exported, read_model
from darkconv.options.params import F, ModelWords

if TYPE_CHECKING:
    from darkconv.detection.engine import Engine
PROVIDERS = ("tensorrt", "openvino", "coreml", "directml")
"""Other devices that onnxruntime may run on."""
RUNNING_NAMES = ("device", "threads", "runtime")
"""Those of the parameters of `running_options` that say how a file is opened."""

detection_options = titled(
    "Detection",
    click.option(
        "--nms",
        type=SHARE,
        help="Overlap that counts as the same  [default: 0.45, or what an ONNX file says]",
    ),
    click.option(
        "--nms-kind",
        type=click.Choice(["sort", "obj", "greedynms", "diounms", "cornersnms"]),
        help="Kind of suppression  [default: the cfg's]",
    ),
    click.option(
        "--resize",
        type=click.Choice(["stretch", "letterbox"]),
        help="How pictures are fitted  [default: as an exported file says, or else the dialect "
        "and letter_box=]",
    ),
    click.option(
        "--backend",
        type=click.Choice(["torch", "onnx", "keras"]),
        help="What runs a model; ONNX and LiteRT files run by themselves  [default: torch]",
    ),
    click.option(
        "--exact/--no-exact",
        default=None,
        help="JPEG files with the levels of a Darknet without OpenCV, or with those of "
        "libjpeg, which is ten times as quick and up to 3 of 255 levels off  "
        "[default: no exact]",
    ),
)
"""Options of finding boxes, by the names of `darkconv.Detector`."""


def running_options(*, batch: int) -> Callable[[F], F]:
    """Return the options of running a network; `batch` is the default batch size.

    Args:
        batch: default batch size.
    """
    return titled(
        "Running",
        click.option(
            "--device",
            type=DeviceType(*PROVIDERS),
            default="auto",
            show_default=True,
            metavar="cpu|cuda|cuda:N",
            help="Where to run; auto is the GPU where there is one. ONNX files also run on "
            f"{', '.join(PROVIDERS)}.",
        ),
        batch_option(batch),
        click.option(
            "--threads",
            type=click.IntRange(1),
            help="Threads that compute on the CPU  [default: one for each processor]",
        ),
        click.option(
            "--runtime",
            type=click.Choice(RUNTIMES),
            help="What runs an ONNX file, or a model as one; bf16 moves scores a little  "
            "[default: onnxruntime for ONNX files]",
        ),
    )


def open_engine(words: ModelWords, options: dict[str, Any], reading: dict[str, Any]) -> "Engine":
    """Make the engine that finds objects with MODEL.

    Args:
        words: MODEL.
        options: options of `make_engine`; None for their defaults.
        reading: options of reading the model.
    """
    from darkconv.detection.engine import make_engine

    check_runs_itself(words, options.get("backend"))
    if words.is_runnable:
        running = {name: options[name] for name in RUNNING_NAMES}
        return make_engine(read_exported(words, **reading, **running), **options)
    model = read_model(words, **reading)
    return make_engine(
        model, **{**options, "resize": options["resize"] or said_resize(words.first)}
    )


def check_runs_itself(words: ModelWords, backend: str | None) -> None:
    """Raise a usage error for a backend of a file that runs by itself.

    Args:
        words: MODEL.
        backend: value of --backend; None if it is not given.

    Raises:
        UsageError: a backend is given, and MODEL is an exported file.
    """
    if words.is_runnable and backend:
        raise click.UsageError(f"--backend is about models: {words.first} runs by itself")
