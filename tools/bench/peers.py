"""Other programs that do what darkconv does, each in a folder of its own below `.bench/peers`.

Those in Python come from PyPI without their dependencies and share the libraries of the interpreter
that runs the benchmarks, so that all are measured on the same PyTorch. The C program is compiled
from Debian's source package.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

PEERS = {
    "darknet2any": ("darknet2any==0.7.6", "easydict"),
    "libreyolo": ("libreyolo==1.6.0",),
    "mnn": ("MNN==3.6.1",),
    "ncnn": ("ncnn==1.0.20261020", "pnnx==20261020"),
    "onnxscript": ("onnxscript==0.7.2",),
    "openvino": ("openvino==2026.4.1",),
    "torch-pruning": ("torch-pruning==1.6.1",),
}
"""Requirements by name; onnxscript is what PyTorch's newer exporter needs."""
C_PROGRAM, C_LIBRARY = "darknet", "libdarknet.so"
"""The original code base; Debian has no package of the fork."""
FOLDER = Path(__file__).resolve().parents[2] / ".bench" / "peers"
APT = Path("/etc/apt")


class PeerError(Exception):
    """A peer that cannot be had on this machine."""


def install(name: str) -> Path:
    """Return the folder of a peer, made at the first use.

    Raises:
        PeerError: it cannot be installed here.
    """
    folder = FOLDER / name
    if not folder.is_dir():
        print(f"installing {name} ...", file=sys.stderr)
        fresh = folder.with_suffix(".part")
        try:
            if name == C_PROGRAM:
                compile_darknet(fresh)
            else:
                pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
                subprocess.run([*pip, "--target", str(fresh), *PEERS[name]], check=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise PeerError(f"{name} cannot be installed here: {error}") from error
        fresh.rename(folder)
    return folder


def compile_darknet(folder: Path) -> None:
    """libdarknet.so in a new folder, with its makefile's own options and OpenMP.

    The machine's lists of packages are left alone: copies of them name the sources.
    """
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "lists" / "partial").mkdir(parents=True)
        for file in (APT / "sources.list", *APT.glob("sources.list.d/*.sources")):
            if file.is_file():
                text = re.sub(r"(?m)^(Types:\s*)?deb\b(?!-)", r"\1deb-src", file.read_text())
                (work / file.name).write_text(text)
        apt = ["apt-get", "--quiet", "--quiet", "-o", f"Dir::State::Lists={work / 'lists'}"]
        apt += ["-o", f"Dir::Etc::SourceList={work / 'sources.list'}"]
        apt += ["-o", f"Dir::Etc::SourceParts={work}"]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, "source", "--download-only", C_PROGRAM], cwd=work, check=True)
        (archive,) = work.glob("*.orig.tar.*")
        with tarfile.open(archive) as opened:
            opened.extractall(work, filter="data")
        source = work / C_PROGRAM
        (source / "obj").mkdir()
        subprocess.run(["make", "--jobs", "OPENMP=1", C_LIBRARY], cwd=source, check=True)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / C_LIBRARY, folder)


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
