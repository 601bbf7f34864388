"""Attacks at one strength as searches: they propose their results at the radii as written to the
search state.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from attacks.boundary_bisection import bisect_to_boundary
from attacks.errors import BadInput
from attacks.region import Inputs, Region, take
from attacks.search_state import Search, SearchState

STRENGTH = 1.0  # the radii as written
KEYED = ("samples", "seed")  # the keys of randomness, passed to attacks that take them
ARGUMENTS = 3  # objective, region and strength come first


@runtime_checkable
class Reached(Protocol):
    """The result of an attack, such as `attacks.ascent.Attempt` and `attacks.fmn.Nearest`."""

    @property
    def inputs(self) -> Inputs:
        """The attacked modalities."""

    @property
    def fails(self) -> Tensor:
        """Whether the sample fails there, bool (B,)."""

    @property
    def gradients(self) -> Tensor | int:
        """Gradient evaluations spent on each sample."""


@runtime_checkable
class FixedAttack(Protocol):
    """An attack that stays within a strength.

    It may also take `samples` and `seed`, to key its randomness on.
    """

    def __call__(self, objective: Any, region: Region, strength: float, /, *_: Any, **options: Any) -> Reached: ...


@runtime_checkable
class Choosy(Protocol):
    """An attack that cannot attack everything."""

    def check(self, region: Region, classes: int | None, options: dict[str, Any]) -> None:
        """Raise BadInput if it cannot attack such a region of an objective with so many classes
        (None: no classifier).
        """


def fixed_attack(target: Any) -> FixedAttack:
    """The attack of a name: a function of (objective, region, strength), or a bridged class of
    torchattacks.

    Raises:
        BadInput: it is neither.
    """
    if isinstance(target, type):
        from attacks.torchattacks_bridge import Bridge  # the library is loaded when it is used

        return Bridge(target)
    if not callable(target) or len(inspect.signature(target).parameters) < ARGUMENTS:
        raise BadInput(f"{target!r} is not an attack: name a function of (objective, region, strength)")
    return target  # type: ignore[no-any-return]


def free_options(attack: FixedAttack) -> dict[str, inspect.Parameter]:
    """The options of an attack: its parameters with a plain default."""
    parameters = list(inspect.signature(attack).parameters.items())[ARGUMENTS:]
    return {
        name: each
        for name, each in parameters
        if name not in KEYED and isinstance(each.default, (bool, int, float, str))
    }


@dataclass(frozen=True, eq=False)
class FixedBudget:
    """A search that attacks, at strength 1, the samples that withstand it so far.

    A success is pulled back along the straight line to the clean input before it is proposed.

    Attributes:
        name: the finder's name in the ledger.
    """

    name: str
    attack: FixedAttack
    options: Mapping[str, Any] = field(default_factory=dict)

    def check(self, region: Region, classes: int | None) -> None:
        """Raise BadInput if the attack cannot attack such a region; `classes` is None if the model
        is not a classifier.
        """
        if (steps := self.options.get("steps", 1)) < 1:
            raise BadInput(f"attack {self.name!r}: option steps must be at least 1, not {steps}")
        for ball in region.scenario.edits:
            raise BadInput(
                f"attack {self.name!r} changes inputs inside a norm, but {ball} allows edits: "
                f"attack {ball.modality}@linf:0.1 in its place, or leave the attack out"
            )
        if isinstance(self.attack, Choosy):
            self.attack.check(region, classes, dict(self.options))

    def __call__(self, state: SearchState) -> None:
        rows = (state.best.strength > STRENGTH).nonzero().squeeze(1)
        if not len(rows):
            return
        objective, region = state.fast.take(rows), state.region.take(rows)
        reached = self.attack(objective, region, STRENGTH, **self.options, **self._keys(state, rows))
        state.spend(rows, reached.gradients)
        state.note(rows, region.inside(reached.inputs, STRENGTH))
        met = reached.fails.nonzero().squeeze(1)
        if len(met):
            there = region.take(met)
            state.propose(
                rows[met],
                bisect_to_boundary(objective.take(met), there, there.inside(take(reached.inputs, met), STRENGTH)),
                self.name,
            )

    def _keys(self, state: SearchState, rows: Tensor) -> dict[str, Any]:
        keys = {"samples": [state.samples[row] for row in rows.tolist()], "seed": state.seed}
        return {name: value for name, value in keys.items() if name in inspect.signature(self.attack).parameters}


@dataclass(frozen=True, eq=False)
class InTurn:
    """Several searches of the same state, one after the other; `summary` is shown by `list`.

    If one after the first raises, what the others find stays, and the error is kept in the state.
    """

    searches: tuple[Search, ...]
    summary: str = ""

    @property
    def gradients(self) -> bool:
        """Whether the first search follows gradients."""
        return all(getattr(search, "gradients", True) for search in self.searches[:1])

    def __call__(self, state: SearchState) -> None:
        for number, search in enumerate(self.searches):
            try:
                search(state)
            except (Exception, SystemExit) as error:
                if not number:
                    raise
                state.errors.append(error)


NONE = InTurn((), "No search: only the attacks of --attack, and the witnesses of smaller scenarios")
