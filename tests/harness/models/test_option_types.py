"""The annotation of a number gives its range, and every numeric option of a registered recipe or
model has one.
"""

from inspect import Parameter

import pytest

from attacks.errors import BadInput
from harness.models.option_types import NotNegative, OneOrMore, Positive, Share, TwoOrMore, ZeroOrMore, check
from harness.references.options import given, signature
from harness.references.registry import MODALITY, names, resolve

OUTSIDE = [
    (Share, -0.1),
    (Share, 1.1),
    (Positive, 0.0),
    (NotNegative, -1e-9),
    (OneOrMore, 0),
    (TwoOrMore, 1),
    (ZeroOrMore, -1),
    (OneOrMore, 2**31),
]
INSIDE = [
    (Share, 0.0),
    (Share, 1.0),
    (Positive, 1e-9),
    (NotNegative, 0.0),
    (OneOrMore, 1),
    (TwoOrMore, 2),
    (ZeroOrMore, 0),
    (float, -5.0),
]


@pytest.mark.parametrize(("annotation", "value"), OUTSIDE)
def test_outside_is_refused(annotation: object, value: float) -> None:
    with pytest.raises(BadInput, match="option rate must be"):
        check("option rate", value, annotation)


@pytest.mark.parametrize(("annotation", "value"), INSIDE)
def test_inside_is_taken(annotation: object, value: float) -> None:
    option = Parameter("rate", Parameter.KEYWORD_ONLY, default=value, annotation=annotation)
    assert given("recipe", f"own?rate={value}", {"rate": option}) == {"rate": value}


def test_both_ends_are_named() -> None:
    with pytest.raises(BadInput, match=r"must be at least 0 and at most 1, not 2"):
        check("option rate", 2, Share)
    with pytest.raises(BadInput, match=r"must be above 0, not nan"):
        check("option rate", float("nan"), Positive)


@pytest.mark.parametrize("kind", ["recipe", "model"])
def test_every_number_among_the_options_declares_its_range(kind: str) -> None:
    silent = []
    for name in names(kind):  # type: ignore[arg-type]
        target = resolve(kind, name.replace(MODALITY, "image")).target  # type: ignore[arg-type]
        for option in signature(target).parameters.values():
            if type(option.default) in (int, float) and not hasattr(option.annotation, "__metadata__"):
                silent.append(f"{name}?{option.name}")
    assert not silent
