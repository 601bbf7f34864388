"""Certified strengths: how far the bounds of a model's margins stay above zero."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.certify.affine import Uncertified
from attacks.certify.reach import Reach, edges, unsupported
from attacks.certify.relaxation import Ends, Relaxation
from attacks.certify.rules import RULES, SEALED
from attacks.region import Bounds, Inputs, Region
from attacks.scenario import Scenario, parse

PASSES = 40  # of a search for a certified strength, at most
CLOSE = 5e-4  # relative; where it ends
AT_ONCE = 256  # margins of a sample that are bounded together
NEAREST = 0.03  # of a bracket: how near to its ends a strength is tried


@dataclass(frozen=True, eq=False)
class Guarded:
    """A model and what it must not lose, on one batch.

    Attributes:
        model: maps inputs (B, ...) to outputs; a row's outputs may not depend on the other rows,
            and equal inputs have equal outputs.
        margins: maps outputs to (B, S) by an affine function; a sample withstands where all are
            above zero.
    """

    model: Callable[[Inputs], Tensor]
    margins: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Bound:
    """Lower bounds of the smallest margin of each sample, float64 (B,), and the intervals on the
    way to it.
    """

    margin: Tensor
    intervals: Sequence[Ends]


@dataclass(frozen=True, eq=False)
class Certified:
    """What is certified of a batch.

    Attributes:
        strength: float64 (B,): nothing below it makes a sample fail.
        ended: whether the search ran to its end, bool (B,); else time was over.
    """

    strength: Tensor
    ended: Tensor


def bounded(guarded: Guarded, region: Region, strength: Tensor, known: Sequence[Ends] = ()) -> Bound:
    """What no change below a strength (B,) can push the margins beyond.

    Args:
        region: of the inputs; bounds are computed in their precision.
        known: the intervals of a bound at strengths that are nowhere smaller.

    Raises:
        Uncertified: a step of the model is neither affine nor bounded.
    """
    relaxation = Relaxation(Reach(region, strength), RULES, SEALED, known)
    with torch.enable_grad():
        with relaxation:
            outputs = guarded.model(relaxation.inputs)
        margins = guarded.margins(outputs).flatten(1)
        if not margins.requires_grad:  # what is attacked has no influence
            return Bound(margins.detach().double().amin(1), [])
        relaxation.check(margins)
        if relaxation.mixes(margins):
            raise Uncertified("a sample whose answer depends on other samples of its batch")
        lowest = []
        for some in torch.arange(margins.shape[1], device=margins.device).split(AT_ONCE):
            weights = torch.zeros(len(some), *margins.shape, dtype=margins.dtype, device=margins.device)
            weights[torch.arange(len(some)), :, some] = 1.0
            lowest.append(relaxation.lowest(margins, weights).amin(0))
    smallest = torch.stack(lowest).amin(0)
    return Bound(torch.where(relaxation.lost | smallest.isnan(), -torch.inf, smallest), relaxation.intervals)


def certified_strength(
    guarded: Guarded,
    inputs: Inputs,
    bounds: Bounds,
    scenario: Scenario | str,
    most: Tensor,
    deadline: float | None = None,
) -> Certified:
    """The largest strength that linear bounds certify, to `CLOSE`.

    Args:
        guarded: of this batch.
        inputs: one tensor (B, ...) per modality.
        bounds: the valid range per modality.
        scenario: the changes that the adversary may make.
        most: where the search ends, (B,); a little above the strength of a witness, if there is
            one.
        deadline: by `time.monotonic`; then what is certified so far is returned.

    Raises:
        Uncertified: the model or the scenario cannot be bounded; the message names the step.
        BadInput: as `Region.of`.
    """
    wanted = parse(scenario) if isinstance(scenario, str) else scenario
    if reason := unsupported(wanted):
        raise Uncertified(reason)
    search = _Search(guarded, Region.of(inputs, bounds, wanted), most.double())
    for _ in range(PASSES):
        if not bool(search.left.any()) or (deadline is not None and time.monotonic() > deadline):
            break
        search.go_on()
    return Certified(search.low, ~search.left)


class _Search:
    """Brackets of certified strengths, each sample's own.

    Attributes:
        low: certified. `high`: not certified, or infinite where nothing was tried yet.
    """

    def __init__(self, guarded: Guarded, region: Region, most: Tensor) -> None:
        self._guarded, self._region, self._most = guarded, region, most
        with torch.no_grad():
            clean = guarded.margins(guarded.model(dict(region.inputs))).flatten(1).amin(1).double()
        self._right = clean > 0
        self.low, self.high = torch.zeros_like(most), torch.full_like(most, float("inf"))
        self._below, self._above = clean, torch.full_like(most, -float("inf"))  # bounds at the ends of the brackets
        self._up = torch.zeros_like(most, dtype=torch.bool)
        self._known: list[Ends] = []
        found = edges(region.scenario, float(most.max()))
        self._edges = torch.tensor(found, dtype=most.dtype, device=most.device)

    @property
    def left(self) -> Tensor:
        """The samples whose bracket is not closed yet."""
        return self._right & (self.low < self._most) & (self.high - self.low > CLOSE * self.low)

    def go_on(self) -> None:
        """Try one more strength for each sample that is left."""
        left = self.left
        tried = torch.where(left, self._next(), torch.where(self.high.isfinite(), self.high, self._most))
        bound = bounded(self._guarded, self._region, tried, self._known)
        up, down = left & (bound.margin > 0), left & (bound.margin <= 0)
        self._remember(bound, ~up & left)
        # the end that stays twice counts half, so that the line between the ends moves towards it
        self._above = torch.where(up & self._up, self._above / 2, self._above)
        self._below = torch.where(down & ~self._up, self._below / 2, self._below)
        self.low, self._below = torch.where(up, tried, self.low), torch.where(up, bound.margin, self._below)
        self.high, self._above = torch.where(down, tried, self.high), torch.where(down, bound.margin, self._above)
        self._up = torch.where(left, up, self._up)

    def _next(self) -> Tensor:
        """The end of the search at first; then steps of edits inside the bracket, the middle one
        first; then where a line between the bounds crosses zero.
        """
        share = (self._below / (self._below - self._above)).nan_to_num(nan=0.5).clamp(NEAREST, 1 - NEAREST)
        inside = self.low + share * (self.high - self.low)
        if len(self._edges):
            between = (self._edges > self.low[:, None]) & (self._edges < self.high[:, None])
            middle = (between.cumsum(1) > (between.sum(1) // 2)[:, None]).int().argmax(1)
            inside = torch.where(between.any(1), self._edges[middle], inside)
        return torch.where(self.high.isinf(), self._most, inside)

    def _remember(self, bound: Bound, taken: Tensor) -> None:
        """Keep the intervals of the samples that were not certified: those of smaller strengths lie
        inside.
        """
        if not self._known:
            self._known = [(low.clone(), high.clone()) for low, high in bound.intervals]
            return
        for (low, high), (lower, higher) in zip(self._known, bound.intervals, strict=True):
            low[taken], high[taken] = lower[taken], higher[taken]
