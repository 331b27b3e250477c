"""Other programs that do what darkconv does, each in a folder of its own below `.bench/peers`.

They come from PyPI without their dependencies and share the libraries of the interpreter that runs
the benchmarks, so that all are measured on the same PyTorch.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

PEERS = {
    "darknet2any": ("darknet2any==0.7.6", "easydict"),
    "libreyolo": ("libreyolo==1.6.0",),
    "onnxscript": ("onnxscript==0.7.2",),
    "torch-pruning": ("torch-pruning==1.6.1",),
}
"""Requirements by name; onnxscript is what PyTorch's newer exporter needs."""
FOLDER = Path(__file__).resolve().parents[2] / ".bench" / "peers"


def install(name: str) -> Path:
    """The folder of a peer, made at the first use.

    Raises:
        subprocess.CalledProcessError: pip cannot install it here.
    """
    folder = FOLDER / name
    if not folder.is_dir():
        print(f"installing {name} ...", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        fresh = folder.with_suffix(".part")
        subprocess.run([*pip, "--target", str(fresh), *PEERS[name]], check=True)
        fresh.rename(folder)
    return folder


def libreyolo_darknet() -> ModuleType:
    """libreyolo's part for Darknet: the whole needs packages that cannot share an environment.

    The packages around it are made without running what they import.
    """
    root = Path(importlib.util.find_spec("libreyolo").origin).parent
    for name, folder in (("libreyolo", root), ("libreyolo.models", root / "models")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    return importlib.import_module("libreyolo.models.darknet")
