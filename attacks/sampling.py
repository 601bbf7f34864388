"""Random draws of attacks for each sample. They are keyed, so the draws of a sample do not depend
on other attacked samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.randomness import keyed_generator
from attacks.region import Inputs
from attacks.scenario import Ball, Scenario


def unit_changes(scenario: Scenario, inputs: Inputs, samples: Sequence[str], seed: int, restart: object) -> Inputs:
    """A random change of gauge at most 1 for each sample: uniform in each modality's ball; no
    edits.

    Keyed on the seed, the sample, the attacked modalities with their norms (not the radii: a change
    of units changes nothing), the missing modalities and the restart.
    """
    norms = [(ball.modality, ball.norm_name) for ball in scenario.attacked]
    changes: Inputs = {}
    for ball in scenario.attacked:
        x = inputs[ball.modality]
        rows = []
        for sample in samples:
            generator = keyed_generator(seed, sample, norms, scenario.missing, restart, ball.modality)
            rows.append(ball.norm.random(x.shape[1:], generator) * ball.radius)
        changes[ball.modality] = torch.stack(rows).to(x)
    return changes


def signs(like: Tensor, samples: Sequence[str], seed: int, *key: object) -> Tensor:
    """1 or -1 at random for each value of `like` (B, ...)."""
    drawn = [
        torch.randint(0, 2, like.shape[1:], generator=keyed_generator(seed, sample, "signs", *key))
        for sample in samples
    ]
    return (2 * torch.stack(drawn) - 1).to(like)


def chances(ball: Ball, like: Tensor, samples: Sequence[str], seed: int, restart: object) -> Tensor:
    """Uniform numbers in [0, 1) for each value of the edited modality `like` (B, ...)."""
    keys = [(seed, sample, "edit", ball.modality, ball.norm_name, restart) for sample in samples]
    return torch.stack([torch.rand(like.shape[1:], generator=keyed_generator(*key)) for key in keys]).to(like)


def eot_draws(ball: Ball, samples: Sequence[str], seed: int, count: int) -> Tensor:
    """The stored random draws that judge an edit, the same at every strength: uniform in [0, 1),
    (B, count, draws).
    """
    keys = [(seed, sample, "world", ball.modality, ball.norm_name) for sample in samples]
    return torch.stack([torch.rand(count, ball.edit.draws, generator=keyed_generator(*key)) for key in keys])
