"""The end of a run whose cells are done: trust, attributions, the status in `run.json`, and the
summary.
"""

from __future__ import annotations

import traceback

import torch
from rich.console import Console

from attacks.errors import plain
from harness.analysis.summary import printed, printed_set_metrics, summarise
from harness.engine.plan import Work
from harness.engine.progress import reporting
from harness.engine.set_metrics import set_metrics
from harness.engine.sweep import MASKS, mask_hash
from harness.explain.attributions import attribute, key_of
from harness.run.description import Description
from harness.run.directory import RunDirectory
from harness.run.flags import joined
from harness.run.status import FAILED, FINISHED
from harness.trust.counted import count_finds
from harness.trust.examiner import READ, check_run, of_models


def finish(
    work: Work, directory: RunDirectory, description: Description, device: torch.device, console: Console, status: str
) -> int:
    """If the run is whole, check it and compute its attributions; then note its status and print
    its summary. 0, or 5 if cells are errors.
    """
    config = work.config
    if config.trust and status in FINISHED:
        flags, finds = check_run(work, device, directory.ledger(READ))
        directory.notes.write_trust(joined(of_models(work), flags))
        count_finds(work, directory, finds, device)
    if config.attributions and status in FINISHED:
        _attribute(work, directory, device, console)
    if status in FINISHED:
        _measure(work, directory, console)
    directory.note(
        description.model_copy(update={"status": status, "masks": mask_hash(directory.table("sweep", MASKS))})
    )
    console.print(printed(summarise(directory)))
    if description.threshold is not None and status in FINISHED and directory.notes.metrics():
        console.print(printed_set_metrics(directory))
    return 5 if status.endswith(FAILED) else 0


def _measure(work: Work, directory: RunDirectory, console: Console) -> None:
    """The metrics over the set. If a user's metric raises, only these are lost."""
    try:
        metrics, influences = set_metrics(work.task, directory)
        if not metrics:
            raise ValueError("no value is finite")
        directory.write_metrics(metrics, influences)
    except (Exception, SystemExit) as error:
        directory.add_error("metrics", traceback.format_exc())
        why = plain(f"{type(error).__name__}: {error}")
        message = f"the metrics over the set cannot be computed ({why}); see the run's errors/ folder"
        console.print(message, soft_wrap=True, markup=False)


def _attribute(work: Work, directory: RunDirectory, device: torch.device, console: Console) -> None:
    ledger = directory.ledger(READ)
    with reporting(console, "attributions", len(work.models)) as reporter:
        for model in work.models:
            key = key_of(model)
            try:
                directory.add_attributions(key, attribute(work, model, ledger, device))
            # a model that raises on some condition loses these, and nothing else
            except (Exception, SystemExit) as error:
                directory.add_error(f"{key}-attributions", traceback.format_exc())
                why = plain(f"{type(error).__name__}: {error}")
                console.print(
                    f"{model.name} has no attributions ({why}); the run's errors/ folder has the traceback",
                    soft_wrap=True,
                    markup=False,
                )
            reporter.advance(1, f"models, {model.name}")
