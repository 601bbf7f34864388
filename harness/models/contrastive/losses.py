"""The losses of contrastive learning, on projections (N, D)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al., SimCLR, ICML 2020, eq.

    1) of two views (N, D) of each sample, the mean over all 2N.

    Each view must find its partner among the 2N - 1 other views, by cosine similarity over the
    temperature.
    """
    count = len(one)
    views = F.normalize(torch.cat([one, other]), dim=1)
    logits = views @ views.T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=logits.device)
    partner = torch.arange(2 * count, device=logits.device).roll(count)
    return F.cross_entropy(logits.masked_fill(itself, float("-inf")), partner)


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Symmetric InfoNCE (Radford et al., CLIP, ICML 2021) of two modalities (N, D): each finds its
    partner among N, both ways.
    """
    logits = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T / temperature
    partner = torch.arange(len(one), device=logits.device)
    return (F.cross_entropy(logits, partner) + F.cross_entropy(logits.T, partner)) / 2


def regression(prediction: Tensor, target: Tensor) -> Tensor:
    """BYOL's 2 - 2 cos (Grill et al., NeurIPS 2020, eq. 2) per sample, (N,): 0 where they point the
    same way, 4 where opposite.
    """
    return 2 - 2 * F.cosine_similarity(prediction, target, dim=1)
