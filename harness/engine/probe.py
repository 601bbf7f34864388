"""Try a model on a few samples before the work begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import torch
from torch import nn

from attacks.errors import BadInput, shown
from attacks.objective import Verdict, preserved
from harness.engine.judged import checked_score, checked_tally
from harness.engine.objective import TaskObjective
from harness.models.in_parts import InParts
from harness.references.opened import contents, opening
from harness.tasks import Batch, Task
from harness.tasks.problems.problem import thresholds_of

PROBED = 4  # samples a model is tried on
FEWER = (4, 2, 1)  # samples at once, for a model that does not take `PAD`
SAME_SCORE = 1e-4  # the largest difference of two computations of one score


def probe(text: str, module: nn.Module, task: Task, device: torch.device) -> tuple[nn.Module, dict[str, str]]:
    """Try a model on a few samples. The model does not change.

    Returns:
        the model, wrapped to get batches in parts if it takes only a few samples at once; and the
        hashes of the files that it, or the task's problem, opened.

    Raises:
        BadInput: it crashes on all of them, or its outputs do not fit the task.
    """
    batch = task.splits["test"].take(range(min(PROBED, len(task.splits["test"])))).to(device)
    try:
        with preserved(module), torch.no_grad(), opening() as files:
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
    return module, contents(files)


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
    if verdict.fails.dtype != torch.bool:
        raise BadInput(
            f"its problem's verdict gives fails as {verdict.fails.dtype}: give torch.bool, True for a failure"
        )
    for name, values in {"verdict": verdict.fails, **_losses(verdict)}.items():
        if tuple(values.shape) != (count,):
            raise BadInput(
                f"its problem's {name} has shape {tuple(values.shape)} for {count} samples: give one number per sample,"
                f" ({count},)"
            )
    tally = checked_tally(problem.tally(outputs, targets), count)
    alone = [checked_tally(problem.tally(outputs[row, None], targets[row, None]), 1) for row in range(count)]
    if strange := [each.shape[1] for each in alone if each.shape[1] != tally.shape[1]]:
        raise BadInput(
            f"its problem's tally has {tally.shape[1]} numbers for each of {count} samples, and {strange[0]} for one"
            " sample alone: give the same number for every sample"
        )
    _check_alone(task, outputs, targets, {"score": score, "verdict": verdict.fails, "tally": tally})
    check_metrics(problem.metrics, tally)
    labels = problem.label(problem.predictions(outputs), targets)
    if len(labels) != count or not all(isinstance(each, str) for each in labels):
        raise BadInput(f"its problem's label must answer {count} texts for {count} samples, got {labels!r:.80}")
    if "margin" not in verdict.losses:
        raise BadInput(
            "its problem's verdict has no loss 'margin': give one that is negative exactly where a sample withstands"
        )
    for turn in range(count):  # also answers of other samples: some fail, some withstand
        _check_margin(_verdict(task, turned := outputs.roll(turn, 0), targets, problem.score(turned, targets)))


def _check_alone(
    task: Task, outputs: torch.Tensor, targets: torch.Tensor, together: Mapping[str, torch.Tensor]
) -> None:
    """Refuse a problem that judges an answer in another way alone, or another time."""
    problem, count = task.problem, len(outputs)
    rows = [(outputs[row, None], targets[row, None]) for row in range(count)] + [(outputs, targets)]
    scores = [problem.score(*each) for each in rows]
    verdicts = [_verdict(task, *each, score).fails for each, score in zip(rows, scores, strict=True)]
    tallies = [problem.tally(*each) for each in rows]
    for name, found in {"score": scores, "verdict": verdicts, "tally": tallies}.items():
        for other in (torch.cat(found[:count]), found[count]):
            if not torch.allclose(
                other.double(), together[name].double(), rtol=SAME_SCORE, atol=SAME_SCORE, equal_nan=True
            ):
                raise BadInput(
                    f"its problem's {name} of a sample changes with the other samples of its batch, or from one time to"
                    " the next: compute it from the answer and the target of this sample alone"
                )


def _check_margin(verdict: Verdict) -> None:
    """Refuse a margin that contradicts the verdict."""
    margin, fails = verdict.losses["margin"].detach(), verdict.fails
    if bool((wrong := (fails & (margin < 0)) | (~fails & (margin > 0))).any()):
        raise BadInput(
            f"its problem's loss 'margin' is {float(margin[wrong][0]):.3g} for a sample that"
            f" {'fails' if bool(fails[wrong][0]) else 'withstands'}: give one that is negative exactly where a sample"
            " withstands"
        )


def check_metrics(metrics: Callable[[torch.Tensor], object], tally: torch.Tensor) -> None:
    """Refuse metrics that are not numbers by name.

    Raises:
        BadInput: naming what is wrong.
    """
    try:
        found = metrics(tally.detach().double().cpu())
    except (Exception, SystemExit) as error:
        raise BadInput(
            f"its problem's metrics raise on {len(tally)} samples: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise BadInput(f"its problem's metrics are {shown(found)}: give a dictionary of names and numbers")
    if strange := [name for name, value in found.items() if not isinstance(value, int | float)]:
        raise BadInput(f"its problem's metric {strange[0]!r} is {shown(found[strange[0]])}: give a number")


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
