"""`compare`: what changed between two runs on the same samples."""

from __future__ import annotations

from rich.console import Console

from harness.gates import compare as comparison
from harness.gates.baseline import evidence_at


def compare(a: str, b: str, console: Console) -> None:
    """Print the paired differences from A to B with their intervals.

    Raises:
        BadInput: one cannot be read, or the samples differ.
    """
    console.print(comparison.printed(comparison.compare(evidence_at(a), evidence_at(b))))
