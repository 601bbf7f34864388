"""Law 10: killing a run at any moment and starting it again gives the ledger of an uninterrupted run."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.rundir import RunDirectory

COMMAND = [sys.executable, "-m", "harness", "evaluate", "--model", "concat", "--samples", "20", "--batch-size", "4", "--out"]


def ledger(out: str) -> list[dict[str, Any]]:
    return sorted(RunDirectory(out).table("ledger").to_pylist(), key=lambda row: (row["sample"], row["scenario"]))


@pytest.mark.parametrize("parts", [1, 3])
def test_resumed_equals_uninterrupted(elsewhere: Path, parts: int) -> None:
    process = subprocess.Popen([*COMMAND, "killed"], stdout=subprocess.DEVNULL)
    while len(list(elsewhere.glob("killed/ledger/*.parquet"))) < parts and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    (elsewhere / "killed" / "samples" / "orphan.parquet").write_bytes(b"a part whose cell never finished")
    subprocess.run([*COMMAND[:-1], "--batch-size", "8", "--out", "killed"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*COMMAND, "whole"], check=True, stdout=subprocess.DEVNULL)
    assert ledger("killed") == ledger("whole")
    assert RunDirectory("killed").table("samples").num_rows == 20
