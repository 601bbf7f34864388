"""The error rates of whole gate files, on simulated outcomes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from harness.gates.decide import decide
from harness.gates.evidence import Evidence
from harness.gates.file import Gate, gate_of
from tests.rows import IMAGE, LIMIT, Outcomes, evidence, held

INF = float("inf")


def pair_of_models(random: np.random.RandomState, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Critical strengths of the same samples for two systems: a third is wrong untouched, the
    others are correlated.
    """
    base = random.exponential(1.2, count)
    wrong = random.rand(count) < 0.2
    both = [
        np.where(wrong | (random.rand(count) < 0.05), 0.0, base * random.lognormal(0, 0.3, count)) for _ in range(2)
    ]
    return np.where(both[0] > LIMIT, INF, both[0]), np.where(both[1] > LIMIT, INF, both[1])


GATES: list[Gate] = [
    gate_of(model="m", max_drop=0, min_effect=0.1),
    gate_of(model="m", scenario=IMAGE, strength=0.5, max_drop=0, min_effect=0.1),
    gate_of(model="m", scenario=IMAGE, max_drop=0, min_effect=0.1),
    gate_of(model="m", scenario=IMAGE, measure="median critical strength", max_drop=0, min_effect=0.3),
    gate_of(model="m", schedule="mcar", rate=1, max_drop=0, min_effect=0.1),
]
Change = Callable[[np.random.RandomState, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
Held = Callable[[Outcomes], Evidence]


def outcomes_of(strengths: np.ndarray, random: np.random.RandomState) -> Outcomes:
    scores = (strengths > 0).astype(float)
    dropped = np.where(random.rand(len(scores)) < 0.5, scores, 0.0)
    return Outcomes(scores.tolist(), {IMAGE: strengths.tolist()}, {("mcar", 1.0): dropped.tolist()})


def file_fails(seed: int, change: Change, held: Held) -> bool:
    """Whether a simulated gates file fails, of 300 samples and five gates."""
    random = np.random.RandomState(seed)
    ours, theirs = change(random, *pair_of_models(random, 300))
    baseline, run = (held(outcomes_of(each, random)) for each in (theirs, ours))
    return any(each.verdict == "fail" for each in decide(GATES, run, baseline))


def swapped(random: np.random.RandomState, ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A/A: of each sample, which of the two it is, is drawn."""
    coin = random.rand(len(ours)) < 0.5
    return np.where(coin, ours, theirs), np.where(coin, theirs, ours)


def broken(random: np.random.RandomState, ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A true drop of 10 points at a discordance of .15: 12.5 % of the samples are lost and 2.5 %
    won.
    """
    draw = random.rand(len(theirs))
    before = np.where(draw < 0.025, 0.0, np.where(draw < 0.15, np.maximum(theirs, 2.0), theirs))
    return np.where(draw < 0.025, 2.0, np.where(draw < 0.15, 0.0, before)), before


def test_at_most_18_of_200_files_fail_where_nothing_happened() -> None:
    """The 99 % bound of 5 %."""
    assert sum(file_fails(seed, swapped, partial(held, "m")) for seed in range(200)) <= 18


def test_a_drop_of_ten_points_is_caught_in_190_of_200_files() -> None:
    assert sum(file_fails(seed, broken, partial(held, "m")) for seed in range(200)) >= 190


def test_run_directories_decide_as_the_simulations_do(tmp_path: Path) -> None:
    folders = (tmp_path / str(number) for number in count())
    for change in (swapped, broken):
        found = [
            file_fails(seed, change, lambda outcomes: evidence(next(folders), {"m": outcomes})) for seed in range(5)
        ]
        assert found == [file_fails(seed, change, partial(held, "m")) for seed in range(5)]
