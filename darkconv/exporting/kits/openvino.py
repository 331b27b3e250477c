"""The kit for OpenVINO: its intermediate representation, made by its own converter."""

from pathlib import Path
from typing import Any

from darkconv.exporting.kits.comparing import ALLOWED, error_of, onnxruntime_outputs, wrong_numbers
from darkconv.exporting.kits.kit import Filling, Kit


def fill(kit: Filling) -> None:
    """Write the ONNX file, convert it, and compare the two.

    Args:
        kit: folder to fill.

    Raises:
        DarkconvError: OpenVINO gives other numbers than onnxruntime.
    """
    import openvino

    path = kit.write_model("model.onnx")
    network = openvino.convert_model(path)
    openvino.save_model(network, kit.folder / "model.xml", compress_to_fp16=False)
    if _is_comparable(kit):
        error = _compare(path, kit.folder / "model.xml", ALLOWED[bool(kit.options.get("fp16"))])
        checked = f"gives what the ONNX file gives in onnxruntime, within {error:.0e}, on noise"
    else:
        checked = "not compared: OpenVINO rounds in its own way, and its ONNX file was run alone"
    path.unlink()
    kit.made("model.xml", checked)
    kit.write("labels.txt", kit.facts.labels)
    ports = [f"| `{port.any_name}` | {port.partial_shape} |" for port in _ports(network)]
    given = network.inputs[0]
    shape = [1 if axis.is_dynamic else axis.get_length() for axis in given.partial_shape]
    kit.fill_in(
        "README.md",
        ports="\n".join(ports),
        release=openvino.__version__.partition("-")[0],
        sample=f"np.zeros({tuple(shape)}, np.{given.element_type.to_dtype().name})",
    )


def _is_comparable(kit: Filling) -> bool:
    """Return False where a value that is rounded differently may change which boxes are kept."""
    options = kit.options
    return not (options.get("int8") or (options.get("fp16") and options["head"] == "nms"))


def _compare(path: Path, converted: Path, allowed: float) -> float:
    """Return the largest difference of outputs on noise: see `error_of`.

    Raises:
        DarkconvError: it is larger than allowed.
    """
    import openvino

    inputs, expected = onnxruntime_outputs(path)
    compiled = openvino.Core().compile_model(
        converted, "CPU", {"INFERENCE_PRECISION_HINT": openvino.Type.f32}
    )
    found = compiled(inputs)
    errors = {name: error_of(found[name], values) for name, values in expected.items()}
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= allowed:
        bound = f"within {allowed:g} of the largest value of onnxruntime"
        raise wrong_numbers("OpenVINO", worst, bound, f"{errors[worst]:.1e}")
    return errors[worst]


def _ports(network: Any) -> list[Any]:
    return [*network.inputs, *network.outputs]


KIT = Kit(
    name="openvino",
    what="OpenVINO",
    fill=fill,
    usual={"head": "boxes"},
    fixed={"nms_op": "onnx"},
    takes_classifiers=True,
    takes_others=True,
    channels=(1, 2, 3, 4),
    libraries=("onnx", "onnxruntime", "openvino"),
)
