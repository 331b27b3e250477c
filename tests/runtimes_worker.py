"""Runs files in one runtime; tests/runtimes.py starts it in an environment of its own.

Its argument is the runtime's name. It reads one request per line from standard input and answers
each with one line, both JSON:

    {"file": net.onnx, "inputs": {name: array}, "folder": where files may be written}
    -> {"outputs": [[name, array], ...]}

An array is {"file": raw bytes, "dtype": "float32", "shape": [...]}. What a runtime refuses is
answered by {"error": text}. Names are those that the runtime gives.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

NUMPY = {"float32": np.float32, "uint8": np.uint8, "int32": np.int32, "int64": np.int64}
SUFFIXES = {"float32": "f32", "uint8": "u8"}
"""Of types, in the words of pnnx and tract."""
SECONDS = 300
MNN_CONVERTS = "import sys, MNN, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"
"""Its own command also installs a package that sends off what was converted."""
Arrays = dict[str, np.ndarray]
Outputs = list[tuple[str, np.ndarray]]


class RefusedError(Exception):
    """What a converter said."""


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever runtimes print must not mix with the answers
    run = PROGRAMS[sys.argv[1]]
    for line in sys.stdin:
        request = json.loads(line)
        folder = Path(request["folder"])
        try:
            inputs = {name: read(one) for name, one in request["inputs"].items()}
            answer = {"outputs": write(run(request["file"], inputs, folder), folder)}
        except Exception as error:  # their exceptions have no common base
            answer = {"error": " ".join(str(error).split()) or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)


def read(array: dict) -> np.ndarray:
    """An array of a request."""
    return np.fromfile(array["file"], NUMPY[array["dtype"]]).reshape(array["shape"])


def write(outputs: Outputs, folder: Path) -> list:
    """Arrays for an answer."""
    found = []
    for place, (name, values) in enumerate(outputs):
        path = folder / f"output{place}.bin"
        np.ascontiguousarray(values).tofile(path)
        array = {"file": str(path), "dtype": str(values.dtype), "shape": values.shape}
        found.append((name, array))
    return found


def converted(*command: object) -> None:
    """Run a converter.

    Raises:
        RefusedError: it failed; the text is its last words.
    """
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise RefusedError(f"exit code {done.returncode}: {' / '.join(words[-2:])}")


def by_openvino(file: str, inputs: Arrays, _: Path) -> Outputs:
    """OpenVINO on the CPU, in float32."""
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(inputs)
    names = [one.node.get_friendly_name().removesuffix("/sink_port_0") for one in compiled.outputs]
    return [(name, found[one]) for name, one in zip(names, compiled.outputs, strict=True)]


def by_ncnn(file: str, inputs: Arrays, folder: Path) -> Outputs:
    """Ncnn, of what pnnx makes, with weights in float32; one picture, whose axis is left out."""
    import importlib.util

    import ncnn

    pnnx = Path(importlib.util.find_spec("pnnx").origin).with_name("pnnx")
    (x,) = inputs.values()
    shape = ",".join(map(str, x.shape))
    names = {one: folder / f"net.{one}" for one in ("ncnnparam", "ncnnbin")}
    for path in names.values():
        path.unlink(missing_ok=True)
    places = [f"{name}={path}" for name, path in names.items()]
    places += [f"{kind}={folder / kind}" for kind in ("pnnxparam", "pnnxbin", "pnnxonnx")]
    places += [f"{kind}={folder / kind}.py" for kind in ("pnnxpy", "ncnnpy")]
    converted(pnnx, file, f"inputshape=[{shape}]{SUFFIXES[str(x.dtype)]}", "fp16=0", *places)
    strange = strange_layers(names["ncnnparam"])
    if strange:
        raise RefusedError(f"pnnx leaves {', '.join(strange)}, which ncnn does not know")
    net = ncnn.Net()
    net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = net.opt.use_bf16_packed = False
    if net.load_param(str(names["ncnnparam"])) or net.load_model(str(names["ncnnbin"])):
        raise RefusedError("ncnn cannot load it")
    extractor = net.create_extractor()
    extractor.input(net.input_names()[0], ncnn.Mat(x[0]).clone())
    return [(name, value_of(extractor, name)) for name in net.output_names()]


def strange_layers(param: Path) -> list[str]:
    """Types of layers in a file of ncnn that are of PyTorch or of pnnx, and not ncnn's."""
    types = [line.split()[0] for line in param.read_text().splitlines()[2:] if line.strip()]
    return sorted({one for one in types if "." in one or "::" in one})


def value_of(extractor: object, name: str) -> np.ndarray:
    """An output of ncnn."""
    code, value = extractor.extract(name)
    if code:
        raise RefusedError(f"ncnn gives no {name}: {code}")
    return np.array(value)


def by_mnn(file: str, inputs: Arrays, folder: Path) -> Outputs:
    """MNN in float32, of what its own converter makes."""
    import MNN
    from MNN import expr, nn

    path = folder / "net.mnn"
    path.unlink(missing_ok=True)
    converted(
        sys.executable,
        "-c",
        MNN_CONVERTS,
        "-f",
        "ONNX",
        "--modelFile",
        file,
        "--MNNModel",
        path,
        "--bizCode",
        "test",
    )
    if not path.exists():
        raise RefusedError("mnnconvert writes no file")
    session = MNN.Interpreter(str(path))
    names = [*session.getSessionOutputAll(session.createSession({}))]
    precision = expr._F.PrecisionMode.High
    module = nn.load_module_from_file(str(path), [*inputs], names, precision_mode=precision)
    types = {"float32": expr.float, "uint8": expr.uint8}
    given = [expr.const(x, x.shape, expr.NCHW, types[str(x.dtype)]) for x in inputs.values()]
    found = [expr.convert(one, expr.NCHW) for one in module.onForward(given)]
    if len(found) != len(names):
        raise RefusedError(f"MNN gives {len(found)} of {len(names)} outputs")
    return [(name, np.array(one.read())) for name, one in zip(names, found, strict=True)]


def by_tract(file: str, inputs: Arrays, _: Path) -> Outputs:
    """Tract, the shapes of its inputs set before it optimizes."""
    import tract

    model = tract.onnx().load(file)
    for place in range(model.input_count()):
        x = inputs[model.input_name(place)]
        model.set_input_fact(place, f"{','.join(map(str, x.shape))},{SUFFIXES[str(x.dtype)]}")
    names = [model.output_name(place) for place in range(model.output_count())]
    given = [inputs[model.input_name(place)] for place in range(model.input_count())]
    found = model.into_model().into_runnable().run(given)
    return [(name, one.to_numpy()) for name, one in zip(names, found, strict=True)]


def by_onnxslim(file: str, inputs: Arrays, folder: Path) -> Outputs:
    """Onnxruntime, of what onnxslim makes."""
    import onnxruntime
    import onnxslim

    path = folder / "slim.onnx"
    onnxslim.slim(file, str(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return [*zip(names, session.run(names, inputs), strict=True)]


def by_litert(file: str, inputs: Arrays, _: Path) -> Outputs:
    """LiteRT with XNNPACK, which is its default on the CPU."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(file)
    (x,) = inputs.values()
    (place,) = run.get_input_details()
    run.resize_tensor_input(place["index"], x.shape)
    run.allocate_tensors()
    if not any(one["op_name"] == "DELEGATE" for one in run._get_ops_details()):
        raise RefusedError("XNNPACK takes no part of it")
    run.set_tensor(place["index"], x)
    run.invoke()
    return [(one["name"], run.get_tensor(one["index"])) for one in run.get_output_details()]


PROGRAMS = {
    "openvino": by_openvino,
    "ncnn": by_ncnn,
    "mnn": by_mnn,
    "tract": by_tract,
    "onnxslim": by_onnxslim,
    "litert": by_litert,
}
"""By the name of the runtime."""


if __name__ == "__main__":
    main()
