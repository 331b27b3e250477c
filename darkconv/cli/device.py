"""--device: where a command computes."""

import re
from typing import Any

import click

_NAME = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)


PROVIDERS = ("tensorrt", "openvino", "coreml", "directml")
"""What else onnxruntime may compute with."""


class DeviceType(click.ParamType):  # type: ignore[type-arg]
    """`auto`, `cpu`, `cuda` or `cuda:1`; whether it is there is seen when it is used."""

    name = "device"

    def __init__(self, *more: str) -> None:
        """Take other names, too."""
        self._more = more

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        name = str(value)
        if not _NAME.fullmatch(name) and name.partition(":")[0] not in self._more:
            others = "".join(f", {one}" for one in self._more)
            self.fail(
                f"{value!r} is not auto, cpu{others}, cuda or a GPU such as cuda:1", param, ctx
            )
        return name


device_option = click.option(
    "--device",
    type=DeviceType(),
    default="auto",
    show_default=True,
    metavar="cpu|cuda|cuda:N",
    help="Where to run; auto is the GPU where PyTorch finds one.",
)
