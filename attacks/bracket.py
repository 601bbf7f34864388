"""Bracketing search: PGD at one strength after the other, closing in on the critical one.

Doubles the strength until an attack succeeds, then halves the bracket between the smallest strength
that worked and the largest that did not, on a logarithmic scale. A success is pulled back along the
straight line to the clean input first, which costs no gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import cycle, islice, zip_longest

import torch
from torch import Tensor

from attacks.aims import nearest_classes
from attacks.objective import Loss, Named, Toward
from attacks.pgd import pgd
from attacks.region import Inputs, Region, select, take
from attacks.search import Hunt

FIRST_STRENGTH = 1.0
CLOSE = 1.005  # a bracket narrower than this ratio is closed
OPENING = 0.6  # how far below a success to look while no strength is known to be too small


class Start(Enum):
    """Where an attack starts."""

    CLEAN = "clean"
    RANDOM = "random"
    WITNESS = "witness"


@dataclass(frozen=True, eq=False)
class Move:
    """One way of attacking: what to raise, and from where. `aim` (B,) overrules the named loss."""

    loss: str
    start: Start
    aim: Tensor | None = None

    def ascended(self, rows: Tensor) -> Loss:
        return Named(self.loss) if self.aim is None else Toward(self.aim[rows])


@dataclass(frozen=True)
class Bracket:
    """A preset of the bracketing search.

    Attributes:
        summary: shown by `list`.
        steps: gradient evaluations of one attack.
        moves: attacks at each strength, each on the samples that withstood those before it.
        rounds: halvings of the bracket at most.
        pullbacks: halvings of the line search between a success and the clean input.
    """

    summary: str
    steps: int
    moves: int
    rounds: int
    pullbacks: int = 8

    def __call__(self, hunt: Hunt) -> None:
        if not bool((hunt.best.strength > 0).any()):
            return
        moves = self._moves(hunt)
        too_small = torch.zeros_like(hunt.best.strength)
        for number, strength in enumerate(_doubled(hunt.limit)):
            rows = hunt.best.strength.isinf().nonzero().squeeze(1)
            tried = torch.full_like(too_small[rows], strength)
            too_small = self._try(hunt, moves, too_small, rows, tried, number)
        for number in range(self.rounds):
            works = hunt.best.strength
            rows = (works.isfinite() & (works > too_small * CLOSE)).nonzero().squeeze(1)
            middle = torch.where(too_small > 0, (too_small * works).sqrt(), works * OPENING)
            too_small = self._try(hunt, moves, too_small, rows, middle[rows], number)

    def _moves(self, hunt: Hunt) -> list[Move]:
        """The losses in turn, from a random start and from the witness; between them, chosen classes."""
        plain = [Move(loss, start) for start in (Start.RANDOM, Start.WITNESS) for loss in hunt.losses]
        rows = (hunt.best.strength > 0).nonzero().squeeze(1)
        aims, spent = nearest_classes(hunt.fast.take(rows), hunt.region.take(rows), self.moves // 2)
        if aims is None:
            return list(islice(cycle(plain), self.moves))
        hunt.spend(rows, spent)
        everyone = torch.zeros(len(hunt.region), aims.shape[1], dtype=aims.dtype, device=aims.device)
        everyone[rows] = aims
        starts = (Start.CLEAN, Start.RANDOM)
        aimed = [Move(f"class {k + 1}", starts[k % 2], aim) for k, aim in enumerate(everyone.unbind(1))]
        mixed = [move for pair in zip_longest(plain, aimed) for move in pair if move is not None]
        return list(islice(cycle(mixed), self.moves))

    def _try(self, hunt: Hunt, moves: list[Move], too_small: Tensor, rows: Tensor, strength: Tensor, number: int) -> Tensor:
        """Attack the rows at their strengths, and return what is now known to be too small."""
        for index, move in enumerate(moves):
            unbeaten = (hunt.best.strength[rows] > strength).nonzero().squeeze(1)
            if len(unbeaten):
                self._attack(hunt, move, rows[unbeaten], strength[unbeaten], number * self.moves + index)
        unbeaten = (hunt.best.strength[rows] > strength).nonzero().squeeze(1)
        return too_small.index_copy(0, rows[unbeaten], strength[unbeaten])

    def _attack(self, hunt: Hunt, move: Move, rows: Tensor, strength: Tensor, draw: int) -> None:
        region, objective = hunt.region.take(rows), hunt.fast.take(rows)
        start = region.clean
        if move.start is not Start.CLEAN:
            start = region.shifted(hunt.draw(rows, draw), strength)
        if move.start is Start.WITNESS:
            known = hunt.best.strength[rows].isfinite()
            start = select(known, {name: hunt.best.witness[name][rows] for name in region.ranges}, start)
        attempt = pgd(objective, region, strength, steps=self.steps, loss=move.ascended(rows), start=start)
        hunt.spend(rows, attempt.gradients)
        won = attempt.fails.nonzero().squeeze(1)
        if len(won):
            nearer = self._pull_back(hunt, rows[won], region.take(won), take(attempt.inputs, won))
            hunt.offer(rows[won], nearer, f"pgd-{self.steps} {move.loss} from {move.start.value}")

    def _pull_back(self, hunt: Hunt, rows: Tensor, region: Region, failing: Inputs) -> Inputs:
        """The point nearest to the clean input, on the line to it, that still fails."""
        objective = hunt.fast.take(rows)
        change = {name: failing[name] - x for name, x in region.clean.items()}
        safe, fails = torch.zeros(len(rows), device=rows.device), torch.ones(len(rows), device=rows.device)
        for _ in range(self.pullbacks):
            middle = (safe + fails) / 2
            with torch.no_grad():
                failed = objective(region.complete(region.shifted(change, middle))).fails
            safe, fails = torch.where(failed, safe, middle), torch.where(failed, middle, fails)
        return select(fails < 1, region.shifted(change, fails), failing)


def _doubled(limit: float) -> Iterator[float]:
    """1, 2, 4, ... and last the limit itself."""
    strength = min(FIRST_STRENGTH, limit)
    while strength < limit:
        yield strength
        strength *= 2
    yield limit


FAST = Bracket("PGD-10 brackets, 2 attacks a strength: a first look", steps=10, moves=2, rounds=6)
STANDARD = Bracket("PGD-20 brackets, 3 attacks a strength: for numbers to report", steps=20, moves=3, rounds=10)
THOROUGH = Bracket("PGD-50 brackets, 6 attacks a strength: when much hangs on it", steps=50, moves=6, rounds=12)
