"""`gate`: a run is checked against a gates file, and keeps the verdicts."""

from __future__ import annotations

from harness.gates.baseline import evidence_at
from harness.gates.decide import decide
from harness.gates.evidence import Evidence
from harness.gates.file import GatesFile
from harness.gates.outputs import Report
from harness.run.directory import RunDirectory


def judge(directory: RunDirectory, file: GatesFile, url: str, baseline: str | None) -> Report:
    """Decide every gate of a file that lies at `url`.

    Raises:
        BadInput: there is no run, or the gates do not fit it.
    """
    against = None if baseline is None else evidence_at(baseline)
    return Report(url, file, decide(file.gates, Evidence.of_run(directory), against))


def judge_and_keep(directory: RunDirectory, file: GatesFile, url: str, baseline: str | None) -> Report:
    """The same, and write the verdicts into the run directory.

    Raises:
        BadInput: there is no run, the gates do not fit it, or the verdicts cannot be written.
    """
    report = judge(directory, file, url, baseline)
    directory.notes.write_gates([verdict.as_row() for verdict in report.verdicts])
    return report
