"""Processes of torchrun that share jobs, one after the other."""

import subprocess
import sys

import pytest

JOBS = 12
SCRIPT = f"""
import os, sys, time
from pathlib import Path
from darkconv.core.processes import working_together

rank = int(os.environ["RANK"])
for job in range({JOBS}):
    time.sleep(0.05 * (rank != job % 2))
    with working_together() as processes:
        assert processes.rank == rank
        assert processes.gather((job, rank)) == [(job, 0), (job, 1)]
Path(sys.argv[1], f"done{{rank}}").touch()
"""


@pytest.mark.slow
def test_processes_share_one_job_after_the_other_whichever_comes_first(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "script.py").write_text(SCRIPT)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [tmp_path / "script.py", tmp_path]
    told = subprocess.run([*run, *words], capture_output=True, text=True, check=False)
    assert [(tmp_path / f"done{rank}").exists() for rank in range(2)] == [True] * 2, told.stderr
