"""DeepFool on every part of an answer (Moosavi-Dezfooli et al., CVPR 2016): the cheapest parts that
have to fail are pushed over their boundaries together.

It needs an input on the answer's own grid, such as the pixels of an image and of its map: then the
gradient at a pixel says how that pixel's answer is moved. Exact where every pixel is answered from
itself alone, by a linear model.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from attacks.boundary_bisection import bisect_to_boundary
from attacks.objective import Objective
from attacks.region import Inputs, Region, take
from attacks.search_state import SearchState

BEYOND = 1e-4  # how far past the solution a part is pushed, as rounding decides there
STRETCHES = (1.0, 1.05, 1.2, 1.5, 2.0, 4.0)  # factors for a push that was too short
SEVERAL = 2  # passes that look at all ways in which a part may fail
LACKING = 1e-5  # of what a part has to gain, as rounding in float32 decides there
SHARES = 24  # the numbers of pushed parts, from one part to all, that the watcher gets
FINDER = "pushed parts"
NORMS = ("linf", "l2", "l1")


def push_parts(state: SearchState, passes: int) -> None:
    """Push the parts of every sample's answer, if the attacked modalities lie on its grid."""
    rows = (state.best.strength > 0).nonzero().squeeze(1)
    if not len(rows):
        return
    region, objective = state.region.take(rows), state.fast.take(rows)
    if not _aligned(objective, region):
        return
    at = region.clean
    for number in range(passes):
        moves, distance, quota, rivals = _pushed(objective, region, at, number < SEVERAL)
        at = _moved(region, moves, _cheapest(distance, quota))
        state.spend(rows, rivals)
        if number == SEVERAL - 1:
            _note_every_share(state, region, rows, moves, distance)
        _propose(state, objective, region, rows, at)


def _aligned(objective: Objective, region: Region) -> bool:
    """Whether the answer has parts, on the grid of every attacked modality."""
    with torch.no_grad():
        parts = objective(region.inputs).parts
    if parts is None:
        return False
    grid = parts.margins.shape[1:]
    return all(
        ball.norm_name in NORMS and x.ndim == len(grid) + 2 and x.shape[2:] == grid
        for ball in region.scenario.attacked
        for x in (region.inputs[ball.modality],)
    )


def _pushed(objective: Objective, region: Region, at: Inputs, several: bool) -> tuple[Inputs, Tensor, Tensor, int]:
    """By the linear model of each part at `at`: the move of unit gauge of its cheapest way to fail,
    how far that is from the clean inputs, (B, ...), the quota (B,), and how many ways were looked
    at.
    """
    leaves = {name: x.detach().requires_grad_() for name, x in at.items()}
    with torch.enable_grad():
        parts = objective(region.complete(leaves)).parts  # the graphs of the losses are freed
        assert parts is not None, "an answer does not change what it is made of"
        ways = parts.ways() if several else parts.margins[:, None]
    nearest, moves = None, dict(at)
    for margins in ways.unbind(1):
        distance, there = _way(region, leaves, margins)
        closer = torch.ones_like(distance, dtype=torch.bool) if nearest is None else distance < nearest
        nearest = distance if nearest is None else torch.where(closer, distance, nearest)
        moves = {name: torch.where(closer[:, None], move, moves[name]) for name, move in there.items()}
    assert nearest is not None, "a part has at least one way to fail"
    return moves, nearest, parts.quota, ways.shape[1]


def _note_every_share(state: SearchState, region: Region, rows: Tensor, moves: Inputs, distance: Tensor) -> None:
    """Show the changes that make more and more parts fail, from one part to all. This costs no
    gradient.
    """
    flat = distance.flatten(1)
    wrong, every = (flat == 0).sum(1), flat.isfinite().sum(1)
    for share in torch.linspace(0, 1, SHARES).tolist() if state.watch is not None else ():
        more = ((every - wrong).clamp_min(1).double() ** share).round().long()
        state.note(rows, _moved(region, moves, _cheapest(distance, torch.minimum(wrong + more, every))))


def _way(region: Region, leaves: Inputs, margins: Tensor) -> tuple[Tensor, Inputs]:
    """From the clean inputs, how far each part is from failing in one way, (B, ...), and the move
    of unit gauge that leads there.
    """
    counted = margins > float("-inf")
    with torch.enable_grad():
        total = torch.where(counted, margins, 0.0).sum()
        found = torch.autograd.grad(total, list(leaves.values()), retain_graph=True, allow_unused=True)
    behind, slopes, moves = margins.detach().double(), {}, {}
    for ball, slope in zip(region.scenario.attacked, found, strict=True):
        name = ball.modality
        x, at = region.inputs[name], leaves[name].detach()
        slopes[name] = torch.zeros_like(x) if slope is None else torch.nan_to_num(slope)
        low, high = region.ranges[name].ends
        free = slopes[name] * torch.where(slopes[name] > 0, x < high, x > low)
        moves[name] = ball.radius * _unit(ball.norm_name, free)
        behind = behind - (slopes[name] * (at - x)).sum(1).double()
    distance = _reached(region, slopes, moves, -behind)
    return torch.where(counted, distance, float("inf")), moves


def _reached(region: Region, slopes: Inputs, moves: Inputs, needed: Tensor) -> Tensor:
    """How far each part must move from the clean inputs, by the linear model, to gain what it
    needs, (B, ...); values stop at the ends of the range. Each of Newton's steps ends at the next
    place where one stops.
    """
    distance = torch.zeros_like(needed)
    for _ in range(1 + sum(x.shape[1] for x in moves.values())):
        gained, rate = torch.zeros_like(needed), torch.zeros_like(needed)
        for name, move in moves.items():
            x, slope = region.inputs[name], slopes[name]
            below, above = (end - x for end in region.ranges[name].ends)
            change = torch.minimum(torch.maximum(distance[:, None].to(x.dtype) * move, below), above)
            gained = gained + (slope * change).sum(1).double()
            rate = rate + (slope * move * torch.where(move > 0, change < above, change > below)).sum(1).double()
        lacking = needed - gained
        more = (lacking > LACKING * needed.abs()) & (rate > 0)
        if not bool(more.any()):
            break
        distance = torch.where(more, distance + lacking / torch.where(more, rate, 1.0), distance)
    return torch.where(lacking <= LACKING * needed.abs(), distance, float("inf"))


def _unit(norm: str, slope: Tensor) -> Tensor:
    """Per place of the grid, the change of size 1 of its channels that gains most, (B, C, ...)."""
    if norm == "linf":
        return slope.sign()
    if norm == "l2":
        size: Tensor = torch.linalg.vector_norm(slope, dim=1, keepdim=True)
        return slope / size.clamp_min(torch.finfo(slope.dtype).tiny)
    best = slope.abs().argmax(1, keepdim=True)
    return torch.zeros_like(slope).scatter(1, best, slope.gather(1, best).sign())


def _cheapest(distance: Tensor, quota: Tensor) -> Tensor:
    """The distances of the `quota` nearest parts, 0 elsewhere, (B, ...)."""
    flat = distance.flatten(1)
    last = flat.sort(1).values.gather(1, (quota - 1).clamp(0, flat.shape[1] - 1)[:, None])
    chosen = (flat <= last) & flat.isfinite()
    return torch.where(chosen, flat, 0.0).reshape(distance.shape)


def _moved(region: Region, moves: Mapping[str, Tensor], distance: Tensor) -> Inputs:
    """The clean inputs moved by each part's distance; in L∞ all by the largest, which costs the
    same.
    """
    moved = {}
    for ball in region.scenario.attacked:
        x = region.inputs[ball.modality]
        largest = distance.flatten(1).amax(1).reshape(-1, *[1] * (distance.ndim - 1)).expand_as(distance)
        length = (largest if ball.norm_name == "linf" else distance) * (1 + BEYOND)
        change = length[:, None].to(x.dtype) * moves[ball.modality]
        moved[ball.modality] = region.ranges[ball.modality].clamp(x + change)
    return moved


def _propose(state: SearchState, objective: Objective, region: Region, rows: Tensor, at: Inputs) -> None:
    """Propose the change, stretched until it fails. A stretched change is then pulled back."""
    left = torch.arange(len(rows), device=rows.device)
    for stretch in STRETCHES:
        there, some = region.take(left), take(at, left)
        clean = there.clean.items()
        tried = {name: there.ranges[name].clamp(x + stretch * (some[name] - x)) for name, x in clean}
        with torch.no_grad():
            fails = objective.take(left)(there.complete(tried)).fails
        met = fails.nonzero().squeeze(1)
        state.note(rows[left], tried)
        if len(met):
            won = take(tried, met)
            if stretch > 1:
                won = bisect_to_boundary(objective.take(left[met]), there.take(met), won, take(some, met))
            state.propose(rows[left[met]], won, FINDER)
        left = left[~fails]
        if not len(left):
            return
