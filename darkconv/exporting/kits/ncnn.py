"""The kit for ncnn: what pnnx makes from the ONNX file, with the names of the ONNX file's tensors.

This is the only module of darkconv that starts a program, because pnnx has no other interface. It
starts the program in the installed package pnnx, and no other.
"""

import importlib.util
import os
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.backends.quiet import quiet
from darkconv.errors import DarkconvError, UnsupportedError, Where
from darkconv.exporting.kits.comparing import (
    ALLOWED,
    Values,
    error_of,
    onnxruntime_outputs,
    wrong_numbers,
)
from darkconv.exporting.kits.kit import Filling, Kit
from darkconv.exporting.kits.program import (
    Program,
    how_it_fits,
    what_it_does,
    what_it_prints,
    write_program,
)
from darkconv.files import scratch_folder, write_bytes

HEADS = ("raw", "logits", "boxes")
PARAM, WEIGHTS = "model.param", "model.bin"
SECONDS = 1800
"""Longest time for pnnx; it takes some seconds for yolov4."""
LAST_WORDS = 2
"""Number of the last lines of pnnx that are shown where it fails."""
HEADER = 2
"""Lines of a .param file before its layers: a magic number, and counts."""
SMALL = 0.1
"""Summand of the largest value in errors. On noise all scores of a detector may be near zero,
though their logits, which are rounded, are large."""
FIRST_BLOB = 4
"""Words of a layer's line before its blobs: type, name, and the numbers of inputs and outputs."""
HINTS = {
    "Tensor.reshape": "a [reorg] layer takes six axes, and ncnn has four: --for openvino takes it",
    "Tensor.slice": "a [Gaussian_yolo] head is not decoded in ncnn, --head raw leaves it as it is; "
    "a [shortcut] between layers of different sizes takes steps: --for openvino takes it",
    "Gather": "a head with tree= looks classes up: --for openvino takes it",
}
"""Hints for layers that pnnx leaves and ncnn does not support, by the layer's type."""
PROGRAM = Program(
    library="import ncnn\n",
    load="""
net = ncnn.Net()
net.load_param(str(HERE / "model.param"))
net.load_model(str(HERE / "model.bin"))""",
    run="""
    look = net.create_extractor()
    planes = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1), np.float32) / 255
    look.input("input", ncnn.Mat(planes).clone())
    values = {name: np.array(look.extract(name)[1]) for name in net.output_names()}""",
)


def fill(kit: Filling) -> None:
    """Write the ONNX file, convert it with pnnx, rename the blobs, and compare the result.

    Args:
        kit: folder to fill.

    Raises:
        UnsupportedError: ncnn does not support the network.
        DarkconvError: pnnx fails, or ncnn gives other numbers than onnxruntime.
    """
    path = kit.write_model("model.onnx", without=("fp16",))
    x, expected = _expected(kit, path)
    with scratch_folder() as folder:
        _convert(path, folder, is_half=bool(kit.options.get("fp16")))
        param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
        _check_layers(kit, param)
        found = _run(param, weights, x)
        names, error = pair(found, expected, ALLOWED[bool(kit.options.get("fp16"))])
        kit.write(PARAM, renamed(param.read_text(encoding="utf-8"), {"in0": "input", **names}))
        kit.write(WEIGHTS, weights.read_bytes())
    path.unlink()
    kit.made(PARAM, f"gives what the ONNX file gives in onnxruntime, within {error:.0e}, on noise")
    kit.write("labels.txt", kit.facts.labels)
    _write_readme(kit, expected)


def _write_readme(kit: Filling, expected: Mapping[str, Values]) -> None:
    """Write the program, if there is one for such outputs, and the page about its use."""
    facts = kit.facts
    rows = [("input", (facts.channels, facts.height, facts.width))]
    rows += [(name, values.shape[1:]) for name, values in expected.items()]
    steps, prints, program = "pip install ncnn", "", ""
    if kit.options["head"] == "boxes" and (facts.finds_boxes or facts.is_classifier):
        name = write_program(kit, PROGRAM)
        steps = f"pip install ncnn opencv-python-headless\npython {name} PICTURE..."
        prints = f"\n{what_it_prints(kit)}\n"
        program = f"\n| `{name}` | {what_it_does(kit)} |"
    kit.fill_in(
        "README.md",
        ports="\n".join(f"| `{name}` | {', '.join(map(str, shape))} |" for name, shape in rows),
        output=next(iter(expected)),
        steps=steps,
        prints=prints,
        program=program,
        fit=how_it_fits(kit),
        release=metadata.version("pnnx"),
        half="half precision" if kit.options.get("fp16") else "float32",
    )


def _expected(kit: Filling, path: Path) -> tuple[Values, dict[str, Values]]:
    """Return noise, and the outputs of the ONNX file for it.

    Raises:
        UnsupportedError: the network keeps a state between pictures.
    """
    given, expected = onnxruntime_outputs(path)
    if len(given) > 1:
        raise UnsupportedError(
            "keeps a state between pictures, which files of the kit ncnn do not",
            where=Where(file=kit.model.network.file),
        )
    (x,) = given.values()
    return x, expected


def _convert(path: Path, folder: Path, *, is_half: bool) -> None:
    """Convert an ONNX file with pnnx to model.ncnn.param and model.ncnn.bin in a folder.

    Raises:
        DarkconvError: pnnx fails, takes too long, or cannot be started.
    """
    write_bytes(folder / "model.onnx", [path.read_bytes()])
    command = [str(_program()), "model.onnx", f"fp16={int(is_half)}"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DarkconvError(f"pnnx was not done after {SECONDS} seconds") from error
    except OSError as error:
        raise DarkconvError(f"pnnx cannot be started: {error.strerror or error}") from error
    if done.returncode or not (folder / "model.ncnn.bin").is_file():
        lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line]
        said = " / ".join(line.strip() for line in lines[-LAST_WORDS:])
        raise DarkconvError(f"pnnx failed with exit code {done.returncode}: {said}")


def _program() -> Path:
    """Return the path of the program in the installed package pnnx.

    Raises:
        DarkconvError: the package has no program.
    """
    found = importlib.util.find_spec("pnnx")
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        path = Path(place) / ("pnnx.exe" if os.name == "nt" else "pnnx")
        if path.is_file():
            return path
    raise DarkconvError(
        "the package pnnx that is installed has no program",
        hint="pip install --force-reinstall pnnx",
    )


def _check_layers(kit: Filling, param: Path) -> None:
    """Raise an UnsupportedError for layers that pnnx leaves and ncnn does not support."""
    import ncnn

    lines = param.read_text(encoding="utf-8").splitlines()[HEADER:]
    types = {line.split()[0] for line in lines if line.strip()}
    strange = sorted(one for one in types if ncnn.layer_to_index(one) < 0)
    if strange:
        raise UnsupportedError(
            f"pnnx leaves {', '.join(strange)}, which ncnn does not know",
            where=Where(file=kit.model.network.file),
            hint=next((HINTS[one] for one in strange if one in HINTS), None),
        )


def _run(param: Path, weights: Path, x: Values) -> dict[str, Values]:
    """Return the outputs of a network in ncnn in float32, by the names that pnnx gives.

    Raises:
        DarkconvError: ncnn cannot load or run the network.
    """
    import ncnn

    with quiet():
        return _outputs(ncnn, param, weights, x)


def _outputs(ncnn: Any, param: Path, weights: Path, x: Values) -> dict[str, Values]:
    net = ncnn.Net()
    net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = net.opt.use_bf16_packed = False
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise DarkconvError("ncnn cannot load what pnnx has written")
    look = net.create_extractor()
    look.input(net.input_names()[0], ncnn.Mat(x[0]).clone())
    found = {}
    for name in net.output_names():
        code, value = look.extract(name)
        if code:
            raise DarkconvError(f"ncnn cannot run what pnnx has written: {name} gives {code}")
        found[name] = np.array(value)
    return found


def pair(
    found: Mapping[str, Values], expected: Mapping[str, Values], allowed: float
) -> tuple[dict[str, str], float]:
    """Find the output of ncnn that has the numbers of each output of the ONNX file.

    pnnx numbers the outputs, but not always in the file's order.

    Args:
        found: outputs of ncnn, by pnnx's names, without the batch axis.
        expected: outputs of the ONNX file, by name, with the batch axis.
        allowed: largest difference that is allowed: see `error_of`, with `SMALL`.

    Returns:
        The ONNX file's names by those of pnnx, and the largest difference.

    Raises:
        DarkconvError: an output has no counterpart.
    """
    left, names, errors = dict(found), {}, [0.0]
    for name, values in expected.items():
        alike = {
            one: error_of(other, values[0], SMALL)
            for one, other in left.items()
            if other.shape == values.shape[1:]
        }
        own = min(alike, key=lambda one: alike[one], default=None)
        if own is None or not alike[own] <= allowed:
            off = f"{alike[own]:.1e}" if own else "no output of its shape"
            bound = f"within {allowed:g} of onnxruntime's largest value and {SMALL:g}"
            raise wrong_numbers("ncnn", name, bound, off)
        names[own] = name
        errors.append(alike[own])
        del left[own]
    return names, max(errors)


def renamed(param: str, names: Mapping[str, str]) -> str:
    """Return the text of a .param file with other names of blobs.

    Args:
        param: text of the file.
        names: new names by the old ones.
    """
    lines = param.splitlines()
    return "\n".join([*lines[:HEADER], *(_renamed(line, names) for line in lines[HEADER:])]) + "\n"


def _renamed(line: str, names: Mapping[str, str]) -> str:
    words = line.split()
    if not words:
        return line
    last = FIRST_BLOB + sum(map(int, words[2:FIRST_BLOB]))
    blobs = [names.get(word, word) for word in words[FIRST_BLOB:last]]
    kind, name, *counts = words[:FIRST_BLOB]
    return " ".join([f"{kind:<24} {name:<24}", *counts, *blobs, *words[last:]])


def check(options: Mapping[str, Any]) -> None:
    """Check that ncnn can have the kind of outputs.

    Args:
        options: options of `darkconv.export`, of which `head` counts.

    Raises:
        UnsupportedError: the kind of outputs is not possible.
    """
    head = options.get("head")
    if head is not None and head not in HEADS:
        raise UnsupportedError(
            "head of the kit ncnn",
            expected=", ".join(HEADS),
            found=head,
            hint="ncnn has no layer that suppresses: detect.py does it with --head boxes",
        )


KIT = Kit(
    name="ncnn",
    what="ncnn",
    fill=fill,
    check=check,
    fixed={"layout": "split", "pixels": False, "input": "float32-nchw", "dynamic": "none"},
    usual={"head": "boxes"},
    options=(
        "head", "layout", "pixels", "input", "dynamic", "threshold", "nms", "fold", "resize",
        "fp16", "check",
    ),
    takes_classifiers=True,
    takes_others=True,
    libraries=("onnx", "onnxruntime", "ncnn"),
    programs=("pnnx",),
)  # fmt: skip
