"""Scenarios: how the inputs of a model are attacked, and the small language for them.

>>> scenario = parse("image@linf:8/255 + audio@l2:0.5 + text@missing")
>>> str(scenario)
'audio@l2:0.5 + image@linf:8/255 + text@missing'
>>> parse("audio@l2:0.5 + text@missing") <= scenario
True
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING

from attacks.errors import BadInput, unknown
from attacks.names import EDIT_EXAMPLES, NORM_NAMES

if TYPE_CHECKING:
    import torch

    import attacks.edits
    import attacks.norms

INTACT = "intact"
GRAMMAR = (
    "MODALITY@NORM:RADIUS | MODALITY@EDIT:SIZE | MODALITY@missing | MODALITY@intact, joined by '+'; 'intact' alone is"
    " the untouched input"
)
MAX_CLOSED = 3  # up to this many attacked modalities, every sub-scenario is searched first

_TERM = re.compile(r"\s*(?P<name>[^\s@+:]+)\s*@\s*(?P<what>[^\s@+:]+)\s*(?::\s*(?P<radius>\S+)\s*)?$")


@dataclass(frozen=True, order=True)
class Ball:
    """A set of allowed changes of one modality at strength 1: ‖δ‖ ≤ radius, in the modality's raw
    units.

    It may have an edit in place of a norm; at strength t an edit of size t · radius is allowed.
    """

    modality: str
    norm_name: str
    radius: float

    @property
    def has_norm(self) -> bool:
        """Whether a norm bounds the change; else it is an edit."""
        return self.norm_name in NORM_NAMES

    @property
    def norm(self) -> attacks.norms.Norm:
        """The norm.

        Raises:
            BadInput: the ball allows edits.
        """
        if not self.has_norm:
            raise BadInput(f"{self} is an edit and has no norm: name a norm, as in {self.modality}@linf:0.1")
        from attacks.norms import NORMS

        return NORMS[self.norm_name]

    @property
    def edit(self) -> attacks.edits.Edit:
        """The edit of the ball, where it has no norm."""
        from attacks.edits import EDITS

        return EDITS[self.norm_name]

    def size(self, x: torch.Tensor, moved: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """How large the change from `x` to `moved` (B, ...) is, (B,); in float64, if no type is
        named.
        """
        import torch

        dtype = dtype or torch.float64
        if self.has_norm:
            return self.norm.size(moved.to(dtype) - x.to(dtype))
        return self.edit.size(x, moved).to(dtype)

    def __str__(self) -> str:
        return f"{self.modality}@{self.norm_name}:{_number(self.radius)}"


@dataclass(frozen=True)
class Scenario:
    """Which modalities are attacked, each inside a ball, and which are missing; all others are
    intact.

    The order `S <= T` says that every input S allows at a strength, T allows too: both miss the
    same modalities, and every modality attacked in S is attacked in T in the same norm with a
    radius at least as large.
    """

    attacked: tuple[Ball, ...] = ()
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "attacked", tuple(sorted(self.attacked)))
        object.__setattr__(self, "missing", tuple(sorted(self.missing)))
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise BadInput(f"modality {name!r} is named twice in scenario '{self}': name it once")

    @property
    def names(self) -> list[str]:
        """Every modality the scenario mentions."""
        return [ball.modality for ball in self.attacked] + list(self.missing)

    @property
    def attacked_names(self) -> tuple[str, ...]:
        return tuple(ball.modality for ball in self.attacked)

    @property
    def edits(self) -> tuple[Ball, ...]:
        """The balls that allow edits."""
        return tuple(ball for ball in self.attacked if not ball.has_norm)

    @property
    def continuous(self) -> Scenario:
        """The scenario with its norm balls only."""
        return Scenario(tuple(ball for ball in self.attacked if ball.has_norm), self.missing)

    def __str__(self) -> str:
        terms = [str(ball) for ball in self.attacked] + [f"{name}@missing" for name in self.missing]
        return " + ".join(terms) or INTACT

    def __le__(self, other: Scenario) -> bool:
        larger = {ball.modality: ball for ball in other.attacked}
        return self.missing == other.missing and all(
            ball.modality in larger
            and larger[ball.modality].norm_name == ball.norm_name
            and larger[ball.modality].radius >= ball.radius
            for ball in self.attacked
        )

    def __lt__(self, other: Scenario) -> bool:
        return self <= other and self != other

    def below(self) -> list[Scenario]:
        """The proper sub-scenarios: fewer modalities attacked, in the same balls, smallest sets
        first.

        All of them up to `MAX_CLOSED` attacked modalities. Beyond that they would be too many, and
        there are none.
        """
        if len(self.attacked) > MAX_CLOSED:
            return []
        sizes = range(1, len(self.attacked))
        return [Scenario(balls, self.missing) for size in sizes for balls in combinations(self.attacked, size)]


def closure(scenarios: Iterable[Scenario]) -> list[Scenario]:
    """The scenarios and all their sub-scenarios, each once, every one after all that are below
    it.
    """
    everything = {each for scenario in scenarios for each in (*scenario.below(), scenario)}
    return sorted(everything, key=lambda s: (len(s.attacked), s.missing, [b.radius for b in s.attacked], str(s)))


def parse(text: str) -> Scenario:
    """Read a scenario; see `GRAMMAR` and the module's examples.

    Raises:
        BadInput: the text does not parse (the message points at the place), a radius is not
            positive, or a modality is named twice.
    """
    if text.strip() == INTACT:
        return Scenario()
    balls: list[Ball] = []
    missing: list[str] = []
    named = mentioned(text)
    place = 0
    for term in text.split("+"):
        match = _TERM.match(term)
        if match is None:
            raise _unparsed(text, place, term, "a term reads MODALITY@NORM:RADIUS or MODALITY@missing")
        name, what, radius = match["name"], match["what"], match["radius"]
        if named.count(name) > 1:
            raise BadInput(f"modality {name!r} is named twice in scenario {text!r}: name it once")
        if what in ("missing", INTACT):
            if radius is not None:
                raise _unparsed(text, place + match.start("radius"), radius, f"{what} takes no radius")
            missing += [name] if what == "missing" else []
        elif what not in NORM_NAMES and what not in EDIT_EXAMPLES:
            at = place + match.start("what") + 1
            raise BadInput(
                f"scenario {text!r}, character {at}:"
                f" {unknown('norm', what, [*NORM_NAMES, *EDIT_EXAMPLES, 'missing', INTACT])}"
            )
        elif radius is None:
            example = EDIT_EXAMPLES.get(what, 0.5)
            raise _unparsed(
                text, place + match.end("what"), "", f"{what} needs a radius, as in {name}@{what}:{example}"
            )
        else:
            balls.append(Ball(name, what, _radius(text, place + match.start("radius"), radius)))
        place += len(term) + 1
    return Scenario(tuple(balls), tuple(missing))


def mentioned(text: str) -> list[str]:
    """Every modality a scenario's text names, those that it leaves intact too."""
    return [match["name"] for match in map(_TERM.match, text.split("+")) if match]


def _radius(text: str, place: int, number: str) -> float:
    top, _, bottom = number.partition("/")
    try:
        value = float(top) / float(bottom) if bottom else float(number)
    except (ValueError, ZeroDivisionError):
        raise _unparsed(text, place, number, "a radius is a number or a ratio such as 8/255") from None
    if not (value > 0 and math.isfinite(value)):
        raise _unparsed(text, place, number, "a radius must be positive and finite")
    return value


def _unparsed(text: str, place: int, found: str, why: str) -> BadInput:
    where = f"at character {place + 1} ({found.strip()!r})" if found.strip() else f"at character {place + 1}"
    return BadInput(f"scenario {text!r} does not parse {where}: {why}")


def _number(value: float) -> str:
    """The shortest text that reads back as `value`: 0.5, 16, 8/255."""
    decimal = repr(value).removesuffix(".0").replace("e+", "e")  # a '+' would join terms
    ratio = Fraction(value).limit_denominator(1000)
    if len(decimal) > 8 and ratio.denominator > 1 and ratio.numerator / ratio.denominator == value:
        return f"{ratio.numerator}/{ratio.denominator}"
    return decimal
