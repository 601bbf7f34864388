"""Edits of any kind, alone or beside continuous changes: all modalities move in every step, each in
its own way.

At a strength, norm balls take projected steps and edits choose anew (`Edit.move`); strengths are
found by bisection, sample by sample. A gradient averaged over the steps keeps choices from swinging
to and fro.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.ascent import Ascent, ascend
from attacks.edits import Turn
from attacks.eot import draws_of
from attacks.objective import Named
from attacks.region import Inputs, Region, take
from attacks.sampling import chances, unit_changes
from attacks.search_state import SearchState

MOMENTUM = 0.75
STALE = 0.9  # how much less a value counts for each step that changed it in vain
OPENING = 0.6  # of the best known strength
CLOSE = 1.02
UP = 2.5  # from a strength that was too small, while none is known to do


@dataclass(eq=False)
class Mixed:
    """The moves of both kinds, and their state for each sample. Without edits they are those of
    PGD.
    """

    steps: int
    averaged: Inputs
    fresh: Inputs

    @staticmethod
    def begin(region: Region, steps: int) -> Mixed:
        """Before the first of so many steps."""
        edited = [ball.modality for ball in region.scenario.edits]
        return Mixed(
            steps,
            {n: torch.zeros_like(region.inputs[n]) for n in edited},
            {n: torch.ones_like(region.inputs[n]) for n in edited},
        )

    def move(self, ascent: Ascent, value: Tensor, gradient: Inputs, better: Tensor, step: int) -> Inputs:
        region, strength, moved = ascent.region, ascent.strength, {}
        for ball in region.scenario.edits:
            name, x = ball.modality, region.inputs[ball.modality]
            self.averaged[name] = MOMENTUM * self.averaged[name] + (1 - MOMENTUM) * gradient[name]
            self.fresh[name] = torch.where(ascent.at[name] != x, STALE * self.fresh[name], self.fresh[name])
            turn = Turn(ascent.at[name], ascent.best[name], self.averaged[name], self.fresh[name], step, self.steps)
            moved[name] = ball.edit.move(region.place(name), strength * ball.radius, turn)
        plain = region.plain
        if plain.scenario.attacked:
            length = strength * (1 + math.cos(math.pi * step / self.steps)) / 2
            moved |= plain.step({name: ascent.at[name] for name in plain.ranges}, gradient, length, strength)
        return moved

    def take(self, rows: Tensor) -> Mixed:
        return Mixed(self.steps, take(self.averaged, rows), take(self.fresh, rows))


def mixed(state: SearchState, *, steps: int, rounds: int) -> None:
    """Attack at strengths found by bisection, below the best known one of each sample.

    Args:
        steps: gradient evaluations of one attack, times the draws where edits need them.
        rounds: attacks on each sample.

    Raises:
        ModelBroke: the model answers NaN.
    """
    too_small = torch.zeros_like(state.best.strength)
    for number in range(rounds):
        best = state.best.strength
        tried = _tried(best, too_small, state.limit)
        rows = ((best > 0) & (best > too_small * CLOSE) & (too_small < state.limit)).nonzero().squeeze(1)
        if not len(rows):
            return
        region, strength = state.region.take(rows), tried[rows]
        samples = [state.samples[row] for row in rows.tolist()]
        start = edited(region, strength, samples, state.seed, number) | scattered(
            region, strength, samples, state.seed, number
        )
        loss, mover = Named(state.losses[0]), Mixed.begin(region, steps)
        attempt = ascend(state.fast.take(rows), region, strength, mover, steps=steps, loss=loss, start=start)
        state.spend(rows, attempt.gradients * draws_of(state.fast))
        met = attempt.fails.nonzero().squeeze(1)
        state.propose(rows[met], take(attempt.inputs, met), f"mixed-{steps}")
        lost = rows[state.best.strength[rows] > strength * (1 + 1e-9)]
        too_small[lost] = torch.maximum(too_small[lost], tried[lost])


def _tried(best: Tensor, too_small: Tensor, limit: float) -> Tensor:
    """The most informative strength to try: between the known bounds, or on the way up."""
    below = torch.where(too_small > 0, (too_small * best).sqrt(), best * OPENING)
    above = torch.where(too_small > 0, too_small * UP, 1.0).clamp(max=limit)
    return torch.where(best.isfinite(), below, above)


def edited(region: Region, strength: Tensor, samples: Sequence[str], seed: int, restart: object) -> Inputs:
    """Where an attack on the edited modalities starts, each by its own rule; strength (B,)."""
    at = {}
    for ball in region.scenario.edits:
        chance = chances(ball, region.inputs[ball.modality], samples, seed, restart)
        at[ball.modality] = ball.edit.start(region.place(ball.modality), strength * ball.radius, chance)
    return at


def scattered(region: Region, strength: Tensor, samples: Sequence[str], seed: int, restart: object) -> Inputs:
    """Where an attack inside norm balls starts at random; strength (B,)."""
    plain = region.plain
    return plain.shifted(unit_changes(plain.scenario, plain.clean, samples, seed, restart), strength)
