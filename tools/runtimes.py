"""Which runtimes run darkconv's files, and whether with the numbers of onnxruntime: a page.

    python tools/runtimes.py --into runs.jsonl [--runtimes openvino ncnn] [--only yolov4 ...]
    python tools/runtimes.py --page runs.jsonl ... > docs/runtimes.md

The first form runs the networks of cfgs/, with random weights, and the trained models of
../shared/models, and writes a line for each file and runtime; what a file of lines has already is
not run again. The second writes the page of one or more of these. Runtimes are those of
tests/runtimes.py, in environments that are made where they are missing.
"""

import argparse
import contextlib
import functools
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import darkconv as dc  # noqa: E402
from bundled import Bundled  # noqa: E402
from darkconv.detection.engine import make_engine  # noqa: E402
from environments import EnvironmentMissingError, NodeEnvironment  # noqa: E402
from opencv5 import first_inputs, in_order_of  # noqa: E402
from runtimes import RUNTIMES, Running  # noqa: E402
from runtimes_page import page  # noqa: E402
from worker import WorkerError  # noqa: E402

SHARED = ROOT.parent / "shared"
PICTURES = ("dog.jpg", "horses.jpg")
CALIBRATED_WITH = 4
"""Pictures of coco128 by which 8-bit numbers are chosen."""
SMALL = (128, 160, 192, 256, 320)
"""Sizes of pictures for networks that take any: as many operators, and less to compute."""
EXACT, ROUNDED = 1e-4, 3e-2
"""How far a value may be off, as a share of the largest: in float32, and with half precision, where
runtimes round in different places."""
AS_NEAR = 2.0
"""How far 8 bits may be from the float32 file's numbers, as a share of what onnxruntime's are."""


@dataclass(frozen=True)
class Variant:
    """A form of file.

    Attributes:
        options: of `darkconv.export`.
        count: pictures at once.
        bound: see `EXACT` and `AS_NEAR`.
        is_for_all: whether networks with random weights are run in it too.
        smaller: by how many pixels the pictures are smaller than the cfg says.
        is_litert: whether LiteRT files have it too.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    count: int = 1
    bound: float = EXACT
    is_for_all: bool = False
    smaller: int = 0
    is_litert: bool = False


VARIANTS = {
    "raw": Variant({"head": "raw"}, is_for_all=True, is_litert=True),
    "boxes": Variant({"head": "boxes"}, is_for_all=True, is_litert=True),
    "nms": Variant({"head": "nms"}),
    "raw, 2 pictures": Variant({"head": "raw"}, count=2, is_litert=True),
    "boxes, 2 pictures": Variant({"head": "boxes"}, count=2, is_litert=True),
    "nms, 2 pictures": Variant({"head": "nms"}, count=2),
    "raw, fixed batch": Variant({"head": "raw", "dynamic": "none"}),
    "boxes, fixed batch": Variant({"head": "boxes", "dynamic": "none"}),
    "raw, free size": Variant({"head": "raw", "dynamic": "batch,size"}, smaller=64),
    "boxes, free size": Variant({"head": "boxes", "dynamic": "batch,size"}, smaller=64),
    "boxes, opset 17": Variant({"head": "boxes", "opset": 17}),
    "boxes, not folded": Variant({"head": "boxes", "fold": False}),
    "boxes, ultralytics": Variant({"head": "boxes", "layout": "ultralytics"}),
    "raw, fp16": Variant({"head": "raw", "fp16": True}, bound=ROUNDED, is_litert=True),
    "boxes, fp16": Variant({"head": "boxes", "fp16": True}, bound=ROUNDED, is_litert=True),
    "boxes, uint8 in": Variant({"head": "boxes", "input": "uint8-nhwc"}),
    "boxes, int8": Variant({"head": "boxes", "int8": True, "min_agreement": 0}, bound=AS_NEAR),
}
"""By name."""


def main() -> None:
    """Run what was not run yet, or write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--into", type=Path, help="file of lines that grows")
    parser.add_argument("--page", type=Path, nargs="+", help="files of lines; prints the page")
    parser.add_argument("--runtimes", nargs="*", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--only", nargs="*", default=[""], help="networks with these in the name")
    parser.add_argument("--shared", type=Path, default=SHARED)
    options = parser.parse_args()
    if options.page:
        lines = "".join(path.read_text() for path in options.page).splitlines()
        labels = {name: runtime.label for name, runtime in RUNTIMES.items()}
        print(page([json.loads(line) for line in lines], labels, list(VARIANTS)), end="")
    elif options.into:
        logging.disable(logging.WARNING)
        run_all(options)
    else:
        parser.error("--into or --page is needed")


def run_all(options: argparse.Namespace) -> None:
    """Run every network in every runtime that can be had, as the command line says."""
    into, shared = options.into, options.shared
    lines = into.read_text().splitlines() if into.exists() else []
    done = {(one["network"], one["variant"], one["runtime"]) for one in map(json.loads, lines)}
    with (
        contextlib.ExitStack() as stack,
        into.open("a") as results,
        tempfile.TemporaryDirectory() as folder,
    ):
        running = dict(started(options.runtimes, stack))
        for network, load, is_trained in networks(Path(folder), shared):
            if not any(part in network for part in options.only):
                continue
            model, x = load()
            for variant, how in ((name, VARIANTS[name]) for name in options.variants):
                left = [name for name in running if (network, variant, name) not in done]
                if left and (is_trained or how.is_for_all):
                    tried = {name: running[name] for name in left}
                    for found in examine(model, x, how, tried, Path(folder), shared):
                        line = {"network": network, "trained": is_trained, "variant": variant}
                        results.write(json.dumps(line | found) + "\n")
                        results.flush()
                        print(network, variant, *found.values(), flush=True)


def started(names: Sequence[str], stack: contextlib.ExitStack) -> Iterator[tuple[str, Running]]:
    """Runtimes that can be had here; on others a word on standard error."""
    for name in names:
        try:
            yield name, stack.enter_context(Running(name))
        except EnvironmentMissingError as error:
            print(f"{name}: {error}", file=sys.stderr)


def networks(folder: Path, shared: Path) -> Iterator[tuple[str, Any, bool]]:
    """Name of each network, what gives its model and an input, and whether it was trained."""
    for path in sorted((shared / "models").glob("*/*.cfg")):
        yield path.stem, lambda path=path: trained(path, shared), True
    sizes = [(path.stat().st_size, path) for path in (ROOT / "cfgs").glob("*.cfg")]
    for _, path in sorted(sizes):
        yield f"cfgs/{path.stem}", lambda path=path: made_smaller(*Bundled(path, folder)()), False


def trained(cfg: Path, shared: Path) -> tuple[dc.Model, np.ndarray]:
    """Return a model, and two photographs in the form that it takes."""
    model = dc.load(cfg, cfg.with_suffix(".weights"))
    engine = make_engine(model, backend="onnx")
    pictures = (engine.prepare(shared / "data" / "images" / name)[0] for name in PICTURES)
    return model, np.concatenate([*pictures])


def made_smaller(model: dc.Model, x: np.ndarray) -> tuple[dc.Model, np.ndarray]:
    """Return a network of random weights for smaller pictures, where it takes them."""
    for size in SMALL:
        with contextlib.suppress(dc.DarkconvError):
            smaller = model.with_input_size(size, size)
            if size < x.shape[-1]:
                return smaller, np.ascontiguousarray(x[..., :size, :size])
    return model, x


def examine(
    model: dc.Model,
    x: np.ndarray,
    how: Variant,
    running: Mapping[str, Running],
    folder: Path,
    shared: Path,
) -> Iterator[dict[str, Any]]:
    """Return the results of a form of a model in each runtime: `runtime`, `said`, perhaps `off`."""
    for suffix in dict.fromkeys(one.runtime.suffix for one in running.values()):
        chosen = {name: one for name, one in running.items() if one.runtime.suffix == suffix}
        path = folder / f"net{suffix}"
        if suffix != ".onnx" and not how.is_litert:
            continue
        try:
            write(model, path, how, shared)
            inputs, expected = onnxruntime_outputs(model, path, x[: how.count], how, shared)
            whole = float32_outputs(model, path, x[: how.count], how, shared)
        except (dc.DarkconvError, KeyError) as error:
            said = f"not made: {error}".partition("\n")[0].replace(f"{folder}/", "")
            yield from ({"runtime": name, "said": said} for name in chosen)
            continue
        for name, one in chosen.items():
            if one.runtime.most and how.count > one.runtime.most:
                continue
            version = version_of(name)
            try:
                found = one.run(path, inputs, expected)
            except WorkerError as error:
                said = str(error).replace(f"{folder}/", "")
                yield {"runtime": name, "said": f"refused: {said}", "version": version}
                continue
            off = farther(found, expected, whole) if whole else largest_error(found, expected)
            said = "right" if off <= how.bound else "wrong"
            yield {"runtime": name, "said": said, "off": off, "version": version}


def write(model: dc.Model, path: Path, how: Variant, shared: Path) -> None:
    """Write a form of a model.

    Raises:
        DarkconvError: there is no such form of it.
    """
    options = dict(how.options)
    if options.get("int8"):
        pictures = sorted((shared / "data" / "coco128" / "images").rglob("*.jpg"))
        options["calibrate"] = pictures[:CALIBRATED_WITH]
    if path.suffix == ".tflite":
        options.pop("dynamic", None)
    path.unlink(missing_ok=True)
    dc.export(model, path, **options, check=False)


def onnxruntime_outputs(
    model: dc.Model, path: Path, x: np.ndarray, how: Variant, shared: Path
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the expected outputs of a file, and its inputs."""
    import onnxruntime

    onnx = path.with_suffix(".onnx")
    if path.suffix != ".onnx":
        write(model, onnx, how, shared)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    first, *_ = session.get_inputs()
    given = x[..., : x.shape[-2] - how.smaller, : x.shape[-1] - how.smaller] if how.smaller else x
    if "uint8" in first.type:
        given = np.rint(given * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        inputs = {first.name: np.ascontiguousarray(given)}
    else:
        inputs = first_inputs(session, given)
    names = [value.name for value in session.get_outputs()]
    expected = dict(zip(names, session.run(names, inputs), strict=True))
    if path.suffix != ".onnx" and x.ndim == 4:
        inputs = {name: one.transpose(0, 2, 3, 1) for name, one in inputs.items()}
        expected = {n: v.transpose(0, 2, 3, 1) if v.ndim == 4 else v for n, v in expected.items()}
    return inputs, expected


def float32_outputs(
    model: dc.Model, path: Path, x: np.ndarray, how: Variant, shared: Path
) -> dict[str, np.ndarray]:
    """Of an 8-bit file what its float32 form gives; of others nothing."""
    if not how.options.get("int8"):
        return {}
    plain = replace(how, options={"head": how.options["head"]})
    path = path.with_name("float32.onnx")
    write(model, path, plain, shared)
    return onnxruntime_outputs(model, path, x, plain, shared)[1]


def farther(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    whole: Mapping[str, np.ndarray],
) -> float:
    """How far an 8-bit file's outputs are from float32's, as a share of what onnxruntime's are."""

    def distance(outputs: Mapping[str, np.ndarray], name: str) -> float:
        return float(np.linalg.norm((outputs[name] - whole[name]).astype(np.float64)))

    return max(distance(found, name) / distance(expected, name) for name in whole)


def largest_error(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference, as a share of the largest value of an output.

    What suppression left is compared picture by picture, nearly equal scores in any order.
    """
    if "count" in expected:
        counts = [int(count) for count in expected["count"]]
        if found["count"].tolist() != counts:
            return float("inf")
        pairs = []
        for i, count in enumerate(counts):
            one, other = ({n: v[i : i + 1] for n, v in x.items()} for x in (found, expected))
            ordered = in_order_of(one, other)
            pairs += [(ordered[n][:, :count], other[n][:, :count]) for n in other if n != "count"]
    else:
        pairs = [(found[name], values) for name, values in expected.items()]
    return max(error_of(*pair) for pair in pairs)


def error_of(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of an output, as a share of its largest value."""
    if found.shape != expected.shape:
        return float("inf")
    if not expected.size:
        return 0.0
    largest = np.abs(expected.astype(np.float64)).max()
    off = np.abs(found.astype(np.float64) - expected).max() / max(
        largest, np.finfo(np.float32).tiny
    )
    return float("inf") if np.isnan(off) else float(off)


@functools.cache
def version_of(name: str) -> str:
    """Versions of what runs, such as "2026.4.1"."""
    runtime = RUNTIMES[name]
    if runtime.environment is None:
        return " ".join(metadata.version(package) for package in runtime.versioned)
    if isinstance(runtime.environment, NodeEnvironment):
        found = runtime.environment.made() / "node_modules" / name / "package.json"
        return str(json.loads(found.read_text())["version"])
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    command = [runtime.environment.python(), "-c", code, *runtime.versioned]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
