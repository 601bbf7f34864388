"""Answers that are maps, images or sounds, stored beside the witnesses in the same file.

Their names there are `target|SAMPLE`, `untouched|SAMPLE`, and for the answer on a witness
`answer|SCENARIO|SAMPLE`, with the threshold as in the name of the witness. Whole numbers have the
smallest type that holds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from attacks.region import Inputs
from harness.engine.graded import Result
from harness.engine.ledger import keys_of, scored_at
from harness.engine.plan import Work
from harness.tasks import Batch
from harness.tasks.answer_form import as_answers

TARGET, UNTOUCHED, ATTACKED = "target", "untouched", "attacked"
WHOLE = (torch.uint8, torch.int16, torch.int32)  # types of whole numbers, the smallest first


def answer_keys(row: Mapping[str, Any]) -> dict[str, str]:
    """The stored names of the answers that belong to a row of the ledger."""
    attacked = f"answer|{scored_at(row['scenario'], row['threshold'])}|{row['sample']}"
    return {**untouched_keys(row["sample"]), ATTACKED: attacked}


def untouched_keys(sample: str) -> dict[str, str]:
    """The same for a sample's target and untouched answer, which no attack changes."""
    return {name: f"{name}|{sample}" for name in (TARGET, UNTOUCHED)}


def stored_names(ledger: Iterable[Mapping[str, Any]], samples: Iterable[str]) -> set[str]:
    """All names that a cell's file of witnesses may have, by its ledger's rows and its samples."""
    names = {name for sample in samples for name in untouched_keys(sample).values()}
    for row in ledger:
        if row["witness"]:
            names |= {*keys_of(row, row["attacked"].split("+")).values(), answer_keys(row)[ATTACKED]}
    return names


def untouched_answers(work: Work, batch: Batch, outputs: Tensor) -> Inputs:
    """Targets and untouched answers of the samples whose witnesses are kept."""
    rows = [row for row, sample in enumerate(batch.samples) if sample in work.kept_samples]
    if not rows or work.answer_form is None:
        return {}
    answers = work.task.problem.predictions(outputs)[rows]  # the outputs are large: no copy of them
    targets = as_answers(batch.targets[rows], answers)
    named = [untouched_keys(batch.samples[row]) for row in rows]
    found = _named([each[UNTOUCHED] for each in named], answers)
    return found if targets is None else found | _named([each[TARGET] for each in named], targets)


def attacked_answers(work: Work, batch: Batch, result: Result, outputs: Tensor) -> Inputs:
    """Answers on the witnesses that are kept."""
    failed = result.found.strength.isfinite().tolist()
    rows = [row for row, sample in enumerate(batch.samples) if failed[row] and sample in work.kept_samples]
    if not rows or work.answer_form is None or not result.scenario.attacked:
        return {}
    where = {"scenario": result.scenario, "threshold": result.threshold}
    names = [answer_keys({**where, "sample": batch.samples[row]})[ATTACKED] for row in rows]
    return _named(names, work.task.problem.predictions(outputs)[rows])


def _named(names: Sequence[str], answers: Tensor) -> Inputs:
    return {name: _small(x) for name, x in zip(names, answers.detach().cpu(), strict=True)}


def _small(x: Tensor) -> Tensor:
    """A copy in a small type: whole numbers in the first that holds them, real ones in float32."""
    if x.is_floating_point():
        return x.float().clone(memory_format=torch.contiguous_format)
    low, high = (int(end) for end in x.aminmax())
    fitting = [each for each in WHOLE if torch.iinfo(each).min <= low and high <= torch.iinfo(each).max]
    return x.to((*fitting, torch.int64)[0]).clone(memory_format=torch.contiguous_format)
