"""Reading the MODEL of a command, and writing models."""

from pathlib import Path
from typing import Any

import click

from darkconv.cli.params import ModelWords, Output, bundled_cfg
from darkconv.core.model import Model
from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.loading import load, save


def read_model(words: ModelWords, *, needs_weights: bool = True, **options: Any) -> Model:
    """Read a MODEL.

    Args:
        words: as given.
        needs_weights: refuse a cfg alone.
        options: names, dialect, input_size and cutoff, as for `darkconv.load`.
    """
    if words.is_exported:
        return _exported(words.first, **options)
    cfg = words.first if Path(words.first).exists() else bundled_cfg(words.first) or words.first
    if words.weights is None and needs_weights:
        raise WeightsError(
            "no weights given",
            where=Where(file=str(cfg)),
            hint=f"a model is two files: {words.first} NET.weights",
        )
    return load(cfg, words.weights, **options)


def _exported(path: str, *, input_size: tuple[int, int] | None = None, **_: Any) -> Model:
    from darkconv.backends import spoke

    model: Model = spoke("torch").read_safetensors(path)
    return model.with_input_size(*input_size) if input_size else model


def write_model(model: Model, output: Output) -> None:
    """Write a model in the format that the output's suffix says.

    Raises:
        DarkconvError: an unknown suffix.
    """
    if output.weights:
        names = output.path.with_suffix(".names") if model.names else None
        save(model, output.path, output.weights, names=names)
    elif output.suffix in EXPORTERS:
        EXPORTERS[output.suffix](model, output.path)
    else:
        raise DarkconvError(
            f"{output.path}: unknown format",
            expected=f"OUT.cfg OUT.weights, or a name that ends in {', '.join(EXPORTERS)}",
        )


def _write_onnx(model: Model, path: Path) -> None:
    from darkconv.backends import spoke

    spoke("onnx").write_onnx(model, path)


def _write_safetensors(model: Model, path: Path) -> None:
    from darkconv.backends import spoke

    torch = spoke("torch")
    torch.write_safetensors(torch.to_torch(model), path)


def _write_program(model: Model, path: Path) -> None:
    from darkconv.backends import spoke

    torch = spoke("torch")
    torch.write_program(torch.to_torch(model), path)


EXPORTERS = {".onnx": _write_onnx, ".safetensors": _write_safetensors, ".pt2": _write_program}
"""Writers by suffix."""


def require_outputs(outputs: tuple[Output, ...]) -> None:
    """Raise a usage error if nothing is to be written."""
    if not outputs:
        raise click.UsageError("Missing option '-o': the file to write")


def report_written(output: Output) -> None:
    """Say where a result is, with its size."""
    files = [output.path, *([output.weights] if output.weights else [])]
    sizes = ", ".join(f"{file} ({format_size(file.stat().st_size)})" for file in files)
    click.echo(f"wrote {sizes}", err=True)


def format_size(size: float) -> str:
    """Bytes as `1.4 MB`; 1 MB is 10^6 bytes."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
