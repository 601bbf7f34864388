"""`evaluate`: the main job, from a configuration to a filled run directory."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console

from attacks.errors import BadInput
from attacks.expectation import STORED
from harness.attributions import attribute, key_of
from harness.cell import Parts, failed_rows
from harness.config import Evaluation
from harness.engines import check_engine, outcomes
from harness.environment import choose_device, device_name, git_commit, versions
from harness.gates.baseline import evidence_at
from harness.gates.decide import FAILED as GATE_FAILED
from harness.gates.file import GatesFile, read_gates
from harness.gates.gating import judge_and_keep
from harness.gates.outputs import printed as verdicts
from harness.neighbourhood import load_all
from harness.plan import Cell, Work, cells, halved, prepare
from harness.progress import Reporter, reporting
from harness.rundir import RunDirectory
from harness.summary import printed, summarise
from harness.sweep import mask_hash
from harness.tasks.dataroot import use
from harness.trust import check_run

COMPLETE, STOPPED, RUNNING, FAILED = "complete", "stopped", "running", "finished with errors"


def evaluate(config: Evaluation, console: Console) -> int:
    """Run or resume an evaluation and print its summary.

    Returns:
        the exit code: 0 done (or cleanly stopped by the budget), 5 some cells are errors; with gates 3 where one
        failed, and else, where no cell is an error, what they say.

    Raises:
        BadInput: before any work is done, whatever cannot be used.
    """
    deadline = time.monotonic() + config.budget if config.budget else None
    check_engine(config)
    gates = _gates(config)
    device = choose_device(config.device)
    use(config.data_root)
    task, models = load_all(config, device)
    work = prepare(config, task, models)
    directory = RunDirectory(config.out or f"runs/{task.name}-{work.run}")
    description = describe(work, device)
    directory.start(description)
    try:
        code = _carry_out(work, directory, description, device, deadline, console)
        return code if gates is None else _gated(config, gates, directory, console, code)
    finally:
        directory.release()


def _carry_out(
    work: Work, directory: RunDirectory, description: dict[str, Any], device: torch.device, deadline: float | None, console: Console
) -> int:
    """Do what is left of a run, and print its summary; 0, or 5 where cells are errors."""
    config = work.config
    directory.forget_failures()
    left = cells(work, directory.done())
    total = sum(len(cell.rows) for cell in left) * work.scenario_count
    console.print(f"run {work.run} in {directory.url}: {len(left)} cells to do", highlight=False, soft_wrap=True, markup=False)
    with reporting(console, "evaluate", total) as reporter:
        status = _Runner(work, directory, device, deadline, reporter).run(left)
    if config.trust and status != STOPPED:
        directory.note_trust(check_run(work, device, directory.table("ledger").to_pylist()))
    if config.attributions and status != STOPPED:
        _attribute(work, directory, device, console)
    directory.note({**description, "status": status, "masks": mask_hash(directory.table("sweep"))})
    console.print(printed(summarise(directory)))
    return 5 if status == FAILED else 0


def _gates(config: Evaluation) -> GatesFile | None:
    """Read before any work, as is the baseline: what cannot be used is said at once."""
    if config.gates is None:
        if config.baseline is not None:
            raise BadInput(f"--baseline {config.baseline} is for gates: name a file of them with --gates")
        return None
    if config.baseline is not None:
        evidence_at(config.baseline)
    return read_gates(config.gates)


def _gated(config: Evaluation, gates: GatesFile, directory: RunDirectory, console: Console, code: int) -> int:
    report = judge_and_keep(directory, gates, str(config.gates), config.baseline)
    console.print()
    console.print(verdicts(report, suggest=False))
    return report.code if report.code == GATE_FAILED else code or report.code


def _attribute(work: Work, directory: RunDirectory, device: torch.device, console: Console) -> None:
    ledger = directory.table("ledger").to_pylist()
    with reporting(console, "attributions", len(work.models)) as reporter:
        for model in work.models:
            directory.add_attributions(key_of(model), attribute(work, model, ledger, device))
            reporter.advance(1, f"models, {model.name}")


@dataclass(eq=False)
class _Runner:
    work: Work
    directory: RunDirectory
    device: torch.device
    deadline: float | None
    reporter: Reporter
    gradients: int = field(default=0)
    failed: bool = field(default=False)

    def run(self, left: list[Cell]) -> str:
        """Do the cells; a crash costs its own cell only, and a cell too large for the device is halved."""
        waiting = deque(left)
        for cell, outcome in outcomes(self.work, waiting, self.device, self._progress, self.deadline):
            if isinstance(outcome, Parts):
                self.directory.add(cell.key, outcome)
            elif outcome.time:
                return STOPPED
            elif outcome.memory and len(cell.rows) > 1:
                waiting.extendleft(reversed(halved(self.work, cell)))
            else:
                self.failed = True
                self.directory.add_failure(cell.key, failed_rows(self.work, cell), outcome.traceback)
        return FAILED if self.failed else COMPLETE

    def _progress(self, samples: int, gradients: int) -> None:
        self.gradients += gradients
        self.reporter.advance(samples, f"sample-scenarios, {self.gradients:,} gradient evaluations")


def remarks(work: Work) -> list[str]:
    """What to say of attacks whose numbers mean something else than the reader may think."""
    balls = sorted({ball for scenario in work.requested for ball in scenario.attacked})
    texts = [ball for ball in balls if ball.has_norm and work.task.modality(ball.modality).kind == "text"]
    drawn = [str(ball) for ball in balls if not ball.has_norm and ball.edit.draws]
    shared = [str(ball) for ball in balls if not ball.has_norm and ball.edit.shared]
    said = [f"{ball} is a relaxation, it mixes tokens as no text can: an upper bound on weakness" for ball in texts]
    said += [f"{', '.join(drawn)}: a sample fails when it fails in at least half of {STORED} stored draws"] if drawn else []
    said += [f"{', '.join(shared)}: made for each batch of samples, other samples beside it give another patch"] if shared else []
    return said


def describe(work: Work, device: torch.device) -> dict[str, Any]:
    """What `run.json` says of a run that begins."""
    return {
        "run": work.run,
        "status": RUNNING,
        "identity": work.identity,
        "config": work.config.model_dump(mode="json"),
        "modalities": list(work.task.names),
        "note": "; ".join(note for note in (work.task.note, *remarks(work)) if note),
        "device": device_name(device),
        "versions": versions(),
        "git_commit": git_commit(),
        "command": sys.argv[1:],
    }
