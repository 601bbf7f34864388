"""Measures: one number for a curve or a game, from the ledger and the sweep, with its interval over
samples.

Scores are first averaged over the repeats of each sample. Resampling draws whole samples, so
compared scores stay paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pyarrow as pa

from attacks.scenario import parse
from harness.analysis.bca import mean_interval, mean_score_interval, resampled
from harness.analysis.curves import FRACTION_MISSING, IS_GAP, columns_of, query
from harness.analysis.intervals import Estimate
from harness.analysis.paired import drop_of

TINY = 1e-9
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Degradation:
    """Scores of one model under one schedule.

    Attributes:
        missing: the fraction missing that each level reached, rising, (L,).
        scores: per sample and level, (N, L).
        samples: the ids of these samples.
        levels: as the schedule names them, (L,).
    """

    missing: Array
    scores: Array
    samples: tuple[str, ...]
    levels: tuple[float, ...]

    def of(self, samples: Sequence[str]) -> Degradation:
        """The same of some samples."""
        place = {sample: row for row, sample in enumerate(self.samples)}
        return Degradation(self.missing, self.scores[[place[each] for each in samples]], tuple(samples), self.levels)


def degradations(sweep: pa.Table) -> dict[tuple[str, str], Degradation]:
    """Per (schedule, model), where there are two levels or more; corruptions are left out, and
    samples that have no score at some level.
    """
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    where = "status = 'ok' and kind = 'schedule'"
    for schedule, model, level, missing in query(
        f"select name, model, level, avg({FRACTION_MISSING}) as missing from sweep where {where} group by all order"
        " by missing, level",
        sweep=sweep,
    ):
        found.setdefault((schedule, model), []).append((level, missing))
    whole = {}
    for (schedule, model), levels in found.items():
        at = tuple(level for level, _ in levels)
        samples, scores = _by_sample("level", at, {"name": schedule, "model": model}, where, sweep)
        known = np.flatnonzero(~np.isnan(scores).any(1))
        if len(levels) > 1 and len(known):
            of = tuple(samples[row] for row in known)
            whole[schedule, model] = Degradation(np.array([missing for _, missing in levels]), scores[known], of, at)
    return whole


def _by_sample(
    column: str, values: Sequence[float | str], of: Mapping[str, str], where: str, sweep: pa.Table
) -> tuple[list[str], Array]:
    """The samples, and for each of them and each value of a column the mean score, (N,
    len(values)); NaN where there is none.
    """
    each = ", ".join(f"avg(score) filter ({column} = $at{place})" for place in range(len(values)))
    only = " and ".join(f"{name} = ${name}" for name in of)
    given = {**of, **{f"at{place}": value for place, value in enumerate(values)}}
    rows = f"from sweep where {where} and {only} group by sample order by sample"
    samples = [str(sample) for (sample,) in query(f"select sample {rows}", {**of}, sweep=sweep)]
    return samples, np.stack(columns_of(f"select {each} {rows}", given, sweep=sweep), 1)


def area(curve: Degradation) -> Estimate:
    """The area under the degradation curve over its span: the mean score from the first fraction
    missing to the last.
    """
    areas = sample_areas(curve)
    return Estimate.of(float(areas.mean()), mean_score_interval(areas))


def sample_areas(curve: Degradation) -> Array:
    """The area under each sample's own curve, (N,); their mean is the `area`."""
    return np.asarray(np.trapezoid(curve.scores, curve.missing, axis=1) / _span(curve))


def _span(curve: Degradation) -> float:
    return max(float(curve.missing[-1] - curve.missing[0]), TINY)


def relative_robustness(curve: Degradation) -> Estimate:
    """The area under score over level, unnormalised (Liang et al., MultiBench, NeurIPS 2021)."""
    return area(curve).times(_span(curve))


def effective_robustness(curve: Degradation, late: Degradation) -> Estimate:
    """Σ_i f_i - (LF_i + f_0 - LF_0): the score above what late fusion predicts (MultiBench),
    unnormalised.

    Both curves are of the same samples at the same levels.
    """
    above = curve.scores - late.scores
    gains = (above - above[:, :1]).sum(1)
    return Estimate.of(float(gains.mean()), mean_interval(gains))


def drop_rate(curve: Degradation) -> Estimate | None:
    """Modality drop rate: the mean over the levels of baseline / score there (M3TRICS); 1 where
    nothing is lost.

    None where the score is 0 at some level, because the rate is not defined there. In a resample
    with such a score, half a sample counts as right.
    """
    if not curve.scores.mean(0).all():
        return None
    least = 0.5 / len(curve.scores)

    def rate(means: Array) -> Array:
        return np.asarray((means[..., :1] / np.maximum(means, least)).mean(-1))

    found = resampled(rate, curve.scores)
    return Estimate.of(float(rate(curve.scores.mean(0))), None if found is None else found.interval())


def contributions(sweep: pa.Table, modalities: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """Per model, each modality's exact Shapley value: its mean contribution to the score over all
    orders of arrival.

    They add up to the score with everything present minus the score with nothing present.
    Modalities that are present in every subset are required, and have no value. A model whose sweep
    lacks one of the subsets is left out.
    """
    where = f"status = 'ok' and kind = 'schedule' and not {IS_GAP}"
    games: dict[str, list[str]] = {}
    for model, present in query(f"select distinct model, present from sweep where {where} order by all", sweep=sweep):
        games.setdefault(model, []).append(present)
    found = {}
    for model, sets in games.items():
        if any(len(present) != len(modalities) for present in sets):
            continue
        players = [at for at in range(len(modalities)) if any(present[at] == "0" for present in sets)]
        if players and len(sets) == 2 ** len(players):
            _, scores = _by_sample("present", sets, {"model": model}, where, sweep)
            scores = scores[~np.isnan(scores).any(1)]
            if len(scores):
                values = dict(zip(("".join(each[at] for at in players) for each in sets), scores.T, strict=True))
                shares = {modalities[place]: shapley(values, at) for at, place in enumerate(players)}
                found[model] = {
                    name: Estimate.of(float(share.mean()), mean_interval(share)) for name, share in shares.items()
                }
    return found


def shapley(values: Mapping[str, Array], player: int) -> Array:
    """Per sample, Σ_S |S|! (M - |S| - 1)! / M! · (v(S with the player) - v(S)), over the subsets S
    of the others.
    """
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
    """Per (scenario, model), the oracle's clean score minus the robust score, if the run has that
    oracle.

    The oracle of an attack on one modality is the leave-one-out model, which does not read it.
    """
    found = {}
    there = {model for (model,) in query("select distinct model from samples", samples=samples)}
    for scenario, model in query(
        "select distinct scenario, model from ledger where status = 'ok' order by all", ledger=ledger
    ):
        oracle = oracle_of(scenario)
        if oracle in there and not model.startswith("without-"):
            both = columns_of(
                """
                select samples.score, (strength > $strength)::double from ledger join samples using (sample)
                where status = 'ok' and scenario = $scenario and ledger.model = $model and samples.model = $oracle
                 order by sample
                """,
                {"strength": strength, "scenario": scenario, "model": model, "oracle": oracle},
                ledger=ledger,
                samples=samples,
            )
            if len(both[0]):
                found[scenario, model] = drop_of(*both)
    return found


def oracle_of(scenario: str) -> str | None:
    """The model that does not read the one attacked modality, so the attack cannot change it; None
    for other scenarios.
    """
    parsed = parse(scenario)
    alone = len(parsed.attacked) == 1 and not parsed.missing
    return f"without-{parsed.attacked[0].modality}" if alone else None


def table(
    samples: pa.Table, ledger: pa.Table, sweep: pa.Table, modalities: Sequence[str], late: str = "late"
) -> dict[str, dict[str, Estimate]]:
    """Every measure that a run's rows allow, by its name and then by model; `late` names the
    late-fusion model.
    """
    found: dict[str, dict[str, Estimate]] = {}
    curves = degradations(sweep)
    for (schedule, model), curve in sorted(curves.items()):
        found.setdefault(f"area under {schedule}", {})[model] = area(curve)
        found.setdefault(f"relative robustness, {schedule}", {})[model] = relative_robustness(curve)
        base = curves.get((schedule, late))
        if base is not None and base.levels == curve.levels and (shared := _shared(curve, base)):
            effective = effective_robustness(curve.of(shared), base.of(shared))
            found.setdefault(f"effective robustness over {late}, {schedule}", {})[model] = effective
        if (rate := drop_rate(curve)) is not None:
            found.setdefault(f"modality drop rate, {schedule}", {})[model] = rate
    for model, values in contributions(sweep, modalities).items():
        for name, value in values.items():
            found.setdefault(f"Shapley value of {name}", {})[model] = value
    for (scenario, model), gap in sorted(oracle_gaps(ledger, samples).items()):
        found.setdefault(f"gap to the oracle, {scenario}", {})[model] = gap
    return found


def _shared(first: Degradation, second: Degradation) -> list[str]:
    """The samples of both."""
    others = set(second.samples)
    return [sample for sample in first.samples if sample in others]


def _left_out(sweep: pa.Table) -> list[str]:
    """For each model, how many samples have an error under a schedule."""
    counts = query(
        "select model, count(distinct sample) from sweep where status <> 'ok' and kind = 'schedule' group by model"
        " order by model",
        sweep=sweep,
    )
    return [
        f"{model}: curves and values leave out {count} samples with an error under them." for model, count in counts
    ]


def remarks(found: Mapping[str, object], ledger: pa.Table, sweep: pa.Table) -> list[str]:
    """Notes on the measures of `table`, and the reasons why some measures are missing."""
    sentences = []
    if any(name.startswith("relative robustness") for name in found):
        sentences.append(
            "Relative robustness is that of MultiBench: the area is not divided by the range of the levels. It"
            " compares models under one schedule; it does not compare schedules."
        )
    single = query(
        "select name from rows where kind = 'schedule' group by name having count(distinct level) = 1 order by name",
        rows=sweep,
    )
    if lone := [schedule for (schedule,) in single if not schedule.startswith("fixed(")]:
        sentences.append(
            f"No area under {', '.join(lone)}: one level is not a curve; give two or more, as {lone[0]}:0,0.5."
        )
    if found and not any(name.startswith("effective robustness") for name in found):
        sentences.append("Effective robustness needs late fusion among the models (--model late).")
    if len(ledger) and not any(name.startswith("gap to the oracle") for name in found):
        sentences.append(
            "Gaps to the oracle need the leave-one-out models among the models (--model without-MODALITY)."
        )
    return [*sentences, *(_left_out(sweep) if found else [])]
