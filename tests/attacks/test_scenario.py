"""The scenario language: it reads back its own output, points at mistakes, and has a partial
order.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.edits import EDITS
from attacks.errors import BadInput
from attacks.names import EDIT_EXAMPLES, NORM_NAMES
from attacks.norms import NORMS
from attacks.scenario import Ball, Scenario, closure, parse

NAMES = ("image", "audio", "text", "imu-2")
RADII = st.floats(1e-6, 1e30) | st.sampled_from([8 / 255, 1 / 3, 16.0])
Drawn = dict[str, tuple[str, float] | None]
drawn = st.dictionaries(st.sampled_from(NAMES), st.none() | st.tuples(st.sampled_from(sorted(NORMS)), RADII))


def scenario_of(drawn: Drawn) -> Scenario:
    """Built outside the strategy: the type checks draw random numbers, which hypothesis forbids
    inside.
    """
    balls = tuple(Ball(name, *how) for name, how in drawn.items() if how)
    return Scenario(balls, tuple(name for name, how in drawn.items() if how is None))


@given(drawn=drawn)
def test_reads_what_it_writes(drawn: Drawn) -> None:
    scenario = scenario_of(drawn)
    assert parse(str(scenario)) == scenario


@given(three=st.tuples(drawn, drawn, drawn))
def test_a_partial_order(three: tuple[Drawn, Drawn, Drawn]) -> None:
    a, b, c = map(scenario_of, three)
    assert a <= a
    assert not (a <= b and b <= a) or a == b
    assert not (a <= b and b <= c) or a <= c


@given(many=st.lists(drawn, max_size=4))
def test_closure_holds_every_smaller_set_before_the_larger(many: list[Drawn]) -> None:
    wanted = [scenario_of(each) for each in many]
    found = closure(wanted)
    assert len(set(found)) == len(found)
    for scenario in wanted:
        place = found.index(scenario)
        for smaller in scenario.below():
            assert smaller < scenario
            assert found.index(smaller) < place


def test_ratios_and_spaces() -> None:
    assert parse(" image @ linf : 8/255+text@missing ") == Scenario((Ball("image", "linf", 8 / 255),), ("text",))
    assert str(parse("image@linf:8/255")) == "image@linf:8/255"
    assert parse("image@intact + text@missing") == parse("text@missing")
    assert parse("intact") == Scenario()
    assert str(parse("image@linf:1e16")) == "image@linf:1e16"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image@linf:1 + audio", "at character 15 ('audio')"),
        ("image@linf:x", "at character 12 ('x'): a radius is a number or a ratio"),
        ("image@linf:1/0", "at character 12 ('1/0')"),
        ("image@linf:-8/255", "must be positive and finite"),
        ("image@linf:inf", "must be positive and finite"),
        ("image@missing:1", "missing takes no radius"),
        ("image@linf:1 + image@l2:1", "named twice"),
        ("image@linf:1 + image@intact", "named twice"),
        ("image@lnf:1", "did you mean linf"),
        ("", "does not parse"),
        ("image@linf:1 +", "does not parse at character 15"),
    ],
)
def test_mistakes_are_pointed_at(text: str, message: str) -> None:
    with pytest.raises(BadInput) as error:
        parse(text)
    assert message in str(error.value)


def test_what_a_scenario_may_name_is_there() -> None:
    assert tuple(NORMS) == NORM_NAMES
    assert list(EDITS) == list(EDIT_EXAMPLES)
    assert all(str(parse(f"m@{name}:{size}")) == f"m@{name}:{size}" for name, size in EDIT_EXAMPLES.items())
