"""How much two workers of one thread each gain over one of one thread, on the embedded task; and
what Ray costs beside them.

    python benchmarks/workers.py [--samples 400] [--ray]

Both runs start as processes of their own, so that starting and loading are counted; the ledgers
must agree.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ENGINES = {
    False: (("--workers", "1"), ("--workers", "2")),
    True: (("--workers", "2"), ("--engine", "ray")),
}


def timed(engine: Sequence[str], samples: int, out: Path) -> float:
    """Seconds of one evaluation."""
    command = [
        sys.executable,
        "-m",
        "harness",
        "evaluate",
        "--model",
        "concat",
        "--samples",
        str(samples),
        "--batch-size",
        "32",
    ]
    command += ["--no-trust", *engine, "--out", str(out)]
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.monotonic() - begun


def rows(out: Path) -> list[tuple[object, ...]]:
    """The ledger, in one order."""
    from harness.run.directory import RunDirectory

    table = RunDirectory(str(out)).table("ledger").to_pylist()
    return sorted((row["sample"], row["scenario"], row["strength"], row["witness"]) for row in table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument(
        "--ray", action="store_true", help="two workers against Ray on all cores of this machine, which should be two"
    )
    given = parser.parse_args()
    one, two = ENGINES[given.ray]
    with tempfile.TemporaryDirectory() as folder:
        seconds = [timed(engine, given.samples, Path(folder, str(place))) for place, engine in enumerate((one, two))]
        same = rows(Path(folder, "0")) == rows(Path(folder, "1"))
    agree = "agree" if same else "DIFFER"
    said = ", ".join(f"{' '.join(engine)} {each:.1f} s" for engine, each in zip((one, two), seconds, strict=True))
    print(f"{given.samples} samples: {said}, ratio {seconds[0] / seconds[1]:.2f}; the ledgers {agree}")


if __name__ == "__main__":
    main()
