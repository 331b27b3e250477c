"""--device: where a command computes."""

import re
from typing import Any

import click

_NAME = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)


class DeviceType(click.ParamType):  # type: ignore[type-arg]
    """`auto`, `cpu`, `cuda` or `cuda:1`; whether it is there is seen when it is used."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        if not _NAME.fullmatch(str(value)):
            self.fail(f"{value!r} is not auto, cpu, cuda or a GPU such as cuda:1", param, ctx)
        return str(value)


device_option = click.option(
    "--device",
    type=DeviceType(),
    default="auto",
    show_default=True,
    metavar="cpu|cuda|cuda:N",
    help="Where to run; auto is the GPU where PyTorch finds one.",
)
