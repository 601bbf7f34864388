"""A run that is killed takes its workers with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.harness.engine.executors.linear_run import COMMAND

SLOW = """
import os
import time
from pathlib import Path
import mine
class Slow(mine.Linear):
    def forward(self, inputs, present=None):
        Path("pids", str(os.getpid())).touch()
        time.sleep(0.05)
        return super().forward(inputs, present)
def build(task): return Slow()
"""
SECONDS = 10.0


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_run_that_started_them(here: Path, number: int) -> None:
    (here / "slow.py").write_text(SLOW)
    (here / "pids").mkdir()
    command = [sys.executable, "-m", "harness", *COMMAND, "--model", "slow.py:build", "--workers", "2", "--out", "run"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(pids := [int(path.name) for path in (here / "pids").iterdir() if int(path.name) != process.pid]) < 2:
            assert process.poll() is None, "the run ended before its workers began"
            time.sleep(0.05)
        os.kill(process.pid, number)
        process.wait()
    begun = time.monotonic()
    while any(map(alive, pids)):
        assert time.monotonic() - begun < SECONDS, f"{pids} outlive their parent"
        time.sleep(0.05)
