"""The checks of trust, one function each: from a model's checked samples under one scenario to a
flag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from attacks.eot import judged
from attacks.names import DEFAULT_LIMIT
from attacks.objective import Named, Objective, judged_gradient
from attacks.region import Inputs, Region
from attacks.search_state import Search, SearchState
from harness.analysis.curves import Share
from harness.engine.answering import NO_SLOPE
from harness.engine.objective import TaskObjective
from harness.run.flags import Flag

STRENGTH = 1.0  # the radii as written, as in the table
FEW = 0.1  # a share of samples that is not worth a flag
TINY_CHANGE = 1e-4  # of a modality's range
TOO_WIDE = 0.3
SUMS_TO_ONE = 1e-4
MOST = 0.5  # a larger share of samples is not chance
AGAIN = 12  # samples searched again
NEARER = 1.02  # a strength that much smaller is another one


@dataclass(frozen=True)
class Tally:
    """All rows of one model under one scenario.

    Attributes:
        samples: how many.
        wrong, withstood: the shares of them that are wrong untouched, and that withstand strength
            1.
        spent: gradient evaluations of a sample that is right untouched, on average.
    """

    samples: int
    wrong: float
    withstood: float
    spent: float


@dataclass(frozen=True, eq=False)
class Nearer:
    """A failure of one sample at a smaller strength than the run's search found.

    Attributes:
        witness: the attacked modalities, (...), on the CPU.
        finder: what found it.
    """

    strength: float
    witness: Inputs
    finder: str


@dataclass(frozen=True, eq=False)
class Case:
    """A model under one scenario, on the samples that are checked.

    Attributes:
        region: around the checked samples, B of them.
        strengths: their critical strengths by the ledger, float64 (B,).
        ledger: all ledger rows of the model and scenario.
        complete: whether every modality is attacked or missing.
        search: the run's.
        again: how many of the samples are searched again.
        nearer: what the checks have found, by sample.
    """

    objective: TaskObjective
    region: Region
    samples: Sequence[str]
    seed: int
    strengths: Tensor
    ledger: Tally
    complete: bool
    search: Search
    again: int = AGAIN
    nearer: dict[str, Nearer] = field(default_factory=dict)

    @cached_property
    def outputs(self) -> Tensor:
        return self.answers(self.region.inputs)

    @cached_property
    def fast(self) -> Objective:
        return self.objective.holding(self.region.inputs, self.region.scenario.attacked_names)

    @cached_property
    def swapped(self) -> Inputs:
        """Each attacked modality with the values of the next sample in the batch."""
        return {name: x.roll(1, 0) for name, x in self.region.clean.items()}

    @cached_property
    def used(self) -> list[str]:
        """The movable modalities whose swap between samples changes an output, or which cannot be
        swapped.
        """
        return [name for name in self.movable if self._matters(name)]

    @cached_property
    def movable(self) -> list[str]:
        """The attacked modalities whose range allows a change."""
        return [
            name
            for name, valid in self.region.ranges.items()
            if bool((torch.as_tensor(valid.high) > torch.as_tensor(valid.low)).any())
        ]

    def _matters(self, name: str) -> bool:
        swapped, clean = self.swapped[name], self.region.inputs[name]
        return torch.equal(swapped, clean) or not torch.equal(
            self.answers({**self.region.inputs, name: swapped}), self.outputs
        )

    def span(self, name: str) -> float:
        """How far values of a modality lie apart: its range, or where that has no end, the data."""
        valid, x = self.region.ranges[name], self.region.inputs[name]
        width = float((torch.as_tensor(valid.high) - torch.as_tensor(valid.low)).max())
        return width if width < float("inf") else float(x.max() - x.min())

    def answers(self, inputs: Inputs) -> Tensor:
        return self.answers_of(self.objective, inputs)

    @staticmethod
    @torch.no_grad()
    def answers_of(objective: TaskObjective, inputs: Inputs) -> Tensor:
        """The outputs of each sample as one vector, (B, N)."""
        return objective.outputs(inputs).flatten(1)

    def found(self, rows: Tensor, search: Search, limit: float, seed: int | None = None) -> Tensor:
        """The critical strengths that a search finds of the given samples, up to a limit, verified,
        float64 (R,).

        Args:
            seed: of the search; by default the run's.
        """
        if not len(rows):
            return self.strengths[rows]
        samples = [self.samples[row] for row in rows.tolist()]
        region = self.region.take(rows)
        state = SearchState(
            judged(self.objective.take(rows), region, samples, self.seed),
            region,
            samples,
            self.seed if seed is None else seed,
            limit,
        )
        search(state)
        self._keep(rows, state)
        return state.best.strength

    def _keep(self, rows: Tensor, state: SearchState) -> None:
        """Note the samples for which a check has found more than the run's search."""
        best, names, known = state.best, self.region.scenario.attacked_names, self.strengths[rows]
        nearer = (best.strength < known / NEARER) | ((best.strength <= STRENGTH) & (known > STRENGTH))
        for place in nearer.nonzero().squeeze(1).tolist():
            sample, strength = state.samples[place], float(best.strength[place])
            if sample not in self.nearer or strength < self.nearer[sample].strength:
                witness = {name: best.witness[name][place].detach().cpu() for name in names}
                self.nearer[sample] = Nearer(strength, witness, best.finder[place])

    def reached(self, rows: Tensor, inputs: Mapping[str, Tensor], finder: str) -> None:
        """Keep failures that an attack has met: attacked modalities (R, ...) of these rows."""
        at = torch.arange(len(rows), device=rows.device)
        self.found(rows, lambda state: state.propose(at, inputs, finder), DEFAULT_LIMIT)

    def broken(self, rows: Tensor, search: Search) -> int:
        """How many of the given samples a search breaks at strength 1, verified."""
        return int((self.found(rows, search, STRENGTH) <= STRENGTH).sum())

    def slopes(self, loss: str) -> Tensor:
        """How far a loss would move across each used modality's span, to first order in its
        steepest value: (B, used).
        """
        _, _, gradient = judged_gradient(self.objective, self.region, self.region.clean, Named(loss))
        return torch.stack([gradient[name].abs().flatten(1).amax(1) * self.span(name) for name in self.used], 1)


def nothing_attacked(case: Case) -> Iterator[Flag]:
    """Value: the share of all samples that are wrong untouched."""
    wrong = case.ledger.wrong
    yield Flag(
        "nothing-attacked",
        wrong == 1,
        wrong,
        f"{wrong:.0%} of the samples are wrong untouched",
        "nothing was attacked",
    )


def wide(case: Case) -> Iterator[Flag]:
    """Value: the width of the 95 % interval at strength 1."""
    low, high = Share(case.ledger.withstood, case.ledger.samples).interval
    found = f"with {case.ledger.samples} samples the 95 % interval spans {high - low:.2f}"
    yield Flag("wide", high - low > TOO_WIDE, high - low, found, "more samples narrow it")


def unused(case: Case) -> Iterator[Flag]:
    """Value: how many of the attacked modalities the model does not use.

    It explains a number, and does not mark it as wrong.
    """
    names = [name for name in case.movable if name not in case.used]
    found = (
        f"the output does not change when {' or '.join(names)} is swapped between samples"
        if names
        else "every attacked modality is used"
    )
    yield Flag("unused", bool(names), len(names), found, "the model does not use it")


def gradient(case: Case) -> Iterator[Flag]:
    """Value: the largest share of samples that have no gradient in a modality which the model
    uses.
    """
    if not case.used:
        return
    flat = (case.slopes("margin") <= NO_SLOPE * _margin(case)[:, None]).double().mean(0)
    share, name = float(flat.max()), case.used[int(flat.argmax())]
    found = f"{share:.0%} of the samples have almost no gradient in {name}"
    yield Flag("gradient", share > FEW, share, found, "attacks by gradients miss failures")


def saturated(case: Case) -> Iterator[Flag]:
    """Value: the share of samples where the cross-entropy's gradient underflows to zero and the
    margin's does not.
    """
    with torch.no_grad():
        losses = case.objective(case.region.inputs).losses
    if "cross_entropy" not in losses or not case.used:
        return
    dead = (case.slopes("cross_entropy") == 0).all(1)
    if bool(dead.any()):
        dead &= (case.slopes("margin") > NO_SLOPE * _margin(case)[:, None]).any(1)
    share = float(dead.double().mean())
    found = f"the cross-entropy's gradient underflows to zero on {share:.0%} of the samples"
    yield Flag("saturated", share > FEW, share, found, "attacks that raise it do not move")


def quantised(case: Case) -> Iterator[Flag]:
    """Value: the largest share of samples whose output a tiny change of every value of a used
    modality leaves as it is.
    """
    inside = {ball.modality for ball in case.region.scenario.attacked if ball.has_norm}  # edits may change much at once
    shares = {name: _unmoved(case, name) for name in case.used if name in inside}
    if not shares:
        return
    name, share = max(shares.items(), key=lambda each: each[1])
    found = (
        f"{share:.0%} of the outputs stay as they are when every value of {name} moves by {TINY_CHANGE:g} of the range"
    )
    yield Flag("quantised", share > MOST, share, found, "it is rounded")


def _unmoved(case: Case, name: str) -> float:
    clean, valid = case.region.inputs[name], case.region.ranges[name]
    step = TINY_CHANGE * case.span(name)
    moved = valid.clamp(torch.where(clean + step <= torch.as_tensor(valid.high), clean + step, clean - step))
    counted = (moved != clean).flatten(1).any(1)
    same = (case.answers({**case.region.inputs, name: moved}) == case.outputs).all(1)
    return float(same[counted].double().mean()) if bool(counted.any()) else 0.0


def _margin(case: Case) -> Tensor:
    with torch.no_grad():
        return case.objective(case.region.inputs).losses["margin"].abs()


def probabilities(case: Case) -> Iterator[Flag]:
    """Value: the share of samples whose outputs are probabilities.

    It explains a number, and does not mark it as wrong.
    """
    with torch.no_grad():
        classified = case.objective(case.region.inputs).margins is not None
    if not classified:
        return
    share = float(((case.outputs >= 0).all(1) & ((case.outputs.sum(1) - 1).abs() < SUMS_TO_ONE)).double().mean())
    found = f"the outputs of {share:.0%} of the samples are positive and add up to 1"
    yield Flag(
        "probabilities",
        share == 1,
        share,
        found,
        "a softmax weakens attacks by the cross-entropy, which expects logits: return logits",
    )


ON_THE_LEDGER = (nothing_attacked, wide)
ON_THE_MODEL = (unused, gradient, saturated, quantised, probabilities)
OF_GRADIENTS = (gradient, saturated, quantised, probabilities)
