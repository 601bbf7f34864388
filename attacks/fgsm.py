"""FGSM: one step in the steepest direction (Goodfellow et al., ICLR 2015), over several modalities
at once.
"""

from __future__ import annotations

from torch import Tensor

from attacks.ascent import Attempt
from attacks.objective import Loss, Objective
from attacks.pgd import pgd
from attacks.region import Region


def fgsm(objective: Objective, region: Region, strength: Tensor | float, *, loss: Loss | None = None) -> Attempt:
    """FGSM (Goodfellow et al., ICLR 2015): move every attacked modality by its full radius, t ·
    r_m, in its own steepest direction.

    Args:
        strength: t, shared or per sample (B,).
    """
    return pgd(objective, region, strength, steps=1, loss=loss)
