"""How much two workers of one thread each gain over one of one thread, on the embedded task.

    python benchmarks/workers.py [--samples 400]

Both runs start as processes of their own, so that starting and loading are counted; the ledgers must agree.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(workers: int, samples: int, out: Path) -> float:
    """Seconds of one evaluation."""
    command = [sys.executable, "-m", "harness", "evaluate", "--model", "concat", "--samples", str(samples), "--batch-size", "32"]
    command += ["--no-trust", "--workers", str(workers), "--out", str(out)]
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.monotonic() - begun


def rows(out: Path) -> list[tuple[object, ...]]:
    """The ledger, in one order."""
    from harness.rundir import RunDirectory

    table = RunDirectory(str(out)).table("ledger").to_pylist()
    return sorted((row["sample"], row["scenario"], row["strength"], row["witness"]) for row in table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=400)
    samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as folder:
        one, two = (timed(workers, samples, Path(folder, str(workers))) for workers in (1, 2))
        same = rows(Path(folder, "1")) == rows(Path(folder, "2"))
    agree = "agree" if same else "DIFFER"
    print(f"{samples} samples: one worker {one:.1f} s, two workers {two:.1f} s, ratio {one / two:.2f}; the ledgers {agree}")


if __name__ == "__main__":
    main()
