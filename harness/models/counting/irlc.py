"""IRLC (Trott, Xiong & Socher, ICLR 2018): regions are counted one after the other, and each that
is counted moves the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.models.counting.backbone import STATE, Fit, counts_of
from harness.models.counting.regions import BOX, FIXED, REGION, GatedTanh, Regions, of_regions, overlaps
from harness.tasks import Task

ASKED, HIDDEN = 8, 32  # width of the question, and of the hidden layer, where regions interact
NEVER = -1e4  # the logit of a forbidden choice; finite, so that differences exist


@dataclass(frozen=True, eq=False)
class Scene:
    """The start of the loop.

    Attributes:
        fit: κ, the logit of each region to be counted, (B, n); `NEVER` in padding.
        interaction: ρ, the change of the logit of region j when region i is counted, (B, n, n).
        stop: ζ, the logit of ending, a scalar.
    """

    fit: Tensor
    interaction: Tensor
    stop: Tensor


class IRLC(nn.Module):
    """Counts the region of the largest logit, lets it move the logits of the others, and goes on
    until the stop logit is larger.

    The loop is discrete, and its count is a whole number. So that attacks can move it, it is
    expressed in logits: with m_t the largest remaining logit minus the stop logit at step t, the
    logit of count c is the least of m_0, ..., m_{c-1} and -m_c, the margin by which the loop's
    decisions lead to c. The largest of them is the loop's own count, exactly.
    """

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest
        self.score, self.weigh = GatedTanh(), Fit(REGION, 1)
        self.asked = nn.Linear(STATE, ASKED)
        self.interact = nn.Sequential(nn.Linear(ASKED + 1 + 2 * BOX + 3, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        self.stop = nn.Parameter(torch.zeros(()))

    def forward(self, regions: Regions, question: Tensor) -> Tensor:
        """Logits (B, largest + 1)."""
        return decided(margins(self.scene(regions, question), self.largest)[0])

    def weights(self, regions: Regions, question: Tensor) -> Tensor:
        """Which regions were counted, (B, n): 1 for the first, 1 / step for later ones, 0 for
        regions that were not counted.
        """
        found, chosen = margins(self.scene(regions, question), self.largest)
        count = decided(found).argmax(1)
        steps = torch.arange(chosen.shape[1], device=chosen.device)
        marks = (steps < count[:, None]) / (steps + 1.0)
        return torch.zeros_like(regions.boxes[..., 0]).scatter(1, chosen, marks.to(regions.boxes.dtype))

    def scene(self, regions: Regions, question: Tensor) -> Scene:
        """The logits that the loop starts from, and the interactions."""
        seen = self.score(regions.features, question)
        fit = self.weigh(seen).squeeze(2).masked_fill(~regions.real, NEVER)
        unit = nn.functional.normalize(regions.features, dim=2)
        boxes, size = regions.boxes, (-1, fit.shape[1], fit.shape[1], -1)
        iou, covered = overlaps(boxes[..., :4], boxes[..., :4])
        alike = torch.stack([unit @ unit.transpose(1, 2), iou, covered, covered.transpose(1, 2)], 3)
        parts = (
            self.asked(question)[:, None, None].expand(size),
            alike,
            boxes[:, :, None].expand(size),
            boxes[:, None].expand(size),
        )
        return Scene(fit, self.interact(torch.cat(parts, 3)).squeeze(3), self.stop)


def margins(scene: Scene, largest: int) -> tuple[Tensor, Tensor]:
    """The greedy loop, continued beyond its stop: the margin to go on at every step (B, largest +
    1), and the chosen regions (B, largest).

    A choice is the number of a region. Where no region is left, and after the largest count, the
    margin shows it.
    """
    fit, left = scene.fit, torch.ones_like(scene.fit, dtype=torch.bool)
    found, chosen = [], []
    for _ in range(min(largest, fit.shape[1])):
        best, row = fit.masked_fill(~left, 2 * NEVER).max(1)
        found.append(best - scene.stop)
        chosen.append(row)
        left = left.scatter(1, row[:, None], False)
        fit = fit + scene.interaction.gather(1, row[:, None, None].expand(-1, 1, fit.shape[1])).squeeze(1)
    ended = torch.full_like(fit[:, 0], 2 * NEVER)
    found += [ended] * (largest + 1 - len(found))
    return torch.stack(found, 1), torch.stack(chosen, 1)


def decided(margin: Tensor) -> Tensor:
    """The logits (B, K) of counts 0 to K - 1 from the margins to go on after each, (B, K); the last
    is not read.
    """
    before = torch.cat([torch.full_like(margin[:, :1], -NEVER), margin[:, :-1]], 1).cummin(1).values
    ends = torch.cat([-margin[:, :-1], torch.full_like(margin[:, :1], -NEVER)], 1)
    return torch.minimum(before, ends)


def irlc(task: Task, proposals: str = FIXED) -> nn.Module:
    """IRLC: regions counted one after the other; which were counted explains the count.

    Args:
        proposals: see `of_regions`.

    Raises:
        BadInput: the task has no counts, or has no image, question or proposals.
    """
    return of_regions(task, IRLC(counts_of(task).shape[0] - 1), proposals)
