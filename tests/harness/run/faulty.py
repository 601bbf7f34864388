"""The command that the tests of faults run, and its ledger."""

from typing import Any

from harness.run.directory import RunDirectory

COMMAND = [
    "evaluate",
    "--task",
    "mine.py:task",
    "--search",
    "fast",
    "--samples",
    "all",
    "--batch-size",
    "4",
    "--no-trust",
    "--out",
    "run",
]


def rows(out: str = "run") -> list[dict[str, Any]]:
    return sorted(RunDirectory(out).table("ledger").to_pylist(), key=lambda row: (row["sample"], row["scenario"]))
