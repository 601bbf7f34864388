"""Measures of an embedding without training on it: votes of neighbours, partners found across
modalities, and its spread.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

AT_ONCE = 1_000


def voted(bank: Tensor, labels: Tensor, queries: Tensor, neighbours: int = 20) -> Tensor:
    """The class (Q,) that most of the nearest of the bank (N, D), by cosine, belong to; of a tie
    the least.

    Args:
        labels: of the bank, (N,), whole numbers from 0.
        queries: (Q, D).
    """
    known = F.normalize(bank, dim=1).T
    parts = F.normalize(queries, dim=1).split(AT_ONCE)
    nearest = labels[torch.cat([(part @ known).topk(min(neighbours, len(bank)), dim=1).indices for part in parts])]
    return F.one_hot(nearest, int(labels.max()) + 1).sum(1).argmax(1)


def recall(one: Tensor, other: Tensor, among: int = 1) -> float:
    """Recall at `among`: how often the partner, the same row of (N, D), is among so many nearest of
    the other modality.
    """
    similar = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T
    found = similar.topk(min(among, len(other)), dim=1).indices == torch.arange(len(one), device=one.device)[:, None]
    return found.any(1).double().mean().item()


def agreed(one: Tensor, other: Tensor, labels: Tensor) -> float:
    """How often the nearest of the other modality (N, D) is of the same class (N,); chance is a
    class's share.
    """
    nearest = (F.normalize(one, dim=1) @ F.normalize(other, dim=1).T).argmax(1)
    return (labels[nearest] == labels).double().mean().item()


def spread(embedding: Tensor) -> float:
    """How far the directions of an embedding (N, D) are apart: 0 where all are one (collapse), 1
    where they are isotropic.

    The standard deviation of the coordinates of unit vectors, times √D (Chen & He, SimSiam, CVPR
    2021).
    """
    unit = F.normalize(embedding, dim=1)
    return unit.std(0, unbiased=False).mean().item() * math.sqrt(unit.shape[1])
