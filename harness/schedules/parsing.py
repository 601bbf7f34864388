"""Parse a schedule: ``name:level,level,...``, with its modalities in brackets.

A level is the fraction missing: of the samples, or inside a modality for a gap.

>>> parse("fixed(text):0,1", ("image", "text")).levels
(0.0, 1.0)
>>> str(parse("imbalanced(text:0.3+image:0.9):0.5", ("image", "text")))
'imbalanced(image:0.9+text:0.3)'
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attacks.errors import BadInput, unknown
from harness.references.registry import resolve
from harness.schedules.gap import Gap
from harness.schedules.schedule import Schedule

GRAMMAR = (
    "NAME:RATE,RATE,..., where a rate is the fraction missing; fixed(MODALITY+MODALITY):RATE,... names the set that"
    " goes missing; imbalanced(MODALITY:RATE+MODALITY:RATE):RATE,... names a rate of each modality, which the last rate"
    " multiplies; mnar, mnar-label and gap may name modalities"
)
NAMELESS = ("mcar", "mcar-keep-one", "exclusive")  # always about all modalities
NAMING = ("fixed", "imbalanced")  # must name some
RATED = ("imbalanced",)  # with a rate behind each
_PATTERN = re.compile(r"(?P<name>[\w-]+)(\((?P<which>[^()]*)\))?(:(?P<levels>.*))?")


def parse(text: str, modalities: Sequence[str]) -> Schedule | Gap:
    """Read a schedule for a task with these modalities.

    Raises:
        BadInput: it does not parse, or names a schedule, modality or rate there is not.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None or match["levels"] is None:
        raise BadInput(f"schedule {text!r} does not parse: write {GRAMMAR}")
    target, name = resolve("schedule", match["name"]).target, match["name"]
    named = _named(text, name, match["which"] or "", modalities)
    levels = tuple(_rate(text, level) for level in match["levels"].split(","))
    if target is Gap:
        return Gap(tuple(named), levels)
    return Schedule(name, tuple(named), levels, tuple(named.values()) if name in RATED else ())


def _named(text: str, name: str, which: str, modalities: Sequence[str]) -> dict[str, float]:
    """The modalities in brackets, in the task's order, and the rate behind each."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in which.split("+"))):
        modality, colon, rate = (each.strip() for each in part.partition(":"))
        if modality not in modalities:
            raise unknown("modality", modality, modalities, where=f" in schedule {text!r}")
        if bool(colon) != (name in RATED):
            raise BadInput(
                f"schedule {text!r}: 'imbalanced' takes a rate behind each modality, other schedules do not:"
                f" imbalanced({modality}:0.9):1"
            )
        if modality in found:
            raise BadInput(f"schedule {text!r}: {modality!r} is named twice: name it once")
        found[modality] = _rate(text, rate) if colon else 1.0
    if name in NAMING and not found:
        raise BadInput(
            f"schedule {text!r}: {name!r} needs the modalities that go missing:"
            f" {name}({modalities[-1]}{':0.9' if name in RATED else ''}):1"
        )
    if name in NAMELESS and found:
        raise BadInput(
            f"schedule {text!r}: {name!r} applies to all modalities: write {name}:0.5, or"
            f" fixed({next(iter(found))}):0.5"
        )
    return {modality: found[modality] for modality in modalities if modality in found}


def _rate(text: str, rate: str) -> float:
    try:
        value = float(rate)
    except ValueError:
        raise BadInput(f"schedule {text!r}: {rate.strip()!r} is not a rate; a rate is a number from 0 to 1") from None
    if not 0 <= value <= 1:
        raise BadInput(f"schedule {text!r}: the rate {value:g} is not between 0 and 1; it is the fraction missing")
    return value + 0.0  # without the sign of -0.0
