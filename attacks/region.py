"""The region an adversary may reach: clean inputs, the balls of a scenario, and the valid
ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attacks.edits import Place
from attacks.errors import BadInput, unknown
from attacks.norms import per_sample
from attacks.scenario import Ball, Scenario, parse

REACH_STEPS = 10  # of Newton's method; each but the last meets a value's bound
FURTHEST = 1e12  # a strength that stands for all that is larger

Inputs = dict[str, Tensor]
"""The inputs of a model: one tensor (B, ...) for each modality."""

TRIES = 5  # to bring a change back inside of a strength, where rounding left it outside
MOST = 0.5  # the largest share of the strength that this takes away


@dataclass(frozen=True, eq=False)
class Range:
    """The valid values of one modality, in raw units; may be infinite.

    `low` and `high` broadcast against the modality's tensor (B, ...): a scalar, one value per
    feature, or one per sample and feature. Values that must not change (padding) have low equal to
    high.
    """

    low: Tensor | float
    high: Tensor | float

    def over(self, x: Tensor) -> Range:
        """The range with both ends expanded (without a copy) to the shape of `x`.

        Raises:
            BadInput: the shape of an end does not fit, or low lies above high.
        """
        ends = [torch.as_tensor(end, dtype=x.dtype, device=x.device) for end in (self.low, self.high)]
        try:
            low, high = (end.expand_as(x) for end in ends)
        except RuntimeError:
            shapes = " and ".join(str(tuple(end.shape)) for end in ends)
            raise BadInput(
                f"a range with ends of shape {shapes} does not fit values of shape {tuple(x.shape)}"
            ) from None
        if bool((ends[0] > ends[1]).any()):
            raise BadInput(f"a range from {ends[0].max():g} to {ends[1].min():g} is empty: low must not lie above high")
        return Range(low, high)

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        return torch.as_tensor(self.low), torch.as_tensor(self.high)

    def clamp(self, x: Tensor) -> Tensor:
        return torch.clamp(x, *self.ends)


Bounds = Mapping[str, Range]
"""The valid range of each modality; a modality that is left out is unbounded."""

UNBOUNDED = Range(float("-inf"), float("inf"))


def take(inputs: Mapping[str, Tensor], rows: Tensor) -> Inputs:
    """The chosen rows of every modality."""
    return {name: x[rows] for name, x in inputs.items()}


def select(where: Tensor, yes: Mapping[str, Tensor], no: Mapping[str, Tensor]) -> Inputs:
    """For each sample, `yes` where the mask (B,) is true, else `no`."""
    return {name: torch.where(per_sample(where, x), yes[name], x) for name, x in no.items()}


@dataclass(frozen=True, eq=False)
class Region:
    """The changes that a scenario allows around a batch of clean inputs.

    At strength t a change δ is allowed when ‖δ_m‖ ≤ t · r_m for every attacked modality m and every
    value stays in its range.
    """

    inputs: Inputs
    ranges: dict[str, Range]
    scenario: Scenario

    @staticmethod
    def of(inputs: Inputs, bounds: Bounds, scenario: Scenario | str) -> Region:
        """Check and build.

        Raises:
            BadInput: the scenario or the bounds name a modality the inputs lack, the inputs differ
                in length, an attacked input holds whole numbers, values outside its range or NaN,
                or torch.inference_mode() is on.
        """
        scenario = parse(scenario) if isinstance(scenario, str) else scenario
        _refuse_unusable(inputs, bounds)
        for name in scenario.names:
            if name not in inputs:
                raise BadInput(
                    f"modality {name!r} of scenario '{scenario}' is not among the inputs ({', '.join(inputs)})"
                )
        for name in scenario.attacked_names:
            if not inputs[name].is_floating_point():
                raise BadInput(
                    f"modality {name!r} holds {inputs[name].dtype}, which has no gradients: convert it with .float()"
                )
        ranges = {name: bounds.get(name, UNBOUNDED).over(inputs[name]) for name in scenario.attacked_names}
        for name, valid in ranges.items():
            x = inputs[name]
            if not bool(((x >= valid.low) & (x <= valid.high)).all()):
                raise BadInput(
                    f"modality {name!r} has values outside its range, or NaN (its values span {x.min():g} to"
                    f" {x.max():g}): mend the data or the range"
                )
        for ball in scenario.edits:
            fault = ball.edit.fault(Place(inputs[ball.modality], *ranges[ball.modality].ends))
            if fault:
                raise BadInput(
                    f"modality {ball.modality!r} {fault}: mend the data, or attack it in a norm, as in"
                    f" {ball.modality}@linf:0.1"
                )
        return Region({name: x.clone() if x.is_inference() else x for name, x in inputs.items()}, ranges, scenario)

    @property
    def clean(self) -> Inputs:
        """The untouched values of the attacked modalities."""
        return {name: self.inputs[name] for name in self.ranges}

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def place(self, name: str) -> Place:
        """Where an edit of one modality works."""
        return Place(self.inputs[name], *self.ranges[name].ends)

    def take(self, rows: Tensor) -> Region:
        ranges = {
            name: Range(torch.as_tensor(r.low)[rows], torch.as_tensor(r.high)[rows]) for name, r in self.ranges.items()
        }
        return Region(take(self.inputs, rows), ranges, self.scenario)

    def continuous(self, edited: Mapping[str, Tensor]) -> Region:
        """The same without the balls that allow edits, with these edited modalities in place of the
        clean ones.
        """
        scenario = self.scenario.continuous
        return Region(
            {**self.inputs, **edited}, {name: self.ranges[name] for name in scenario.attacked_names}, scenario
        )

    @cached_property
    def plain(self) -> Region:
        """The same without the balls that allow edits."""
        return self.continuous({})

    def complete(self, attacked: Mapping[str, Tensor]) -> Inputs:
        """Full inputs: the given attacked modalities, the clean rest."""
        return {**self.inputs, **attacked}

    def gauge(self, candidate: Mapping[str, Tensor], dtype: torch.dtype = torch.float64) -> Tensor:
        """The smallest strength that allows the candidate, max_m ‖δ_m‖ / r_m, (B,)."""
        sizes = [
            ball.size(self.inputs[ball.modality], candidate[ball.modality], dtype) / ball.radius
            for ball in self.scenario.attacked
        ]
        return torch.stack(sizes).amax(0)

    def slope(self, at: Mapping[str, Tensor], gradient: Mapping[str, Tensor]) -> Tensor:
        """How fast a loss can rise at `at` with the strength, to first order, (B,): Σ_m r_m
        ‖∇_m‖_dual, over values with room.
        """
        rates = []
        for ball in self.scenario.attacked:
            name, valid = ball.modality, self.ranges[ball.modality]
            room = torch.where(gradient[name] > 0, at[name] < valid.high, at[name] > valid.low)
            rates.append(ball.radius * ball.norm.dual(torch.where(room, gradient[name], 0.0)))
        return torch.stack(rates).sum(0)

    def needed(self, at: Mapping[str, Tensor], value: Tensor, gradient: Mapping[str, Tensor]) -> Tensor:
        """The amount that a linear loss with this value (B,) and gradient at `at` needs to reach
        zero, at the clean inputs, float64 (B,).
        """
        lacking = -value.double()
        for name, x in self.clean.items():
            lacking = lacking - (gradient[name] * (x - at[name])).flatten(1).sum(1, dtype=torch.float64)
        return lacking

    def gained_by(self, gradient: Mapping[str, Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """The most that changes inside the balls at a strength (B,) add to a linear loss, Σ_m h_m(t
        · r_m), and its slope.
        """
        supports = [
            (ball.radius, ball.norm.support(gradient[ball.modality], *self._slack[ball.modality]))
            for ball in self.scenario.attacked
        ]

        def gained(strength: Tensor) -> tuple[Tensor, Tensor]:
            total, rate = torch.zeros_like(strength), torch.zeros_like(strength)
            for radius, support in supports:
                most, faster = support(strength * radius)
                total, rate = total + most, rate + radius * faster
            return total, rate

        return gained

    def reach(self, needed: Tensor, gradient: Mapping[str, Tensor]) -> Tensor:
        """The smallest strength at which changes inside the balls add the needed amount, float64
        (B,), to a linear loss.

        Their gain is concave in the strength, so Newton's method from the left never passes the
        root.

        Returns:
            float64 (B,): 0 where nothing is needed, inf where nothing in range adds enough.
        """
        gained = self.gained_by(gradient)
        strength = torch.zeros_like(needed)
        for _ in range(REACH_STEPS):
            total, rate = gained(strength.clamp(max=FURTHEST))
            lacking = (needed - total).clamp_min(0)
            # a rate of zero: nothing in range adds more
            strength = strength + torch.where(lacking > 0, lacking / rate, 0.0)
        return strength

    def gains(self, ball: Ball, gradient: Tensor, strengths: Sequence[float]) -> Tensor:
        """The most that changes inside one ball add to a linear loss at these strengths, and its
        slope, float64 (B, 2, strengths).
        """
        support = ball.norm.support(gradient, *self._slack[ball.modality])
        found = []
        for strength in strengths:
            most, rate = support(
                torch.full((len(gradient),), strength * ball.radius, dtype=torch.float64, device=gradient.device)
            )
            found.append(torch.stack([most, ball.radius * rate], 1))
        return torch.stack(found, 2)

    def extreme(self, gradient: Mapping[str, Tensor], strength: Tensor) -> Inputs:
        """The allowed inputs at strength (B,) at which a linear loss of this gradient is
        highest.
        """
        moved = {}
        for ball in self.scenario.attacked:
            x = self.inputs[ball.modality]
            change = ball.norm.extreme(
                gradient[ball.modality], (strength * ball.radius).to(x.dtype), *self._slack[ball.modality]
            )
            moved[ball.modality] = self.ranges[ball.modality].clamp(x + change)
        return moved

    @cached_property
    def _slack(self) -> dict[str, tuple[Tensor, Tensor]]:
        """How far down and up each value may go."""
        return {
            name: (valid.low - self.inputs[name], valid.high - self.inputs[name]) for name, valid in self.ranges.items()
        }

    def project(self, candidate: Mapping[str, Tensor], strength: Tensor) -> Inputs:
        """The nearest allowed inputs at strength (B,), modality by modality; edits are left as they
        are.
        """
        projected = {ball.modality: candidate[ball.modality] for ball in self.scenario.edits}
        for ball in self.scenario.continuous.attacked:
            x, valid = self.inputs[ball.modality], self.ranges[ball.modality]
            radius = (strength * ball.radius).to(x.dtype)
            delta = ball.norm.project(candidate[ball.modality] - x, radius, *self._slack[ball.modality])
            projected[ball.modality] = valid.clamp(x + delta)  # x + (high - x) may round past high
        return projected

    def inside(self, at: Mapping[str, Tensor], strength: Tensor | float) -> Inputs:
        """The change, made a little smaller where rounding left it outside of the strength (B,): a
        curve that is read at exactly that strength would miss it.
        """
        moved = dict(at)
        for number in range(TRIES):
            excess = self.gauge(moved) / strength - 1
            if not bool((excess > 0).any()):
                break
            smaller = self.project(moved, strength * (1 - (2 * 4**number * excess).clamp(0, MOST)))
            moved = select(excess > 0, smaller, moved)
        return moved

    def step(
        self, at: Mapping[str, Tensor], gradient: Mapping[str, Tensor], length: Tensor, strength: Tensor
    ) -> Inputs:
        """One steepest step in every attacked modality, `length` (B,) in units of strength,
        projected.
        """
        moved = {
            ball.modality: (
                at[ball.modality]
                + ball.norm.ascent(gradient[ball.modality])
                * per_sample(length * ball.radius, at[ball.modality]).to(at[ball.modality].dtype)
            )
            for ball in self.scenario.attacked
        }
        return self.project(moved, strength)

    def shifted(self, unit: Mapping[str, Tensor], strength: Tensor) -> Inputs:
        """The clean inputs moved by `strength` (B,) times a change of unit gauge, kept in range."""
        return {
            name: valid.clamp(
                self.inputs[name] + per_sample(strength, self.inputs[name]).to(self.inputs[name].dtype) * unit[name]
            )
            for name, valid in self.ranges.items()
        }


def _refuse_unusable(inputs: Inputs, bounds: Bounds) -> None:
    """Refuse settings that torch would ignore, or would answer with a less clear error."""
    if torch.is_inference_mode_enabled():
        raise BadInput("attacks need gradients, but torch.inference_mode() is on: use torch.no_grad() in its place")
    lengths = {name: len(x) for name, x in inputs.items()}
    if len(set(lengths.values())) > 1:
        raise BadInput(
            f"modalities of unequal length: {', '.join(f'{name} has {length}' for name, length in lengths.items())}"
        )
    for name in bounds:
        if name not in inputs:
            raise unknown("modality", name, inputs, where=" in the bounds")
