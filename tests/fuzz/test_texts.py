"""The small languages: scenarios, schedules, corruptions, frontiers and options are read, or
refused in one sentence.
"""

from __future__ import annotations

import inspect

from hypothesis import strategies as st

from attacks.edits import EDITS
from attacks.norms import NORMS
from attacks.scenario import Ball, Scenario, closure, parse
from harness.corruptions.corruption import Corruption
from harness.engine.frontier import rays
from harness.references import options
from harness.schedules import parse as parse_schedule
from tests.fuzz.cases import fuzzed, result_or_refusal
from tests.fuzz.toy import TOY

NAMES = st.one_of(
    st.sampled_from(["image", "audio", "text", "intact", "missing", "é", "a-b", "1"]),
    st.from_regex(r"[^\s@+:]+", fullmatch=True),
)
RADII = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)
FEW_RADII = st.sampled_from([0.5, 1.0, 8 / 255])
FEW_NAMES = st.sampled_from(["a", "b", "c"])
WORDS = [
    "image",
    "audio",
    "@",
    ":",
    "+",
    "linf",
    "l2",
    "tokens",
    "missing",
    "intact",
    " ",
    "8/255",
    "1e-3",
    "-1",
    "nan",
    "0",
    "/",
    "1/0",
    "é\n",
    "inf",
]


def words(*more: str) -> st.SearchStrategy[str]:
    """Texts of the language's own signs, and any text."""
    return st.one_of(st.lists(st.sampled_from([*WORDS, *more]), max_size=9).map("".join), st.text(max_size=30))


States = dict[str, tuple[str, float] | None]


def states(names: st.SearchStrategy[str] = NAMES, radii: st.SearchStrategy[float] = RADII) -> st.SearchStrategy[States]:
    """The conditions of up to five modalities: each is attacked in a norm or by an edit, or
    missing.
    """
    return st.dictionaries(names, st.one_of(st.none(), st.tuples(st.sampled_from([*NORMS, *EDITS]), radii)), max_size=5)


def scenario_of(done: States) -> Scenario:
    return Scenario(
        tuple(Ball(name, *ball) for name, ball in done.items() if ball),
        tuple(name for name, ball in done.items() if not ball),
    )


@fuzzed("scenario texts", text=words())
def test_a_text_is_a_scenario_or_refused(text: str) -> None:
    scenario = result_or_refusal(parse, text)
    if scenario is not None:
        assert parse(str(scenario)) == scenario


@fuzzed("scenarios written and read", done=states())
def test_what_is_written_reads_back(done: States) -> None:
    scenario = scenario_of(done)
    assert parse(str(scenario)) == scenario


@fuzzed("the order of scenarios", done=st.lists(states(FEW_NAMES, FEW_RADII), min_size=3, max_size=3))
def test_scenarios_are_in_a_partial_order(done: list[States]) -> None:
    first, second, third = all_of = [scenario_of(each) for each in done]
    assert first <= first and not first < first
    assert not (first <= second and second <= third) or first <= third
    assert not (first <= second and second <= first) or first == second
    ordered = closure(all_of)
    assert set(all_of) <= set(ordered) and all(
        below < each and below in ordered for each in ordered for below in each.below()
    )
    assert not any(later < earlier for at, earlier in enumerate(ordered) for later in ordered[at:])


@fuzzed(
    "schedule texts",
    text=words("mcar", "fixed(", "imbalanced(", "gap", "mnar-label", ")", ",", "0.5", "(", "exclusive", "10**9"),
)
def test_a_text_is_a_schedule_or_refused(text: str) -> None:
    schedule = result_or_refusal(parse_schedule, text, TOY.names)
    if schedule is not None:
        again = parse_schedule(f"{schedule}:{','.join(map(repr, schedule.levels))}", TOY.names)
        assert str(again) == str(schedule) and again.levels == schedule.levels


@fuzzed(
    "corruption texts",
    text=words("noise", "blur", "typos", ",", "3", "6", "no.such:thing", "harness.corruptions:nothing", "²"),
)
def test_a_text_is_a_corruption_or_refused(text: str) -> None:
    corruption = result_or_refusal(Corruption.parse, text, TOY)
    assert corruption is None or str(corruption).startswith(f"{corruption.modality}@")


@fuzzed("frontier texts", text=words(",", "text", "image,audio"))
def test_a_text_is_a_frontier_or_refused(text: str) -> None:
    found = result_or_refusal(rays, text, TOY)
    assert found is None or all(len(ray.attacked) == 2 for ray in found)


def _takes(steps: int = 1, rate: float = 0.5, fast: bool = False, norm: str = "linf") -> None:
    """A function with the options to read."""


@fuzzed(
    "options behind a name",
    text=words("steps", "rate", "fast", "norm", "=", "&", "?", "true", "2", "1e999", "٣", "0x1", "1_0"),
)
def test_options_are_read_or_refused(text: str) -> None:
    given = result_or_refusal(options.given, "model", f"name?{text}", inspect.signature(_takes).parameters)
    kinds = {"steps": int, "rate": (int, float), "fast": bool, "norm": str}
    assert given is None or all(isinstance(value, kinds[name]) for name, value in given.items())
