"""Measures: one number for a curve or a game, from the ledger and the sweep, with a bootstrap interval over samples.

Scores are averaged over repeats within each sample first; resampling draws samples, whole, so that what
is compared stays paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pyarrow as pa

from attacks.scenario import parse
from harness.curves import FRACTION_MISSING, IS_GAP, columns_of, query

RESAMPLES = 1_000
MANY = 10_000  # samples
SEED = 0  # of the resampling: the same run gives the same interval
TINY = 1e-9
EXACT = 12  # digits of a mean of scores
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A measure with its 95 % percentile-bootstrap interval (Efron, 1979)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, eq=False)
class Degradation:
    """Scores of one model under one schedule.

    Attributes:
        missing: the fraction missing that each level reached, rising, (L,).
        scores: per sample and level, (N, L).
    """

    missing: Array
    scores: Array


def estimate(measure: Callable[[Array], float], scores: Array) -> Estimate:
    """A measure of scores (N, ...) that depends on their means over samples alone, and its interval over resampled samples."""
    values = [measure(rows) for rows in _resampled(scores)]
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(measure(scores), float(low), float(high))


def _resampled(scores: Array) -> Iterator[Array]:
    """Of few samples, the drawn rows; of many, one row that has their means, by how often each row that there is was drawn."""
    random, count = np.random.RandomState(SEED), len(scores)
    if count <= MANY:
        yield from (scores[random.randint(count, size=count)] for _ in range(RESAMPLES))
        return
    rows, times = np.unique(scores, axis=0, return_counts=True)
    for _ in range(RESAMPLES):
        yield np.asarray(random.multinomial(count, times / count) @ rows / count)[None]


def difference(ours: Array, theirs: Array) -> Estimate:
    """The mean of ours less theirs, paired scores (seeds, N): over resampled seeds and, independently, resampled samples.

    Two-way bootstrap (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007): what is claimed of a way to
    train has to hold for other seeds as well as for other samples. Theirs may have one row for all seeds.
    """
    gaps = ours - theirs
    seeds, samples = gaps.shape
    random = np.random.RandomState(SEED)
    drawn_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    drawn_samples = random.multinomial(samples, np.full(samples, 1 / samples), RESAMPLES) / samples
    values = np.einsum("rs,sn,rn->r", drawn_seeds, gaps, drawn_samples)
    low, high = np.percentile(values, [2.5, 97.5]).round(EXACT)  # the last bits of a sum are no reason to exclude zero
    return Estimate(float(gaps.mean()), float(low), float(high))


def degradations(sweep: pa.Table) -> dict[tuple[str, str], Degradation]:
    """Per (schedule, model), where there are two levels or more; corruptions are left out."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    where = "status = 'ok' and not contains(schedule, '@')"
    for schedule, model, level, missing in query(
        f"select schedule, model, level, avg({FRACTION_MISSING}) as missing from sweep where {where} group by all order by missing, level",
        sweep=sweep,
    ):
        found.setdefault((schedule, model), []).append((level, missing))
    whole = {}
    for (schedule, model), levels in found.items():
        scores = _by_sample("level", [level for level, _ in levels], {"schedule": schedule, "model": model}, where, sweep)
        if len(levels) > 1 and not np.isnan(scores).any():
            whole[schedule, model] = Degradation(np.array([missing for _, missing in levels]), scores)
    return whole


def _by_sample(column: str, values: Sequence[float | str], of: Mapping[str, str], where: str, sweep: pa.Table) -> Array:
    """Per sample, and each value of a column, the mean score, (N, len(values)); NaN where there is none."""
    each = ", ".join(f"avg(score) filter ({column} = $at{place})" for place in range(len(values)))
    only = " and ".join(f"{name} = ${name}" for name in of)
    given = {**of, **{f"at{place}": value for place, value in enumerate(values)}}
    return np.stack(columns_of(f"select {each} from sweep where {where} and {only} group by sample order by sample", given, sweep=sweep), 1)


def area(curve: Degradation) -> Estimate:
    """The area under the degradation curve over its span: the mean score from the first fraction missing to the last."""
    span = max(float(curve.missing[-1] - curve.missing[0]), TINY)
    return estimate(lambda scores: float(np.trapezoid(scores.mean(0), curve.missing)) / span, curve.scores)


def sample_areas(curve: Degradation) -> Array:
    """The area under each sample's own curve, (N,); their mean is the `area`."""
    span = max(float(curve.missing[-1] - curve.missing[0]), TINY)
    return np.asarray(np.trapezoid(curve.scores, curve.missing, axis=1) / span)


def relative_robustness(curve: Degradation) -> Estimate:
    """The area under score over level, unnormalised (Liang et al., MultiBench, NeurIPS 2021)."""
    return estimate(lambda scores: float(np.trapezoid(scores.mean(0), curve.missing)), curve.scores)


def effective_robustness(curve: Degradation, late: Degradation) -> Estimate:
    """Σ_i f_i - (LF_i + f_0 - LF_0): the score above what late fusion predicts (MultiBench), unnormalised.

    Both curves are of the same samples at the same levels.
    """
    count = curve.scores.shape[1]

    def measure(scores: Array) -> float:
        own, base = scores[:, :count].mean(0), scores[:, count:].mean(0)
        return float((own - (base + own[0] - base[0])).sum())

    return estimate(measure, np.concatenate([curve.scores, late.scores], axis=1))


def drop_rate(curve: Degradation) -> Estimate | None:
    """Modality drop rate: the mean over the levels of baseline / score there (M3TRICS); 1 where nothing is lost.

    None where the score is 0 at some level: it is not defined there. A resample of which that is true counts as half
    a sample right.
    """
    if not curve.scores.mean(0).all():
        return None
    least = 0.5 / len(curve.scores)
    return estimate(lambda scores: float((scores.mean(0)[0] / np.maximum(scores.mean(0), least)).mean()), curve.scores)


def contributions(sweep: pa.Table, modalities: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """Per model, each modality's exact Shapley value: its mean contribution to the score over all orders of arrival.

    They add up to the score with everything present less that with nothing. A model whose sweep lacks one of
    the subsets is left out.
    """
    where = f"status = 'ok' and not contains(schedule, '@') and not {IS_GAP}"
    games: dict[str, list[str]] = {}
    for model, present in query(f"select distinct model, present from sweep where {where} order by all", sweep=sweep):
        games.setdefault(model, []).append(present)
    found = {}
    for model, sets in games.items():
        if len(sets) == 2 ** len(modalities) and all(len(present) == len(modalities) for present in sets):
            scores = _by_sample("present", sets, {"model": model}, where, sweep)
            scores = scores[~np.isnan(scores).any(1)]
            if len(scores):
                values = dict(zip(sets, scores.T, strict=True))
                shares = {name: shapley(values, at) for at, name in enumerate(modalities)}
                found[model] = {name: estimate(lambda each: float(each.mean()), share) for name, share in shares.items()}
    return found


def shapley(values: Mapping[str, Array], player: int) -> Array:
    """Per sample, Σ_S |S|! (M - |S| - 1)! / M! · (v(S with the player) - v(S)), over the subsets S of the others."""
    count = len(next(iter(values)))
    others = [at for at in range(count) if at != player]
    total = np.zeros_like(next(iter(values.values())))
    for size in range(count):
        weight = factorial(size) * factorial(count - size - 1) / factorial(count)
        for subset in combinations(others, size):
            total += weight * (values[bits(count, (*subset, player))] - values[bits(count, subset)])
    return total


def bits(count: int, present: Sequence[int]) -> str:
    """The bit string of `count` modalities of which these are present."""
    return "".join("1" if at in present else "0" for at in range(count))


def oracle_gaps(ledger: pa.Table, samples: pa.Table, strength: float = 1.0) -> dict[tuple[str, str], Estimate]:
    """Per (scenario, model), how far the robust score lies below the oracle's clean score, where the run has that oracle.

    The oracle of an attack on one modality is the leave-one-out model, which does not read it.
    """
    found = {}
    there = {model for (model,) in query("select distinct model from samples", samples=samples)}
    for scenario, model in query("select distinct scenario, model from ledger where status = 'ok' order by all", ledger=ledger):
        oracle = oracle_of(scenario)
        if oracle in there and not model.startswith("without-"):
            both = columns_of(
                """
                select samples.score, (strength > $strength)::double from ledger join samples using (sample)
                where status = 'ok' and scenario = $scenario and ledger.model = $model and samples.model = $oracle order by sample
                """,
                {"strength": strength, "scenario": scenario, "model": model, "oracle": oracle},
                ledger=ledger,
                samples=samples,
            )
            if len(both[0]):
                found[scenario, model] = estimate(lambda each: float((each[:, 0] - each[:, 1]).mean()), np.stack(both, 1))
    return found


def oracle_of(scenario: str) -> str | None:
    """The model that cannot be fooled by an attack on one modality alone, as it does not read it; None of other scenarios."""
    parsed = parse(scenario)
    alone = len(parsed.attacked) == 1 and not parsed.missing
    return f"without-{parsed.attacked[0].modality}" if alone else None


def table(
    samples: pa.Table, ledger: pa.Table, sweep: pa.Table, modalities: Sequence[str], late: str = "late"
) -> dict[str, dict[str, Estimate]]:
    """Every measure that a run's rows allow, by its name and then by model; `late` names the late-fusion model."""
    found: dict[str, dict[str, Estimate]] = {}
    curves = degradations(sweep)
    for (schedule, model), curve in sorted(curves.items()):
        found.setdefault(f"area under {schedule}", {})[model] = area(curve)
        found.setdefault(f"relative robustness, {schedule}", {})[model] = relative_robustness(curve)
        base = curves.get((schedule, late))
        if base is not None and base.scores.shape == curve.scores.shape:
            found.setdefault(f"effective robustness over {late}, {schedule}", {})[model] = effective_robustness(curve, base)
        if (rate := drop_rate(curve)) is not None:
            found.setdefault(f"modality drop rate, {schedule}", {})[model] = rate
    for model, values in contributions(sweep, modalities).items():
        for name, value in values.items():
            found.setdefault(f"Shapley value of {name}", {})[model] = value
    for (scenario, model), gap in sorted(oracle_gaps(ledger, samples).items()):
        found.setdefault(f"gap to the oracle, {scenario}", {})[model] = gap
    return found


def remarks(found: Mapping[str, object], ledger: pa.Table, sweep: pa.Table) -> list[str]:
    """What a reader of `table`'s measures needs to know, and why some that might be looked for are not there."""
    said = []
    if any(name.startswith("relative robustness") for name in found):
        said.append(
            "Relative robustness is MultiBench's, the area not divided by the span of the levels: it compares models under one schedule, "
            "not schedules."
        )
    single = query("select schedule from rows group by schedule having count(distinct level) = 1 order by schedule", rows=sweep)
    if lone := [schedule for (schedule,) in single if "@" not in schedule and not schedule.startswith("fixed(")]:
        said.append(f"No area under {', '.join(lone)}: one level makes no curve; give two or more, as {lone[0]}:0,0.5.")
    if found and not any(name.startswith("effective robustness") for name in found):
        said.append("Effective robustness is told where late fusion is evaluated beside the others (--model late).")
    if len(ledger) and not any(name.startswith("gap to the oracle") for name in found):
        said.append("Gaps to the oracle are told where the leave-one-out models are evaluated, too (--model without-MODALITY).")
    return said
