"""The kit for browsers: one page that runs the model in onnxruntime-web, with its files."""

import base64
import html
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from darkconv.errors import DarkconvError
from darkconv.exporting.kits.kit import OF_ONNX, Filling, Kit
from darkconv.exporting.kits.program import how_it_fits

SCRIPT = "ort.wasm.min.js"
LOADER = "ort-wasm-simd-threaded.mjs"
PROGRAM = "ort-wasm-simd-threaded.wasm"
PLACES = ("", "dist", "onnxruntime-web/dist", "node_modules/onnxruntime-web/dist")
"""Places of the files below the folder that the user gives."""
FETCHED = "darkconv fetch onnxruntime-web -o DIR brings them; so does npm install onnxruntime-web"
PIECE = 3 << 20
"""Bytes in one line of a script, a multiple of 3, so that base64 has no padding inside."""
LARGEST = 32 * PIECE
"""Bytes in one script, since browsers do not read very long scripts."""


def fill(kit: Filling) -> None:
    """Write the page, and everything that it runs as scripts, which a page may load from files.

    Args:
        kit: folder to fill.

    Raises:
        DarkconvError: the files of onnxruntime-web are not found.
    """
    facts, runtime = kit.facts, find_runtime(kit.options.get("ort_web"))
    path = kit.write_model("model.onnx")
    models = _write_scripts(kit, "model", path.read_bytes())
    path.unlink()
    kit.made(models[0])
    kit.write(SCRIPT, (runtime / SCRIPT).read_bytes())
    parts = [*_write_scripts(kit, "loader", (runtime / LOADER).read_bytes())]
    parts += _write_scripts(kit, "program", (runtime / PROGRAM).read_bytes())
    told = {
        "width": facts.width,
        "height": facts.height,
        "letterbox": facts.is_letterbox,
        "names": facts.readable_names,
        "hidden": sorted(facts.hidden),
        "nms": facts.nms,
        "finds": facts.finds_boxes,
    }
    scripts = "\n".join(f'<script src="{name}"></script>' for name in (SCRIPT, *parts, *models))
    kit.fill_in(
        "index.html",
        title=html.escape(facts.name),
        told=json.dumps(told).replace("<", "\\u003c"),
        scripts=scripts,
    )
    kit.fill_in("LICENSE-onnxruntime.txt", files=", ".join((SCRIPT, *parts)))
    kit.fill_in(
        "README.md",
        models=", ".join(f"`{name}`" for name in models),
        parts=", ".join(f"`{name}`" for name in parts),
        release=_version(runtime),
        fit=how_it_fits(kit),
        **_words(kit),
    )


def _words(kit: Filling) -> dict[str, str]:
    """Return what the kit's page says of a detector, or of a classifier."""
    if not kit.facts.finds_boxes:
        return {
            "drawn": "the best classes are listed below",
            "does": "lists the five classes with the highest scores",
            "alike": "scores with those of the model",
        }
    return {
        "drawn": "boxes are drawn in the picture",
        "does": f"finds scores above {kit.facts.threshold:g} and suppresses at an overlap of "
        f"{kit.facts.nms:g}",
        "alike": "boxes with those of `darkconv detect`",
    }


def find_runtime(folder: Path | str | None) -> Path:
    """Return the folder with onnxruntime-web's files.

    Args:
        folder: folder that the user gave: that of the npm package, that of its files, or one in
            which the package is installed; None if none was given.

    Raises:
        DarkconvError: the files are not there.
    """
    if folder is None:
        raise DarkconvError(
            "the kit browser needs onnxruntime-web's files: --ort-web DIR (in Python ort_web=)",
            hint=FETCHED,
        )
    names = (SCRIPT, LOADER, PROGRAM)
    for place in PLACES:
        if all((Path(folder) / place / name).is_file() for name in names):
            return Path(folder) / place
    raise DarkconvError(
        f"{folder}: has no files of onnxruntime-web",
        expected=", ".join(names),
        hint=FETCHED,
    )


def _write_scripts(kit: Filling, name: str, content: bytes) -> list[str]:
    """Write bytes as scripts that pass them to the page, and return the scripts' names."""
    parts = [content[at : at + LARGEST] for at in range(0, len(content), LARGEST)]
    names = [f"{name}.js" if i == 0 else f"{name}-{i}.js" for i in range(len(parts))]
    for script, part in zip(names, parts, strict=True):
        kit.write(script, "".join(_lines(name, part)))
    return names


def _lines(name: str, content: bytes) -> Iterator[str]:
    for at in range(0, len(content), PIECE):
        text = base64.b64encode(content[at : at + PIECE]).decode()
        yield f'kit.add("{name}", "{text}");\n'


def _version(runtime: Path) -> str:
    try:
        text = (runtime.parent / "package.json").read_text(encoding="utf-8")
        return f"onnxruntime-web {json.loads(text)['version']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "onnxruntime-web"


def check(options: Mapping[str, Any]) -> None:
    """Check that the files of onnxruntime-web are there.

    Args:
        options: options of `darkconv.export`, of which `ort_web` counts.

    Raises:
        DarkconvError: the files are not there.
    """
    find_runtime(options.get("ort_web"))


KIT = Kit(
    name="browser",
    what="the page",
    fill=fill,
    check=check,
    fixed={
        "head": "boxes",
        "layout": "split",
        "pixels": False,
        "input": "float32-nchw",
        "dynamic": "none",
    },
    options=(*OF_ONNX, "ort_web"),
    takes_classifiers=True,
)
