"""What a number may be beside its type, told by its annotation: the command line refuses options that cannot be."""

from __future__ import annotations

import operator
from typing import Annotated, Any, get_args

from annotated_types import Ge, Gt, Interval, Le, Lt

from attacks.errors import BadInput, shown

Share = Annotated[float, Interval(ge=0, le=1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
MOST = 2**31 - 1
OneOrMore = Annotated[int, Interval(ge=1, le=MOST)]
TwoOrMore = Annotated[int, Interval(ge=2, le=MOST)]
ZeroOrMore = Annotated[int, Interval(ge=0, le=MOST)]

LIMITS = {"gt": (operator.gt, "above"), "ge": (operator.ge, "at least"), "lt": (operator.lt, "below"), "le": (operator.le, "at most")}


def check(what: str, value: float, annotation: Any) -> None:
    """Refuse a number outside of the range of its annotation; any is inside where that names none.

    >>> check("option rate", 0.3, Share)
    >>> check("option rate", 2.0, Share)
    Traceback (most recent call last):
    attacks.errors.BadInput: option rate must be at least 0 and at most 1, not 2.0

    Raises:
        BadInput: it is outside.
    """
    limits = dict(_limits(annotation))
    if not all(LIMITS[kind][0](value, limit) for kind, limit in limits.items()):
        said = " and ".join(f"{LIMITS[kind][1]} {limit}" for kind, limit in limits.items())
        raise BadInput(f"{what} must be {said}, not {shown(value)}")


def _limits(annotation: Any) -> list[tuple[str, Any]]:
    found = [each for each in get_args(annotation)[1:] if isinstance(each, Ge | Gt | Interval | Le | Lt)]
    return [(kind, getattr(each, kind)) for each in found for kind in LIMITS if getattr(each, kind, None) is not None]
