"""What ends a run whose cells are done: trust, attributions, the last word of `run.json`, and the summary."""

from __future__ import annotations

import sys
from typing import Any

import torch
from rich.console import Console

from attacks.expectation import STORED
from harness.attributions import attribute, key_of
from harness.environment import device_name, git_commit, versions
from harness.plan import Work
from harness.progress import reporting
from harness.rundir import RunDirectory
from harness.status import FAILED, FINISHED, RUNNING
from harness.summary import printed, summarise
from harness.sweep import MASKS, mask_hash
from harness.trust import READ, check_run


def conclude(work: Work, directory: RunDirectory, description: dict[str, Any], device: torch.device, console: Console, status: str) -> int:
    """Check and attribute where the run is whole, note its status, and print its summary; 0, or 5 where cells are errors."""
    config = work.config
    if config.trust and status in FINISHED:
        directory.note_trust(check_run(work, device, directory.table("ledger", READ)))
    if config.attributions and status in FINISHED:
        _attribute(work, directory, device, console)
    directory.note({**description, "status": status, "masks": mask_hash(directory.table("sweep", MASKS))})
    console.print(printed(summarise(directory)))
    return 5 if status.endswith(FAILED) else 0


def _attribute(work: Work, directory: RunDirectory, device: torch.device, console: Console) -> None:
    ledger = directory.table("ledger", READ)
    with reporting(console, "attributions", len(work.models)) as reporter:
        for model in work.models:
            directory.add_attributions(key_of(model), attribute(work, model, ledger, device))
            reporter.advance(1, f"models, {model.name}")


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
