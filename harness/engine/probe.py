"""Try a model on a few samples before the work begins."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import nn

from attacks.errors import BadInput
from attacks.objective import Verdict, preserved
from harness.engine.judged import checked_score, checked_tally
from harness.engine.objective import TaskObjective
from harness.models.in_parts import InParts
from harness.tasks import Batch, Task
from harness.tasks.problems.problem import thresholds_of

PROBED = 4  # samples a model is tried on
FEWER = (4, 2, 1)  # samples at once, for a model that does not take `PAD`
SAME_SCORE = 1e-4  # the largest difference of two computations of one score


def probe(text: str, module: nn.Module, task: Task, device: torch.device) -> nn.Module:
    """Try a model on a few samples. The model does not change.

    Returns:
        the model, wrapped to get batches in parts if it takes only a few samples at once.

    Raises:
        BadInput: it crashes on all of them, or its outputs do not fit the task.
    """
    batch = task.splits["test"].take(range(min(PROBED, len(task.splits["test"])))).to(device)
    try:
        with preserved(module), torch.no_grad():
            module, batch, outputs = _first_answers(module, task, batch)
            if not outputs.is_floating_point():
                raise BadInput(
                    f"it returns {outputs.dtype}, which has no gradients: return real numbers (logits), not classes"
                )
            _check_judgement(task, outputs, batch.targets)
    except BadInput as error:
        raise BadInput(f"model {text!r}: {error}") from None
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"model {text!r} fails on the first samples of task {task.name!r}: {type(error).__name__}: "
            f"{error}{_about_types(module)}"
        ) from error
    return module


def _about_types(module: nn.Module) -> str:
    """A mend for a model with weights that are not float32, as the inputs are."""
    others = {x.dtype for x in module.parameters() if x.is_floating_point()} - {torch.float32}
    if not others:
        return ""
    named = " and ".join(sorted(str(each).removeprefix("torch.") for each in others))
    return f" (it has weights of {named}, and the inputs are float32: build it with .float(), or cast in its forward)"


def _first_answers(module: nn.Module, task: Task, batch: Batch) -> tuple[nn.Module, Batch, torch.Tensor]:
    """The answers to a batch; where the model raises, the first answer to a sample alone: a sample
    that it cannot answer, or a batch too large for it, costs no other sample. A model that does not
    even take one sample, because batches are filled up, gets parts of them.

    Raises:
        the error on the batch, if the model answers no sample.
    """

    def ask(model: nn.Module, some: Batch) -> torch.Tensor:
        return TaskObjective(model, task, some.targets, task.present(some), {}).outputs(some.inputs)

    try:
        return module, batch, ask(module, batch)
    except (Exception, SystemExit):
        for model in (module, *(InParts(module, size) for size in FEWER)):
            for row in range(len(batch)):
                with suppress(Exception, SystemExit):
                    return model, (one := batch.take([row])), ask(model, one)
        raise


def _check_judgement(task: Task, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Refuse a problem whose judgement is not one number per sample, or whose tables would not
    hold it.

    Raises:
        BadInput: naming the fault.
    """
    problem, count = task.problem, len(outputs)
    score = checked_score(problem.score(outputs, targets), count)
    verdict = _verdict(task, outputs, targets, score)
    for name, values in {"verdict": verdict.fails, **_losses(verdict)}.items():
        if tuple(values.shape) != (count,):
            raise BadInput(
                f"its problem's {name} has shape {tuple(values.shape)} for {count} samples: give one number per sample,"
                f" ({count},)"
            )
    width = checked_tally(problem.tally(outputs, targets), count).shape[1]
    alone = [checked_tally(problem.tally(outputs[row, None], targets[row, None]), 1).shape[1] for row in range(count)]
    if strange := [each for each in alone if each != width]:
        raise BadInput(
            f"its problem's tally has {width} numbers for each of {count} samples, and {strange[0]} for one sample"
            " alone: give the same number for every sample"
        )
    labels = problem.label(problem.predictions(outputs), targets)
    if len(labels) != count or not all(isinstance(each, str) for each in labels):
        raise BadInput(f"its problem's label must answer {count} texts for {count} samples, got {labels!r:.80}")
    if "margin" not in verdict.losses:
        raise BadInput(
            "its problem's verdict has no loss 'margin': give one that is negative exactly where a sample withstands"
        )


def _verdict(task: Task, outputs: torch.Tensor, targets: torch.Tensor, score: torch.Tensor) -> Verdict:
    """The problem's verdict.

    Raises:
        BadInput: the answers are graded, and the verdict takes no floor or has other scores.
    """
    problem, shares = task.problem, thresholds_of(task.problem)
    if not shares:
        return problem.verdict(outputs, targets)
    try:
        verdict: Verdict = problem.verdict(outputs, targets, shares[0] * score.double())  # type: ignore[call-arg]
    except TypeError as error:
        raise BadInput(
            f"its problem has thresholds, and its verdict takes no floor ({error}): write verdict(outputs, targets,"
            " floor=None), where the floor is the score (B,) below which each sample has failed"
        ) from None
    if verdict.scores is None or not torch.allclose(verdict.scores.double(), score.double(), atol=SAME_SCORE):
        raise BadInput(
            "its problem has thresholds, and its verdict lacks the scores: give those that score(outputs, targets)"
            " gives, as Verdict(losses, fails, scores=...)"
        )
    return verdict


def _losses(verdict: Verdict) -> dict[str, torch.Tensor]:
    return {f"loss {name!r}": loss for name, loss in verdict.losses.items()}
