"""One-hot text as words that a person can read."""

from __future__ import annotations

from torch import Tensor

from attacks.region import Inputs
from harness.tasks.modality import Modality
from harness.tasks.task import Task
from harness.tasks.tokens import CANDIDATES, beside


def tokens(task: Task, modality: Modality, inputs: Inputs, x: Tensor) -> list[str | None]:
    """One-hot text `x` of a sample as tokens, position by position; as numbers, where the task does
    not name its tokens.

    If the columns are candidates of a tokenizer, the problem decodes them; a position whose token
    cannot change, as of a template, is None.
    """
    numbers, candidates = x.argmax(1).tolist(), inputs.get(beside(modality.name, CANDIDATES))
    if candidates is not None and (decode := getattr(task.problem, "decode", None)) is not None:
        free = (candidates != candidates[:, :1]).any(1).tolist()
        return [
            decode([int(row[number])]) if own else None
            for row, number, own in zip(candidates, numbers, free, strict=True)
        ]
    return [modality.tokens[number] if modality.tokens else str(number) for number in numbers]
