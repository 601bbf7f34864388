"""`evaluate`: the main job, from a configuration to a filled run directory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from rich.console import Console

from attacks.errors import BadInput
from harness.commands.finish import finish
from harness.engine.cell import failed_rows
from harness.engine.environment import choose_device
from harness.engine.executors import check_engine, outcomes
from harness.engine.model_checks import check_models
from harness.engine.plan import Cell, Work, cells, halved, load_all, prepare
from harness.engine.progress import Reporter, reporting
from harness.engine.resuming import default_directory, taken_up
from harness.engine.standing import Standing, changed_since, describe, standing
from harness.engine.weights import with_task
from harness.gates.baseline import evidence_at
from harness.gates.decide import FAILED as GATE_FAILED
from harness.gates.file import GatesFile, read_gates
from harness.gates.gating import judge_and_keep
from harness.gates.outputs import printed as verdicts
from harness.references.userfile import stand_for
from harness.run.config import Evaluation
from harness.run.description import Description
from harness.run.directory import RunDirectory
from harness.run.flags import joined
from harness.run.schema import Parts
from harness.run.status import CHANGED, COMPLETE, FAILED, STOPPED, of_shard
from harness.tasks.files.dataroot import use
from harness.trust.examiner import of_models


def evaluate(config: Evaluation, console: Console) -> int:
    """Run or resume an evaluation and print its summary.

    Returns:
        the exit code: 0 done (or cleanly stopped by the budget), 5 some cells are errors. With
            gates: 3 where one failed, and otherwise, if no cell is an error, the code of the gates.

    Raises:
        BadInput: an option cannot be used. It is raised before any work is done.
    """
    deadline = time.monotonic() + config.budget if config.budget else None
    check_engine(config)
    stand_for({})  # forget the code that an earlier command of this process allowed
    gates = _gates(config)
    device = choose_device(config.device)
    use(config.data_root)
    config = with_task(config)
    task, models = load_all(config, device)
    work = prepare(config, task, models, check_models(models, task, device, config))
    description = describe(work, device)
    began = standing(work, description)
    directory = RunDirectory(config.out) if config.out else default_directory(work, description, _part(config))
    work, description = taken_up(work, description, directory)
    directory.start(description, began.prints)
    try:
        directory.notes.write_trust(joined(directory.notes.trust(), of_models(work)))
        code = _carry_out(work, directory, description, began, device, deadline, console)
        return code if gates is None else _gated(config, gates, directory, console, code)
    finally:
        directory.release()


def _carry_out(
    work: Work,
    directory: RunDirectory,
    description: Description,
    began: Standing,
    device: torch.device,
    deadline: float | None,
    console: Console,
) -> int:
    """Do what is left of a run, and print its summary; 0, or 5 where cells are errors.

    Raises:
        BadInput: a model, or a file that users' code reads, changed meanwhile.
    """
    config = work.config
    directory.forget_failures()
    left = cells(work, directory.done())
    total = sum(len(cell.rows) for cell in left) * work.search_count
    console.print(
        f"run {work.run} in {directory.url}: {len(left)} cells to do", highlight=False, soft_wrap=True, markup=False
    )
    with reporting(console, "evaluate", total) as reporter:
        status = _Runner(work, directory, device, deadline, reporter).run(left)
    if left and (why := changed_since(began, work, description, device)):
        directory.note(description.model_copy(update={"status": CHANGED}))
        raise BadInput(
            f"run {directory.url} {why}: it changed during the run, so the numbers may come from two versions; start"
            " the run again"
        )
    if status == COMPLETE and directory.has_errors():  # of a cell that was done before
        status = FAILED
    if config.shard is not None and status != STOPPED:
        status = of_shard(config.shard, status == FAILED)
    return finish(work, directory, description, device, console, status)


def _part(config: Evaluation) -> str:
    """The end of the name of a shard's directory."""
    return "" if config.shard is None else f"-{config.shard.replace('/', 'of')}"


def _gates(config: Evaluation) -> GatesFile | None:
    """Read the gates before any work, like the baseline, so that errors show at once."""
    if config.gates is not None and config.shard is not None:
        raise BadInput(f"--gates {config.gates} needs the whole run: merge its shards, then gate the merged run")
    if config.gates is None:
        if config.baseline is not None:
            raise BadInput(f"--baseline {config.baseline} needs gates: name a gates file with --gates")
        return None
    if config.baseline is not None:
        evidence_at(config.baseline)
    return read_gates(config.gates)


def _gated(config: Evaluation, gates: GatesFile, directory: RunDirectory, console: Console, code: int) -> int:
    report = judge_and_keep(directory, gates, str(config.gates), config.baseline)
    console.print()
    console.print(verdicts(report, suggest=False))
    return report.code if report.code == GATE_FAILED else code or report.code


class ContradictedError(RuntimeError):
    """Certificates above witnesses: the run stops, and its rows and witnesses are kept."""

    def __init__(self, url: str, contradictions: Sequence[str]) -> None:
        more = f" (and {len(contradictions) - 1} more)" if len(contradictions) > 1 else ""
        super().__init__(f"run {url} stops: {contradictions[0]}{more}; the ledger of the run has both numbers")


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
        """Do the cells. A crash costs only its own samples, and a cell that is too large for the
        device is halved.
        """
        waiting = deque(left)
        for cell, outcome in outcomes(self.work, waiting, self.device, self._progress, self.deadline):
            if isinstance(outcome, Parts):
                self.directory.add(cell.key, outcome)
                if outcome.contradictions:
                    raise ContradictedError(self.directory.url, outcome.contradictions)
                if outcome.lost:
                    self.directory.add_failure(
                        cell.key, failed_rows(self.work, cell, outcome.lost), "\n".join(outcome.errors)
                    )
                self.failed = self.failed or bool(outcome.errors)
            elif outcome.time:
                return STOPPED
            elif outcome.memory and len(cell.rows) > 1:
                waiting.extendleft(reversed(halved(self.work, cell)))
            else:
                self.failed = True
                self.directory.add_failure(cell.key, failed_rows(self.work, cell), outcome.traceback)
        return FAILED if self.failed else COMPLETE

    def _progress(self, searches: int, gradients: int) -> None:
        self.gradients += gradients
        self.reporter.advance(searches, f"searches of samples, {self.gradients:,} gradient evaluations")
