"""Expectation over transforms (Athalye et al., ICML 2018): an objective judged over stored random
draws.

Some edits change before they reach the model: a patch is printed somewhere, a sound echoes, a stuck
sensor holds some value. A sample fails when it fails in at least half of 32 stored draws; an attack
raises the mean loss over the first few of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attacks.edits import Place
from attacks.objective import Objective, Verdict
from attacks.region import Inputs, Region
from attacks.sampling import eot_draws
from attacks.scenario import Ball

STORED = 32  # draws that decide
SEARCHED = 4  # of them, those an attack sees


@dataclass(frozen=True, eq=False)
class Expectation:
    """An objective over draws.

    Attributes:
        balls: those whose edits are received differently in every draw.
        places: where they work, with D random draws each.
        needed: in how many of the D draws a sample must fail.
    """

    objective: Objective
    balls: tuple[Ball, ...]
    places: dict[str, Place]
    needed: int

    @property
    def draws(self) -> int:
        """D."""
        return _stored_draws(next(iter(self.places.values()))).shape[1]

    def __call__(self, inputs: Inputs) -> Verdict:
        """Mean losses and margins; the loss ``margin`` is that of the draw that decides.

        A few draws at a time go through the model as one larger batch.
        """
        received, count = list(self.received(inputs)), len(next(iter(inputs.values())))
        verdicts = [
            self._verdict(received[first : first + SEARCHED], count) for first in range(0, self.draws, SEARCHED)
        ]
        losses = {
            name: torch.cat([_by_draw(verdict.losses[name], count) for verdict in verdicts])
            for name in verdicts[0].losses
        }
        means = {name: each.mean(0) for name, each in losses.items()}
        means["margin"] = losses["margin"].sort(0, descending=True).values[self.needed - 1]
        fails = torch.cat([_by_draw(verdict.fails, count) for verdict in verdicts]).sum(0) >= self.needed
        margins = [_by_draw(verdict.margins, count) for verdict in verdicts if verdict.margins is not None]
        return Verdict(means, fails, torch.cat(margins).mean(0) if margins else None)

    def _verdict(self, received: Sequence[Inputs], count: int) -> Verdict:
        rows = torch.arange(count, device=received[0][self.balls[0].modality].device).repeat(len(received))
        return self.objective.take(rows)({name: torch.cat([each[name] for each in received]) for name in received[0]})

    def received(self, inputs: Inputs) -> Iterable[Inputs]:
        """The inputs of the model in each draw."""
        for draw in range(self.draws):
            received = dict(inputs)
            for ball in self.balls:
                name = ball.modality
                received[name] = ball.edit.received(
                    self.places[name], inputs[name], _stored_draws(self.places[name])[:, draw]
                )
            yield received

    def take(self, rows: Tensor) -> Expectation:
        places = {name: place.take(rows) for name, place in self.places.items()}
        return Expectation(self.objective.take(rows), self.balls, places, self.needed)

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> Expectation:
        """For a search: only the first draws. More than half of them must fail, so that most of all
        draws fail.
        """
        few = {
            name: replace(place, eot_draws=_stored_draws(place)[:, :SEARCHED]) for name, place in self.places.items()
        }
        return replace(self, objective=self.objective.holding(inputs, moving), places=few, needed=SEARCHED // 2 + 1)


def _stored_draws(place: Place) -> Tensor:
    assert place.eot_draws is not None, "an edit that needs draws is judged over some"
    return place.eot_draws


def _by_draw(values: Tensor, count: int) -> Tensor:
    return values.reshape(-1, count, *values.shape[1:])


def judged(objective: Objective, region: Region, samples: Sequence[str], seed: int) -> Objective:
    """The objective of a scenario: over the stored draws, keyed on seed and sample, if its edits
    need draws.
    """
    balls = tuple(ball for ball in region.scenario.edits if ball.edit.draws)
    if not balls:
        return objective
    drawn = {
        ball.modality: eot_draws(ball, samples, seed, STORED).to(region.inputs[ball.modality].device) for ball in balls
    }
    places = {name: replace(region.place(name), eot_draws=draws) for name, draws in drawn.items()}
    return Expectation(objective, balls, places, STORED // 2)


def places_of(objective: Objective, region: Region) -> dict[str, Place]:
    """Where the edits of a region work, with the random draws by which the objective judges
    them.
    """
    plain = {ball.modality: region.place(ball.modality) for ball in region.scenario.edits}
    return plain | (objective.places if isinstance(objective, Expectation) else {})


def draws_of(objective: Objective) -> int:
    """How many model calls an objective needs for one verdict."""
    return objective.draws if isinstance(objective, Expectation) else 1
