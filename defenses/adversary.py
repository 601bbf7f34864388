"""The adversary that recipes train against: a few projected steps on the whole model, and edits
chosen anew in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attacks.ascent import ascend
from attacks.eot import judged
from attacks.mixed import Mixed, edited, scattered
from attacks.objective import Named, Verdict, preserved
from attacks.region import Inputs, Region, take
from attacks.scenario import Scenario, parse
from harness.models.partial_encoding import answered, encoded_still
from harness.models.protocols import Factored
from harness.tasks import Batch, Problem, Task

STRENGTH = 1.0  # the radii as written


@dataclass(frozen=True, eq=False)
class TrainingObjective:
    """The training loss of a model on a batch, all modalities present.

    Attributes:
        kept: features (B, ...) of the modalities that do not move, of a factored model.
    """

    model: nn.Module
    problem: Problem
    targets: Tensor
    kept: Inputs

    def __call__(self, inputs: Inputs) -> Verdict:
        """The loss. No sample counts as failed, so an attack keeps its strongest iterate and not
        the first that fails.
        """
        loss = self.problem.loss(answered(self.model, inputs, self.kept, None), self.targets)
        return Verdict({"loss": loss}, torch.zeros_like(loss, dtype=torch.bool))

    def take(self, rows: Tensor) -> TrainingObjective:
        return replace(self, targets=self.targets[rows], kept=take(self.kept, rows))

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> TrainingObjective:
        """Encode the modalities that do not move once, if the model is factored."""
        with torch.no_grad():
            return replace(self, kept=encoded_still(self.model, inputs, moving))


@dataclass(frozen=True)
class Adversary:
    """PGD (Madry et al., ICLR 2018) at the task's default radii; where the default attack edits, as
    of text, so does this.

    The model is attacked in evaluation mode: batch norm by its running statistics, no dropout.

    Attributes:
        steps: gradient evaluations.
        random_start: in each norm ball; else at the clean input.
    """

    steps: int = 5
    random_start: bool = False

    def __call__(self, model: nn.Module, task: Task, batch: Batch, names: Sequence[str], draw: int = 0) -> Inputs:
        """The named modalities (B, ...), attacked together. Other modalities stay untouched, and so
        does the model.

        Args:
            draw: the key of random starts, beside the samples.
        """
        scenario = Scenario(
            tuple(ball for name in names for ball in parse(f"{name}@{task.modality(name).ball}").attacked)
        )
        region = Region.of(batch.inputs, task.bounds(batch), scenario)
        with preserved(model):
            whole = judged(TrainingObjective(model, task.problem, batch.targets, {}), region, batch.samples, draw)
            objective = whole.holding(batch.inputs, scenario.attacked_names)
            strength = torch.full((len(batch),), STRENGTH, dtype=torch.float64, device=batch.targets.device)
            start = region.clean | edited(region, strength, batch.samples, 0, draw)
            if self.random_start:
                start |= scattered(region, strength, batch.samples, 0, draw)
            mover = Mixed.begin(region, self.steps)
            return ascend(objective, region, STRENGTH, mover, steps=self.steps, loss=Named("loss"), start=start).inputs


def robust_scores(
    model: nn.Module, task: Task, batch: Batch, adversary: Adversary, attacks: Sequence[Sequence[str]]
) -> Tensor:
    """The task's score of each sample (B,), averaged over attacks on the named sets of
    modalities.
    """
    variants = [{**batch.inputs, **adversary(model, task, batch, names)} for names in attacks]
    return torch.stack([task.problem.score(model(variant, None), batch.targets) for variant in variants]).mean(0)


def read(model: nn.Module, task: Task) -> tuple[str, ...]:
    """The modalities that a model reads; all of the task's modalities, where it does not name
    them.
    """
    return model.encoded if isinstance(model, Factored) else task.names


def encoded(model: Factored, variants: Sequence[Inputs]) -> list[Inputs]:
    """The features of several variants of a batch, all in one call per modality. Shared inputs are
    encoded once.

    One call, so that batch norm sees clean and attacked inputs mixed, as its running statistics do.
    """
    features: list[Inputs] = [{} for _ in variants]
    for name in model.encoded:
        distinct = list({id(variant[name]): variant[name] for variant in variants}.values())
        parts = model.encode(name, torch.cat(distinct)).split(len(distinct[0]))
        place = {id(x): part for x, part in zip(distinct, parts, strict=True)}
        for each, variant in zip(features, variants, strict=True):
            each[name] = place[id(variant[name])]
    return features


def repeated(targets: Tensor, times: int) -> Tensor:
    """The targets (B, ...) of several variants of a batch, one after the other."""
    return targets.repeat(times, *[1] * (targets.ndim - 1))


def joined(variants: Sequence[Inputs]) -> Inputs:
    """Several variants of a batch as one batch, one after the other."""
    return {name: torch.cat([variant[name] for variant in variants]) for name in variants[0]}
