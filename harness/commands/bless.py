"""`bless`: write a complete run as one small file, the baseline."""

from __future__ import annotations

from harness.gates import baseline
from harness.run.directory import RunDirectory


def bless(run: str, out: str) -> None:
    """Write the baseline and print what it holds.

    Raises:
        BadInput: the run is not complete, or the file cannot be written.
    """
    frozen = baseline.bless(RunDirectory(run), out)
    doubted = (
        f"; {len(frozen.doubted)} of its worst-case numbers are flagged, and gates on them stay inconclusive"
        if frozen.doubted
        else ""
    )
    print(f"{out} written, {len(frozen.expected)} samples of {', '.join(frozen.models)}{doubted}")
