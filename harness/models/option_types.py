"""The range of a number, from its annotation: the command line refuses options outside of it."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from annotated_types import Interval

from attacks.errors import BadInput, shown

Share = Annotated[float, Interval(ge=0, le=1)]
Positive = Annotated[float, Interval(gt=0)]
NotNegative = Annotated[float, Interval(ge=0)]
MOST = 2**31 - 1
OneOrMore = Annotated[int, Interval(ge=1, le=MOST)]
TwoOrMore = Annotated[int, Interval(ge=2, le=MOST)]
ZeroOrMore = Annotated[int, Interval(ge=0, le=MOST)]

LIMITS = {"gt": (operator.gt, "above"), "ge": (operator.ge, "at least"), "le": (operator.le, "at most")}


def check(what: str, value: float, annotation: Any) -> None:
    """Refuse a number outside of the range of its annotation; without a range every number is
    inside.

    >>> check("option rate", 0.3, Share)
    >>> check("option rate", 2.0, Share)
    Traceback (most recent call last):
    attacks.errors.BadInput: option rate must be at least 0 and at most 1, not 2.0

    Raises:
        BadInput: it is outside.
    """
    ranges = [each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Interval)]
    limits = [(kind, limit) for each in ranges for kind in LIMITS if (limit := getattr(each, kind)) is not None]
    if not all(LIMITS[kind][0](value, limit) for kind, limit in limits):
        said = " and ".join(f"{LIMITS[kind][1]} {limit}" for kind, limit in limits)
        raise BadInput(f"{what} must be {said}, not {shown(value)}")
