"""What an embedding knows, without training on it: votes of neighbours, and partners found across modalities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def voted(bank: Tensor, labels: Tensor, queries: Tensor, neighbours: int = 20) -> Tensor:
    """The class (Q,) that most of the nearest of the bank (N, D), by cosine, belong to; of a tie the least.

    Args:
        labels: of the bank, (N,), whole numbers from 0.
        queries: (Q, D).
    """
    similar = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    nearest = labels[similar.topk(min(neighbours, len(bank)), dim=1).indices]
    return F.one_hot(nearest, int(labels.max()) + 1).sum(1).argmax(1)


def recall(one: Tensor, other: Tensor, among: int = 1) -> float:
    """Recall at `among`: how often the partner, the same row of (N, D), is among so many nearest of the other modality."""
    similar = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T
    found = similar.topk(min(among, len(other)), dim=1).indices == torch.arange(len(one), device=one.device)[:, None]
    return found.any(1).double().mean().item()
