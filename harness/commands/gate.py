"""`gate`: the verdicts of a run for a gates file."""

from __future__ import annotations

from rich.console import Console

from harness.gates.file import read_gates
from harness.gates.gating import judge_and_keep
from harness.gates.outputs import printed, write
from harness.run.directory import RunDirectory


def gate(
    run: str, gates: str, baseline: str | None, files: dict[str, str | None], suggest: bool, console: Console
) -> int:
    """Judge every gate, keep the verdicts beside the run, and print them.

    Args:
        files: where the verdicts are also written, by format; None for nowhere.

    Returns:
        the exit code: 0 all gates pass, 3 one fails, 4 one is inconclusive, unless the gates file
            sets others.

    Raises:
        BadInput: a file cannot be read or written, or does not fit the run.
    """
    found = judge_and_keep(RunDirectory(run), read_gates(gates), gates, baseline)
    write(found, files)
    console.print(printed(found, suggest))
    return found.code
