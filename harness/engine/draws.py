"""Random models: the answer over a number of stored draws.

A model that samples (dropout left on, noise on its input, a random defence) answers differently
each time. With ``--draws n`` it is called n times under seeds that are kept. A sample fails when it
fails in at least half of the draws. The losses that an attack raises are means over the draws, so
their gradients are averages (Athalye et al., ICML 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from attacks.errors import BadInput
from attacks.objective import Verdict
from harness.engine.choice import chosen_rows, samples_at_once
from harness.engine.drawn import Drawn
from harness.engine.loading import Loaded
from harness.run.config import Evaluation
from harness.tasks import Batch, Task
from harness.tasks.batch import PLACE
from harness.tasks.problems.problem import Graded, Problem, answered


@dataclass(frozen=True)
class OverDraws:
    """A problem over the draws of a model: outputs are (B, n, *shape).

    A sample fails when it fails in at least half of the draws. Its score, label and tally are those
    of the draw that decides: as many draws are worse as must fail.
    """

    problem: Problem
    draws: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.draws, *self.problem.shape)

    @property
    def needed(self) -> int:
        """In how many draws a sample must fail."""
        return -(-self.draws // 2)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "problem":
            raise AttributeError(name)
        return getattr(self.problem, name)

    def check_targets(self, targets: Tensor) -> None:
        self.problem.check_targets(targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self._by_sample(self.problem.loss(*self._each(outputs, targets))).mean(1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """The answers to the mean outputs: without targets, no draw decides."""
        return self.problem.predictions(outputs.mean(1))

    def answered(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The answer of the draw that decides."""
        return answered(self.problem, self._decided(outputs, targets), targets)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.problem.score(self._decided(outputs, targets), targets)

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        return self.problem.label(answers, targets)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.problem.tally(self._decided(outputs, targets), targets)

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        return self.problem.metrics(tallies)

    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:
        return self._over(self.problem.verdict(*self._each(outputs, targets)))

    def _over(self, verdict: Verdict) -> Verdict:
        losses = {name: self._by_sample(each) for name, each in verdict.losses.items()}
        means = {name: each.mean(1) for name, each in losses.items()}
        means["margin"] = losses["margin"].sort(1, descending=True).values[:, self.needed - 1]
        fails = self._by_sample(verdict.fails).sum(1) >= self.needed
        margins = None if verdict.margins is None else self._by_sample(verdict.margins).mean(1)
        scores = None if verdict.scores is None else self._by_sample(verdict.scores).sort(1).values[:, self.needed - 1]
        return Verdict(means, fails, margins, scores)

    def _each(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Every draw as a sample of its own."""
        return outputs.flatten(0, 1), targets.repeat_interleave(self.draws, 0)

    def _by_sample(self, values: Tensor) -> Tensor:
        return values.reshape(-1, self.draws, *values.shape[1:])

    def _decided(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The outputs (B, *shape) of the draw that decides."""
        margins = self._by_sample(self._badness(*self._each(outputs, targets)))
        decides = margins.sort(dim=1, descending=True, stable=True).indices[:, self.needed - 1]
        return outputs[torch.arange(len(outputs), device=outputs.device), decides]

    def _badness(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.problem.verdict(outputs, targets).losses["margin"]


@dataclass(frozen=True)
class GradedOverDraws(OverDraws):
    """The same for answers that decay instead of flipping."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        return tuple(getattr(self.problem, "thresholds", ()))

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        if floor is None:
            return super().verdict(outputs, targets)
        assert isinstance(self.problem, Graded), "only graded answers have a floor"
        return self._over(self.problem.verdict(*self._each(outputs, targets), floor.repeat_interleave(self.draws, 0)))

    def _badness(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -self.problem.score(outputs, targets)


def over_draws(task: Task, config: Evaluation) -> Task:
    """The task of a model over draws: the same inputs, and the place of each sample.

    Raises:
        BadInput: the task has an input of that name.
    """
    assert config.draws is not None
    if PLACE in (*task.names, *task.extra_inputs):
        raise BadInput(f"--draws {config.draws}: task {task.name!r} has an input {PLACE!r}: give it another name")
    kind = GradedOverDraws if isinstance(task.problem, Graded) else OverDraws
    splits = {name: split.followed_by(_with_places(split, config)) for name, split in task.splits.items()}
    note = f"a sample fails when it fails in at least half of {config.draws} stored draws of the model"
    return replace(
        task,
        problem=kind(task.problem, config.draws),
        splits=splits,
        extra_inputs=(*task.extra_inputs, PLACE),
        note="; ".join(each for each in (task.notes, note) if each),
        duplicates="allowed",  # the notes name those already
    )


def _with_places(split: Batch, config: Evaluation) -> Callable[[Batch], Batch]:
    """Samples under test, which the run takes in this order, have places beside each other."""
    names = split.samples
    order, size = chosen_rows(config.model_copy(update={"samples": "all"}), names), samples_at_once(config)
    places = {names[row]: number % size for number, row in enumerate(order)}

    def change(batch: Batch) -> Batch:
        return replace(batch, inputs={**batch.inputs, PLACE: torch.tensor([places[each] for each in batch.samples])})

    return change


def drawn(models: Sequence[Loaded], config: Evaluation) -> list[Loaded]:
    """The models over their draws."""
    assert config.draws is not None
    return [
        replace(each, module=Drawn(each.module, config.draws, samples_at_once(config), config.seed)) for each in models
    ]
