"""The search for the critical strength: the interface of every search algorithm.

The critical strength t* of a sample is the smallest t at which it fails. A search returns an upper
bound found by attack, with the witness that proves it. It is not a certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from attacks.eot import judged
from attacks.errors import BadInput
from attacks.names import DEFAULT_LIMIT
from attacks.nearest_classes import NearestClasses
from attacks.objective import Objective
from attacks.region import UNBOUNDED, Bounds, Inputs, Region, take
from attacks.sampling import unit_changes
from attacks.scenario import Scenario, closure
from attacks.verify import verify

UNTOUCHED, NONE = "untouched", "none"


@dataclass(frozen=True, eq=False)
class Found:
    """The best known critical strengths of a batch.

    Attributes:
        strength: float64 (B,): 0 where the sample fails untouched, inf where nothing was found up
            to the search limit.
        witness: full inputs that fail at that strength; the clean inputs where nothing was found.
        finder: what found each witness.
        gradients: gradient evaluations spent on each sample, int64 (B,).
        queries: model calls of a search without gradients, int64 (B,).
    """

    strength: Tensor
    witness: Inputs
    finder: list[str]
    gradients: Tensor
    queries: Tensor


@runtime_checkable
class Watch(Protocol):
    """Receives every change that a search of graded answers meets."""

    @property
    def first(self) -> bool:
        """Whether the present search of these inputs is the first."""

    def begin(self, state: SearchState) -> None:
        """A search begins: known changes may be proposed."""

    def observe(self, rows: Tensor, strength: Tensor, inputs: Inputs) -> None:
        """Full inputs (R, ...) of these rows, changed by strengths (R,)."""


@dataclass(eq=False)
class SearchState:
    """One search in progress: the problem, and the best verified witness of every sample so far.

    Attributes:
        objective: the whole model, asked whenever a witness is verified.
        fast: an equal objective that reuses its results on the untouched modalities.
        losses: the names of the losses an attack may ascend, in the objective's order.
        shared: the nearest classes, as the scenarios of one batch share them; `nearest_classes`
            has them.
        singles: what was found with each attacked modality alone, where there are several.
        watch: receives every change, if the answers are graded.
        graded: whether the answers decay instead of flipping.
        errors: of attacks that followed the search, and left what it found.
    """

    objective: Objective
    region: Region
    samples: Sequence[str]
    seed: int
    limit: float
    shared: InitVar[NearestClasses | None] = None
    singles: Sequence[Found] = ()
    watch: Watch | None = None
    graded: bool = field(init=False)
    nearest_classes: NearestClasses = field(init=False)
    fast: Objective = field(init=False)
    losses: tuple[str, ...] = field(init=False)
    best: Found = field(init=False)
    errors: list[BaseException] = field(default_factory=list, init=False)

    def __post_init__(self, shared: NearestClasses | None) -> None:
        inputs = self.region.inputs
        self.fast = self.objective.holding(inputs, self.region.scenario.attacked_names)
        balls = self.region.scenario.continuous.attacked
        self.nearest_classes = shared or NearestClasses(self.objective, self.region, balls, self.samples, self.seed)
        with torch.no_grad():
            verdict = self.objective(inputs)
        self.losses, self.graded = tuple(verdict.losses), verdict.scores is not None
        strength = torch.full(verdict.fails.shape, float("inf"), dtype=torch.float64, device=verdict.fails.device)
        finder = [UNTOUCHED if failed else NONE for failed in verdict.fails.tolist()]
        spent = torch.zeros_like(verdict.fails, dtype=torch.int64)
        self.best = Found(strength.masked_fill(verdict.fails, 0.0), inputs, finder, spent, spent.clone())

    def propose(self, rows: Tensor, attacked: Mapping[str, Tensor], finder: str) -> None:
        """Take the candidates (one for each of `rows`) that are better than the best known and
        verify.
        """
        region = self.region.take(rows)
        strength = region.gauge(attacked)
        self._show(rows, region, strength, attacked)
        better = ((strength < self.best.strength[rows]) & (strength <= self.limit)).nonzero().squeeze(1)
        if not len(better):
            return
        region, strength, rows = region.take(better), strength[better], rows[better]
        witness = region.complete(take(attacked, better))
        good = verify(self.objective.take(rows), region.inputs, witness, region.ranges, region.scenario, strength)
        self._record(rows[good], strength[good], take(witness, good), finder)

    def note(self, rows: Tensor, attacked: Mapping[str, Tensor]) -> None:
        """Show changes that may not fail to the watcher, if there is one."""
        if self.watch is not None:
            region = self.region.take(rows)
            self._show(rows, region, region.gauge(attacked), attacked)

    def _show(self, rows: Tensor, region: Region, strength: Tensor, attacked: Mapping[str, Tensor]) -> None:
        if self.watch is None:
            return
        inside = (strength <= self.limit).nonzero().squeeze(1)
        if len(inside):
            inputs = region.take(inside).complete(take(attacked, inside))
            self.watch.observe(rows[inside], strength[inside], inputs)

    def _record(self, rows: Tensor, strength: Tensor, witness: Inputs, finder: str) -> None:
        chosen = set(rows.tolist())
        self.best = replace(
            self.best,
            strength=self.best.strength.index_copy(0, rows, strength),
            witness={name: x.index_copy(0, rows, witness[name]) for name, x in self.best.witness.items()},
            finder=[finder if row in chosen else before for row, before in enumerate(self.best.finder)],
        )

    def draw(self, rows: Tensor, restart: int) -> Inputs:
        """Random changes of gauge at most 1 for the given rows."""
        samples = [self.samples[row] for row in rows.tolist()]
        return unit_changes(self.region.scenario, take(self.region.clean, rows), samples, self.seed, restart)

    def spend(self, rows: Tensor, gradients: Tensor | int) -> None:
        """Add gradient evaluations to the count of the given rows."""
        self.best.gradients[rows] += gradients

    def query(self, rows: Tensor, calls: int) -> None:
        """Add model calls of a search without gradients to the count of the given rows."""
        self.best.queries[rows] += calls


@runtime_checkable
class Search(Protocol):
    """A search algorithm: improves the best known witnesses of a state by proposing candidates."""

    def __call__(self, state: SearchState) -> None: ...


def search_all(
    algorithm: Search,
    objective: Objective,
    inputs: Inputs,
    bounds: Bounds,
    scenarios: Iterable[Scenario],
    *,
    samples: Sequence[str] | None = None,
    seed: int = 0,
    limit: float = DEFAULT_LIMIT,
    on_error: Callable[[Scenario, BaseException], None] | None = None,
    on_attack_error: Callable[[Scenario, BaseException], None] | None = None,
    watch: Callable[[Scenario, Region], Watch] | None = None,
) -> Iterator[tuple[Scenario, Found]]:
    """Search scenarios that miss the same modalities, and all their sub-scenarios, from small to
    large.

    Each search starts from the best witnesses of its sub-scenarios. A smaller scenario that is no
    sub-scenario (the same modalities in smaller balls) passes its witnesses on when the search has
    ended. So it can only correct a violation of the order, and never influences a search.

    Args:
        samples: names of the samples, to key randomness on; row numbers if absent.
        on_error: called with a scenario whose search raised, and with each scenario above it, which
            is left out, too. It may raise again. Without it, the exception ends the search.
        on_attack_error: called with a scenario where an attack after the search raised; what the
            search found stays. It may raise again.
        watch: gives the receiver of every change under a scenario, if the answers are graded.

    Yields:
        each scenario with what was found, sub-scenarios included, every one after all below it.
    """
    names = _checked(samples, len(next(iter(inputs.values()))), limit)
    done: dict[Scenario, Found] = {}
    failed: dict[Scenario, BaseException] = {}
    everything = closure(scenarios)
    nearest_classes: NearestClasses | None = None
    for scenario in everything:
        below = scenario.below()
        try:
            if broken := [failed[smaller] for smaller in below if smaller in failed]:
                raise broken[0]
            singles = [done[smaller] for smaller in below if len(smaller.attacked) == 1]
            region = Region.of(inputs, bounds, scenario)
            if scenario.attacked and not scenario.edits:
                nearest_classes = nearest_classes or _shared_classes(objective, region, bounds, everything, names, seed)
            shared = None if scenario.edits else nearest_classes
            watcher = None if watch is None else watch(scenario, region)
            over = judged(objective, region, names, seed)
            state = SearchState(over, region, names, seed, limit, shared, singles, watcher)
            _run(algorithm, state, done)
            for error in state.errors:
                _reported(on_attack_error, scenario, error)
        except (Exception, SystemExit) as error:
            if on_error is None:
                raise
            on_error(scenario, error)
            failed[scenario] = error
            continue
        done[scenario] = state.best
        yield scenario, state.best


def _reported(
    report: Callable[[Scenario, BaseException], None] | None, scenario: Scenario, error: BaseException
) -> None:
    if report is None:
        raise error
    report(scenario, error)


def _checked(samples: Sequence[str] | None, count: int, limit: float) -> Sequence[str]:
    """The names of the samples.

    Raises:
        BadInput: they are too many or too few, or the limit is not positive.
    """
    if not limit > 0:
        raise BadInput(f"limit {limit}: the largest strength searched must be positive")
    if samples is None:
        return [str(row) for row in range(count)]
    if len(samples) != count:
        raise BadInput(f"{len(samples)} sample names for {count} samples: name every sample, or give no names")
    return samples


def _run(algorithm: Search, state: SearchState, done: Mapping[Scenario, Found]) -> None:
    """One search, between what the scenarios below hand up before it and the smaller ones after."""
    scenario = state.region.scenario
    below = scenario.below()
    if state.watch is not None:
        state.watch.begin(state)
    _hand_up(state, {smaller: done[smaller] for smaller in below})
    if scenario.attacked:
        algorithm(state)
    _hand_up(state, {smaller: each for smaller, each in done.items() if smaller < scenario and smaller not in below})


def _shared_classes(
    objective: Objective,
    region: Region,
    bounds: Bounds,
    scenarios: Iterable[Scenario],
    samples: Sequence[str],
    seed: int,
) -> NearestClasses:
    """The nearest classes in all scenarios without edits."""
    balls = list(dict.fromkeys(ball for scenario in scenarios if not scenario.edits for ball in scenario.attacked))
    ranges = {ball.modality: bounds.get(ball.modality, UNBOUNDED).over(region.inputs[ball.modality]) for ball in balls}
    return NearestClasses(objective, replace(region, ranges=ranges), balls, samples, seed)


def _hand_up(state: SearchState, smaller: Mapping[Scenario, Found]) -> None:
    for scenario, found in smaller.items():
        rows = found.strength.isfinite().nonzero().squeeze(1)
        if len(rows):
            state.propose(
                rows, {name: found.witness[name][rows] for name in state.region.ranges}, f"witness of {scenario}"
            )
