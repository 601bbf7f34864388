"""The trust checks that attack: does the run's search find the failures that exist?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from attacks.ascent import Attempt
from attacks.edits import Ranked
from attacks.fixed_budget import FixedAttack, FixedBudget, InTurn
from attacks.looks import look_at_classes
from attacks.mixed import scattered
from attacks.names import DEFAULT_LIMIT
from attacks.objective import Named, Objective, Verdict, classification_verdict
from attacks.region import Inputs, Region, take
from attacks.sampling import chances, unit_changes
from attacks.search_state import SearchState
from harness.engine.answering import NO_SLOPE
from harness.engine.objective import TaskObjective
from harness.engine.searches import search_of
from harness.references.registry import resolve
from harness.run.flags import Flag
from harness.trust.checks import FEW, MOST, NEARER, STRENGTH, Case

UNLIMITED_STRENGTH, UNLIMITED_STEPS = 100.0, 50
QUERIES = 75  # queries of the black-box search
QUERIES_AGAIN = 300  # of the search without gradients, where the run's search misses planted failures
LEAST_STEPS = 10
LATE = 0.05  # the share of the loss's rise in the last tenth of the steps
MANY = 0.25
AROUND = 16  # random points of half the ball, which the planted readout calls right
STANDS_OUT = 0.9  # the place of the threshold between these points and the planted one


def blackbox(case: Case) -> Iterator[Flag]:
    """Value: the share of samples that withstand strength 1 by the ledger, and fail there by a
    search without gradients.
    """
    rows = (case.strengths > STRENGTH).nonzero().squeeze(1)
    attack: FixedAttack = resolve("attack", "square").target
    count = case.broken(rows, FixedBudget("square", attack, {"steps": QUERIES}))
    found = f"a search without gradients breaks {count} of {len(rows)} samples that withstood"
    yield Flag("blackbox", count > 0, count / max(len(rows), 1), found, "the search missed them")


def unlimited(case: Case) -> Iterator[Flag]:
    """Value: the share of samples that withstand an attack that may change every present modality
    almost without limit.
    """
    if not case.complete:
        return
    rows = case.strengths.isinf().nonzero().squeeze(1)
    for loss in ("margin", _first_loss(case)):
        if len(rows):
            region, reach = case.region.take(rows), 2 * case.region.gauge(case.swapped)[rows]
            limit = reach.clamp_min(UNLIMITED_STRENGTH)
            attack = resolve("attack", "apgd").target
            reached = attack(case.fast.take(rows), region, limit, steps=UNLIMITED_STEPS, loss=Named(loss))
            case.reached(rows[reached.fails], take(reached.inputs, reached.fails), "unlimited")
            rows = rows[~reached.fails]
    share = len(rows) / len(case.samples)
    found = f"{share:.0%} of the samples withstand an unlimited change of every modality"
    yield Flag("unlimited", share > 0, share, found, "the attack fails, which does not show robustness")


@dataclass(frozen=True)
class Again:
    """APGD at strength 1 from a random start, by `steps` gradient evaluations."""

    loss: str
    steps: int
    attack: Callable[..., Attempt] = field(default_factory=lambda: resolve("attack", "apgd").target)

    def __call__(
        self, objective: Objective, region: Region, strength: float, /, *, samples: Sequence[str], seed: int
    ) -> Attempt:
        radius = torch.full(
            (len(region),), strength, dtype=torch.float64, device=next(iter(region.inputs.values())).device
        )
        start = region.shifted(
            unit_changes(region.scenario, region.clean, samples, seed, f"trust, {self.loss}"), radius
        )
        return self.attack(objective, region, radius, steps=self.steps, loss=Named(self.loss), start=start)


def budget(case: Case) -> Iterator[Flag]:
    """Value: the share of samples for which a second search finds a failure that the run's search
    should have found.

    They withstand strength 1 by the ledger and fail there when as many gradients are spent again;
    or the linear model of some class's margin has its nearest failure, steps of edits included,
    more than 2 % below the strength of the ledger.
    """
    strengths = case.strengths[: case.again]
    missed = _nearer(case, strengths)
    if not case.region.scenario.edits:
        rows = (strengths > STRENGTH).nonzero().squeeze(1)
        losses = dict.fromkeys(("margin", _first_loss(case)))
        again = case.found(
            rows, InTurn(tuple(FixedBudget(loss, Again(loss, _steps(case))) for loss in losses)), STRENGTH
        )
        missed[rows] |= again <= STRENGTH
    share = float(missed.double().mean())
    found = (
        "a second search, with as many gradients or over every class, finds a nearer failure for"
        f" {share:.0%} of the samples"
    )
    yield Flag("budget", share > FEW, share, found, "the search had not converged")


def queries(case: Case) -> Iterator[Flag]:
    """Value: the share of samples that withstand strength 1 by the ledger and fail there in the
    same search, without gradients, with other random numbers.
    """
    rows = (case.strengths[: case.again] > STRENGTH).nonzero().squeeze(1)
    count = int((case.found(rows, case.search, STRENGTH, case.seed + 1) <= STRENGTH).sum())
    share = count / max(1, len(case.strengths[: case.again]))
    found = f"the same search with other random numbers breaks {count} of {len(rows)} samples that withstood"
    yield Flag("budget", share > FEW, share, found, "the search had not converged")


def without_gradients(case: Case) -> Iterator[Flag]:
    """Look for nearer failures by a search without gradients, where the run's search is blind. The
    flag `planted` says so already.
    """
    if getattr(case.search, "gradients", True) and not any(ball.edit.shared for ball in case.region.scenario.edits):
        rows = torch.arange(len(case.strengths[: case.again]), device=case.strengths.device)
        case.found(rows, search_of(f"blackbox?queries={QUERIES_AGAIN}"), DEFAULT_LIMIT)
    yield from ()


def _nearer(case: Case, strengths: Tensor) -> Tensor:
    """Where a class or a step of an edit is nearer than the strengths (B,), to first order and
    verified, bool (B,).
    """
    found = case.found(torch.arange(len(strengths), device=strengths.device), look_at_classes, DEFAULT_LIMIT)
    return found < strengths / NEARER


def rising(case: Case) -> Iterator[Flag]:
    """Value: the share of withstanding samples whose loss made more than 5 % of its total rise in
    the last tenth of the steps.
    """
    rows = (case.strengths > STRENGTH).nonzero().squeeze(1)
    if not len(rows):
        return
    samples = [case.samples[row] for row in rows.tolist()]
    again = Again("margin", _steps(case))
    reached = again(case.fast.take(rows), case.region.take(rows), STRENGTH, samples=samples, seed=case.seed)
    case.reached(rows[reached.fails], take(reached.inputs, reached.fails), "rising")
    assert reached.late is not None, "APGD records how its loss rose"
    left = reached.late[~reached.fails]
    share = float((left > LATE).double().mean()) if len(left) else 0.0
    found = f"the loss of {share:.0%} of the samples that withstand still rose in the last tenth of the steps"
    yield Flag("rising", share > MOST, share, found, "more steps may break them")


@dataclass(frozen=True, eq=False)
class Planted:
    """Two classes from the model's outputs: per sample, beyond a threshold along a direction is
    wrong.

    Attributes:
        direction: (B, N) of the outputs as one vector.
        threshold: (B,).
    """

    objective: TaskObjective
    direction: Tensor
    threshold: Tensor

    def __call__(self, inputs: Inputs) -> Verdict:
        beyond = (self.objective.answers(inputs).flatten(1) * self.direction).sum(1) - self.threshold
        return classification_verdict(
            torch.stack([torch.zeros_like(beyond), beyond], 1), torch.zeros_like(beyond, dtype=torch.int64)
        )

    def take(self, rows: Tensor) -> Planted:
        return Planted(self.objective.take(rows), self.direction[rows], self.threshold[rows])

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> Planted:
        return Planted(self.objective.holding(inputs, moving), self.direction, self.threshold)


def planted(case: Case) -> Iterator[Flag]:
    """Value: the share of planted failures that the run's search misses (a binarisation test,
    Zimmermann et al., NeurIPS 2022).

    The readout calls a corner of the ball, with a random edit as large as is allowed, wrong, and
    the clean input and random points of half the ball right. Where a gradient cannot rank an edit,
    or an edit is judged over random draws, no failure is planted.
    """
    if not all(isinstance(ball.edit, Ranked) and not ball.edit.draws for ball in case.region.scenario.edits):
        return
    region = case.region.take(torch.arange(min(case.again, len(case.samples)), device=case.strengths.device))
    objective, samples = (
        case.objective.take(torch.arange(len(region), device=case.strengths.device)),
        case.samples[: len(region)],
    )
    edge = torch.full_like(case.strengths[: len(region)], STRENGTH)
    bad = case.answers_of(objective, region.complete(_at_the_edge(case, region, samples, edge)))
    inner = [scattered(region, edge / 2, samples, case.seed, f"planted {turn}") for turn in range(AROUND)]
    right = torch.stack([case.answers_of(objective, region.complete(each)) for each in inner])
    right = torch.cat([case.answers_of(objective, region.inputs)[None], right])
    direction = bad - right.mean(0)
    highest, there = (right * direction).sum(2).amax(0), (bad * direction).sum(1)
    rows = (there > highest + NO_SLOPE * there.abs()).nonzero().squeeze(1)
    if not len(rows):
        return
    aim = Planted(objective, direction, highest + STANDS_OUT * (there - highest)).take(rows)
    state = SearchState(aim, region.take(rows), [samples[row] for row in rows.tolist()], case.seed, 2 * STRENGTH)
    case.search(state)
    share = float((state.best.strength > STRENGTH).double().mean())
    found = f"{share:.0%} of {len(rows)} failures planted at the edge of the ball are missed"
    yield Flag("planted", share > MANY, share, found, "the search misses failures that exist")


def _at_the_edge(case: Case, region: Region, samples: Sequence[str], edge: Tensor) -> Inputs:
    """A random corner of the balls, and random edits of the size that strength `edge` (B,)
    allows.
    """
    plain = region.plain
    corner = unit_changes(plain.scenario, plain.clean, samples, case.seed, "corner")
    far = {name: region.inputs[name] + 1e3 * case.span(name) * each.sign() for name, each in corner.items()}
    moved = plain.project(far, edge)
    for ball in region.scenario.edits:
        assert isinstance(ball.edit, Ranked)
        direction = chances(ball, region.inputs[ball.modality], samples, case.seed, "planted") - 0.5
        moved[ball.modality] = ball.edit.best_edit(region.place(ball.modality), edge * ball.radius, direction)
    return moved


def _steps(case: Case) -> int:
    """Half of the gradient evaluations that the search spent on a sample."""
    return max(LEAST_STEPS, round(case.ledger.spent / 2))


def _first_loss(case: Case) -> str:
    with torch.no_grad():
        return next(iter(case.objective(case.region.inputs).losses))


INSIDE_BALLS = (blackbox, unlimited, rising)  # these move values continuously: not where edits are counted
