"""Channel exchange (CEN, Wang et al., NeurIPS 2020), for segmentation and translation alike: which
channels branches swap, the penalty that frees channels, and the ensemble of the branches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.errors import BadInput
from attacks.norms import per_sample
from harness.models.fused import without_missing
from harness.tasks import Task
from harness.tasks.axes import channels


def exchanged(maps: Sequence[Tensor], scales: Sequence[Tensor], threshold: float, here: Tensor) -> list[Tensor]:
    """Maps (B, C, H, W) in which a channel with |γ| < θ is the mean of the other present branches;
    it stays where no other is present, and where |γ| = θ.

    Args:
        scales: γ of each branch, (C,).
        here: bool (B, M), the present branches.
    """
    present = without_missing(list(maps), here)
    answer = []
    for place, (x, scale) in enumerate(zip(maps, scales, strict=True)):
        others = [other for other in range(len(maps)) if other != place]
        count = per_sample(here[:, others].sum(1), x)
        mean = sum((present[other] for other in others), torch.zeros_like(x)) / count.clamp_min(1)
        answer.append(torch.where((scale.abs() < threshold)[:, None, None] & (count > 0), mean, x))
    return answer


def own_part(scale: Tensor, place: int, branches: int) -> Tensor:
    """The channels of a branch whose γ (C,) the penalty counts: its own 1/M, so that no channel is
    switched off in all branches.
    """
    return scale.tensor_split(branches)[place]


def penalised(scales: Sequence[Tensor]) -> Tensor:
    """Σ|γ| over the own part of each branch, a scalar."""
    return torch.cat([own_part(scale, place, len(scales)) for place, scale in enumerate(scales)]).abs().sum()


def share(scale: Tensor, threshold: float) -> float:
    """The share of channels that a branch takes from the others."""
    return float((scale.detach().abs() < threshold).float().mean())


def ensembled(answers: Sequence[Tensor], alpha: Tensor, here: Tensor) -> Tensor:
    """The sum of the answers (B, C, H, W) of branches, weighted by the softmax of α over those that
    are present; 0 where none is.
    """
    weights = alpha.softmax(0) * here
    weights = weights / weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    kept = without_missing(list(answers), here)
    return torch.stack([per_sample(w, x) * x for w, x in zip(weights.unbind(1), kept, strict=True)]).sum(0)


def widest(task: Task, names: Sequence[str]) -> int:
    """The channels of the image that has most: branches that share convolutions repeat an image of
    one channel as often.

    Raises:
        BadInput: an image has another number of channels.
    """
    counts = {name: channels(task.modality(name).shape) for name in names}
    most = max(counts.values())
    if strange := [name for name, count in counts.items() if count not in (1, most)]:
        raise BadInput(
            f"modality {strange[0]!r} of task {task.name!r} has {counts[strange[0]]} channels, and branches that share"
            f" convolutions take 1 or {most} here: give it as one of these, or choose another model"
        )
    return most
