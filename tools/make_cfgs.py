"""Write the bundled networks, cfgs/*.cfg, from their architectures.

`python tools/make_cfgs.py` writes every file; `--check` writes none, names those that differ
from what it would write, and exits with 1 if there are any. Published files are not copied:
each network is described in tools/architectures by its layers and training figures.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from architectures import classifiers, enet, yolo_v1_v2, yolo_v3, yolo_v4, yolo_v7
from architectures.writer import Cfg

CFGS = Path(__file__).resolve().parent.parent / "cfgs"

NETWORKS: Mapping[str, Callable[[], Cfg]] = {
    **classifiers.NETWORKS,
    **yolo_v1_v2.NETWORKS,
    **yolo_v3.NETWORKS,
    **yolo_v4.NETWORKS,
    **yolo_v7.NETWORKS,
    **enet.NETWORKS,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; gives the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    parser.add_argument("--folder", type=Path, default=CFGS, help="where the files are")
    options = parser.parse_args(arguments)
    wanted = {f"{name}.cfg": build().text().encode("ascii") for name, build in NETWORKS.items()}
    if options.check:
        return _check(options.folder, wanted)
    for name, data in wanted.items():
        (options.folder / name).write_bytes(data)
    return 0


def _check(folder: Path, wanted: dict[str, bytes]) -> int:
    found = {path.name: path.read_bytes() for path in folder.glob("*.cfg")}
    stale = [name for name in sorted(found | wanted) if found.get(name) != wanted.get(name)]
    for name in stale:
        reason = "missing" if name not in found else "differs" if name in wanted else "unknown"
        print(f"{folder / name}: {reason}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
