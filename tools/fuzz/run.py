"""Fuzz what reads untrusted files: `python tools/fuzz/run.py cfg --seconds 600`.

The environment with atheris, `.venv-fuzz`, is made at the first run. Inputs that reached new
code are kept in `.fuzz/<harness>/corpus` for the next run, those that failed in
`.fuzz/<harness>/failed`; give one of these to see it fail again.
"""

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from environments import Environment, EnvironmentMissingError  # noqa: E402

HARNESSES = ("cfg", "weights", "labels", "exported")
ENVIRONMENT = Environment("fuzz", ("atheris==3.0.0", "numpy", "pillow"))
MEMORY_MB = 1500
SECONDS_FOR_ONE = 10
LONGEST = 32_768  # bytes of an input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("harness", choices=HARNESSES)
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("inputs", nargs="*", type=Path, help="only read these, as they are")
    asked = parser.parse_args()
    try:
        python = ENVIRONMENT.python()
    except EnvironmentMissingError as error:
        sys.exit(str(error))
    place = ROOT / ".fuzz" / asked.harness
    failed = place / "failed"
    for folder in (place / "corpus", failed):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(failed.iterdir())
    options = [
        f"-max_total_time={asked.seconds}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={SECONDS_FOR_ONE}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={failed}/",
        "-print_final_stats=1",
    ]
    given = asked.inputs or [place / "corpus"]
    (place / "counts").write_text("nothing")
    script = FOLDER / f"{asked.harness}.py"
    ended = subprocess.run([python, script, place, *options, *given])
    inputs = len(list((place / "corpus").iterdir()))
    print(f"{asked.harness}: {(place / 'counts').read_text()}, {inputs:,} inputs in the corpus")
    for path in sorted(set(failed.iterdir()) - before):
        print(f"{path.relative_to(ROOT)}: {path.read_bytes()[:500]!r}")
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
