"""The kit for Core ML: an .mlpackage that coremltools makes from an exported PyTorch program."""

import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from darkconv.backends import spoke
from darkconv.backends.quiet import quiet
from darkconv.core.model import Model
from darkconv.errors import DarkconvError, Where
from darkconv.exporting.kits.kit import Filling, Kit
from darkconv.exporting.writing import Exported

INPUT = "image"
PACKAGE = "model.mlpackage"
DEBUGGING = "executorch_debug_handle_mapping.json"
"""File that coremltools adds for a debugger of ExecuTorch; the package does not list it."""


def fill(kit: Filling) -> None:
    """Convert the model's program, check the outputs of the result, and write the package.

    Args:
        kit: folder to fill.

    Raises:
        DarkconvError: coremltools gave other outputs than the model has.
    """
    with quiet():
        converted = _convert(kit)
    outputs = _outputs(converted)
    expected = names_of_outputs(kit.model)
    if list(outputs) != expected:
        raise DarkconvError(
            "coremltools gives other outputs",
            where=Where(file=str(kit.place)),
            expected=", ".join(expected),
            found=", ".join(outputs),
        )
    _save(converted, kit.folder / PACKAGE)
    manifest = kit.folder / PACKAGE / "Manifest.json"
    kit.written = Exported(
        (manifest,), 0, "converted, not run: Core ML is on Apple's systems alone"
    )
    kit.write("labels.txt", kit.facts.labels)
    rows = [f"| `{name}` | {', '.join(map(str, shape))} |" for name, shape in outputs.items()]
    kit.fill_in(
        "README.md",
        ports="\n".join(rows),
        fit="scaleFit" if kit.facts.is_letterbox else "scaleFill",
        release=converted.user_defined_metadata["com.github.apple.coremltools.version"],
    )


def names_of_outputs(model: Model) -> list[str]:
    """Return the outputs' names, which must begin with a letter in Core ML: `head_082_yolo`.

    Args:
        model: model that the kit is made for.
    """
    network = model.network
    return [f"head_{network.layers[index].label}" for index in network.outputs]


def _convert(kit: Filling) -> Any:
    """Return the model as coremltools holds it; it takes a picture of 8-bit levels."""
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools
    import torch

    shape = (1, kit.facts.channels, kit.facts.height, kit.facts.width)
    module = spoke("torch").to_torch(kit.model)
    with torch.no_grad():
        program = torch.export.export(module, (torch.zeros(shape),)).run_decompositions({})
    layout = coremltools.colorlayout.RGB if shape[1] == 3 else coremltools.colorlayout.GRAYSCALE
    precision = coremltools.precision
    return coremltools.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS15,
        compute_precision=precision.FLOAT16 if kit.options.get("fp16") else precision.FLOAT32,
        inputs=[coremltools.ImageType(INPUT, shape=shape, scale=1 / 255, color_layout=layout)],
        outputs=[coremltools.TensorType(name) for name in names_of_outputs(kit.model)],
        skip_model_load=True,
    )


def _outputs(converted: Any) -> dict[str, list[int]]:
    """Return the shapes of the outputs, by name."""
    told = converted.get_spec().description.output
    return {one.name: list(one.type.multiArrayType.shape) for one in told}


def _save(converted: Any, path: Path) -> None:
    """Write the package, and remove the temporary folder of coremltools."""
    with quiet():
        converted.save(str(path))
    (path / DEBUGGING).unlink(missing_ok=True)
    with suppress(AttributeError, OSError):
        shutil.rmtree(converted.package_path)


KIT = Kit(
    name="coreml",
    what="Core ML",
    fill=fill,
    fixed={"head": "raw"},
    options=("head", "resize", "fp16"),
    takes_classifiers=True,
    takes_others=True,
    channels=(1, 3),
    libraries=("torch", "coremltools"),
)
