"""PGD for answers made of many parts, such as maps: SegPGD and CosPGD, at a fixed strength.

A plain mean of the parts' losses spends its budget on parts that are wrong already. These attacks
weigh the parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.ascent import Attempt
from attacks.objective import Loss, Named, Objective, Verdict
from attacks.pgd import pgd
from attacks.region import Inputs, Region

RIGHT, WRONG = Named("masked_cross_entropy"), Named("wrong_cross_entropy")


@dataclass(eq=False)
class Shifting:
    """SegPGD's loss (Gu et al., ECCV 2022): (1 - λ) times that of right parts and λ times that of
    wrong ones, with λ = (t - 1) / 2T at step t of T.
    """

    steps: int
    step: int = 0

    def __call__(self, verdict: Verdict) -> Tensor:
        if torch.is_grad_enabled():
            self.step += 1
        share = (self.step - 1) / (2 * self.steps)
        return (1 - share) * RIGHT(verdict) + share * WRONG(verdict)

    def take(self, rows: Tensor) -> Loss:
        return self  # the samples of a batch are at the same step


def segpgd(
    objective: Objective,
    region: Region,
    strength: Tensor | float,
    *,
    steps: int = 20,
    start: Inputs | None = None,
) -> Attempt:
    """SegPGD (Gu et al., ECCV 2022): weight moves from right to wrong pixels, step by step.

    Args:
        strength: t, shared or per sample (B,).
        steps: gradient evaluations.
        start: the attacked modalities to start from; the clean inputs if absent.

    Raises:
        BadInput: the objective's answers are not maps of classes.
    """
    return pgd(objective, region, strength, steps=steps, loss=Shifting(steps), start=start)


segpgd.losses = ("masked_cross_entropy", "wrong_cross_entropy")  # type: ignore[attr-defined]


def cospgd(
    objective: Objective,
    region: Region,
    strength: Tensor | float,
    *,
    steps: int = 20,
    start: Inputs | None = None,
) -> Attempt:
    """CosPGD (Agnolucci et al., 2023): pixels weighed by how sure they are of the right class.

    Args and errors are those of `segpgd`.
    """
    return pgd(objective, region, strength, steps=steps, loss=Named("cospgd"), start=start)


cospgd.losses = ("cospgd",)  # type: ignore[attr-defined]
