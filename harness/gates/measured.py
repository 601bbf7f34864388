"""The measure of a gate, sample by sample, and the reasons to doubt it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isclose
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attacks.errors import BadInput
from attacks.scenario import parse
from harness.analysis.bca import mean_score_interval
from harness.analysis.intervals import Estimate, median_strength, proportion
from harness.analysis.jackknife import interval
from harness.analysis.measures import degradations, oracle_of, sample_areas
from harness.analysis.paired import drop_of
from harness.gates.evidence import Array, Evidence, Values, columns, known
from harness.gates.file import AREA, CERTIFIED, GAP, MEDIAN, METRIC, ROBUST, SCORE, WORST, Gate
from harness.run.flags import EVERY
from harness.run.schema import CORRUPTION, SCHEDULE
from harness.run.set_metrics import ATTACKED, CLEAN
from harness.run.status import FINISHED, onwards

NOTHING: Values = (pa.array([], pa.string()), np.empty(0))


@dataclass(frozen=True, eq=False)
class Measured:
    """A gate's measure on one run.

    Attributes:
        samples: the ids, sorted, (N).
        rows: the values behind the measure, (N, K): scores; strengths; or, for the gap, the
            oracle's score and the model's.
        doubts: why the number may be wrong or incomplete; empty without doubts.
    """

    gate: Gate
    samples: Sequence[str]
    rows: Array
    doubts: Sequence[str] = field(default=())

    def estimate(self, rows: Array, limit: float = inf) -> Estimate:
        """The measure of some rows (N, K) with its 95 % interval, strengths clipped at a limit."""
        if self.gate.measure == MEDIAN:
            return median_strength(rows[:, 0], limit)
        if self.gate.measure == WORST:
            return _least(rows)
        if self.gate.measure == GAP:
            return drop_of(rows[:, 0], rows[:, 1])
        if self.gate.measure == METRIC:
            return Estimate.of(float(rows.mean()), interval(rows[:, 0]))
        mean = float(rows.mean())
        return Estimate.of(
            mean, mean_score_interval(rows[:, 0]) if self.gate.measure == AREA else proportion(mean, len(rows))
        )

    def outcomes(self, rows: Array) -> Array:
        """For each sample (N, K), the number (N,) whose mean is the measure; not for medians and
        minima.
        """
        return rows[:, 0] - rows[:, 1] if self.gate.measure == GAP else rows[:, 0]


def measure(gate: Gate, evidence: Evidence) -> Measured:
    """The measure of a gate on a run.

    Raises:
        BadInput: the gate names a task, model, scenario, schedule, corruption or level that the run
            does not have.
    """
    if gate.task is not None:
        known("task", gate.task, sorted(evidence.tasks), evidence)
    known("model", gate.model, evidence.models, evidence)
    found = _found(gate, evidence)
    samples, rows = columns(found)
    return Measured(gate, samples, rows, _doubts(gate, evidence, len(samples)))


def _found(gate: Gate, evidence: Evidence) -> list[Values]:
    """For each column of the rows, the value of each sample."""
    if gate.measure == SCORE:
        return [_score(gate, evidence)]
    if gate.measure == AREA:
        return [_areas(gate, evidence)]
    if gate.measure == WORST:
        return _each_modality(gate, evidence)
    if gate.measure == METRIC:
        return [_metric(gate, evidence)]
    if gate.measure == CERTIFIED:
        return [_certified(gate, evidence)]
    scenario, threshold = scenario_of(gate, evidence), _threshold(gate, evidence)
    if gate.measure == MEDIAN:
        return [evidence.strengths(gate.model, scenario, threshold)]
    withstood = evidence.withstood(gate.model, scenario, gate.at, threshold)
    return [withstood] if gate.measure == ROBUST else [evidence.clean(_oracle(gate, evidence)), withstood]


def _certified(gate: Gate, evidence: Evidence) -> Values:
    if evidence.config.certify is None:
        raise BadInput(f"gate '{gate}': {evidence.where} has no certificates: evaluate it with --certify linear")
    return evidence.certified(gate.model, scenario_of(gate, evidence), gate.at)


def scenario_of(gate: Gate, evidence: Evidence) -> str:
    """The gate's scenario, as the ledger writes it."""
    scenario = str(parse(gate.scenario or ""))
    if evidence.scenarios:  # otherwise no row was finished, which is another case
        known("scenario", scenario, evidence.scenarios, evidence)
    return scenario


def _threshold(gate: Gate, evidence: Evidence) -> float | None:
    """The gate's threshold, as the ledger writes it."""
    if gate.threshold is None:
        return None
    there = next((each for each in evidence.thresholds if isclose(each, gate.threshold)), None)
    if there is None:
        known = ", ".join(f"{each:g}" for each in evidence.thresholds)
        mend = f"name one of its thresholds, {known}" if known else "leave the key out, its answers are right or wrong"
        raise BadInput(f"gate '{gate}': {evidence.where} has no threshold {gate.threshold:g}: {mend}")
    return there


def _oracle(gate: Gate, evidence: Evidence) -> str:
    oracle = oracle_of(gate.scenario or "")
    if oracle is None:
        raise BadInput(
            f"gate '{gate}': only an attack on one modality has an oracle, which is the model without that modality"
        )
    if oracle not in evidence.models:
        raise BadInput(f"gate '{gate}': {evidence.where} lacks the oracle: evaluate it, too, with --model {oracle}")
    return oracle


def _metric(gate: Gate, evidence: Evidence) -> Values:
    name, kind, place, level = str(gate.metric), CLEAN, "", 0.0
    if evidence.metrics:  # otherwise no metric has influences, which is another case
        known("metric", name, evidence.metrics, evidence)
    if gate.scenario is not None:
        kind, place, level = ATTACKED, scenario_of(gate, evidence), gate.at
    elif gate.schedule is not None or gate.corruption is not None:
        if (found := _swept(gate, evidence)) is None:
            return NOTHING
        kind, (place, level) = SCHEDULE if gate.schedule else CORRUPTION, found
    there = evidence.metric_strengths
    if kind == ATTACKED and there and level not in there:
        strengths = ", ".join(f"{each:g}" for each in there)
        raise BadInput(
            f"gate '{gate}': {evidence.where} has metrics at strengths {strengths}, not at {level:g}: name one of these"
        )
    return evidence.metric(gate.model, name, kind, place, level)


def _score(gate: Gate, evidence: Evidence) -> Values:
    if gate.schedule is None and gate.corruption is None:
        return evidence.clean(gate.model)
    found = _swept(gate, evidence)
    return NOTHING if found is None else evidence.at(gate.model, *found)


def _swept(gate: Gate, evidence: Evidence) -> tuple[str, float] | None:
    """The gate's schedule or corruption and its level, as the sweep writes them; None where nothing
    was swept.
    """
    level = gate.severity if gate.rate is None else gate.rate
    assert level is not None  # the file's reader saw to it
    name = schedule_of(gate, evidence, level) if gate.schedule else str(gate.corruption).strip()
    if not evidence.levels:
        return None
    known("schedule" if gate.schedule else "corruption", name, list(evidence.levels), evidence)
    there = next((each for each in evidence.levels[name] if isclose(each, level)), None)
    if there is None:
        levels = ", ".join(f"{each:g}" for each in evidence.levels[name])
        raise BadInput(
            f"gate '{gate}': {evidence.where} has {name} at {levels}, not at {level:g}: evaluate with that level"
        )
    return name, there


def schedule_of(gate: Gate, evidence: Evidence, level: float = 0.0) -> str:
    """The gate's schedule, in the form of the sweep. A schedule in this form is not parsed, because
    parsing would load torch.
    """
    if gate.schedule in evidence.schedules:
        return str(gate.schedule)
    from harness.schedules import parse as parse_schedule

    return str(parse_schedule(f"{gate.schedule}:{level:g}", evidence.modalities))


def _areas(gate: Gate, evidence: Evidence) -> Values:
    name = schedule_of(gate, evidence)
    if not evidence.levels:
        return NOTHING
    known("schedule", name, list(evidence.levels), evidence)
    if len(evidence.levels[name]) < 2:
        raise BadInput(f"gate '{gate}': a curve needs two levels or more: evaluate with more, as {name}:0,0.5")
    sweep = evidence.sweep(gate.model, name)
    curve = degradations(sweep).get((name, gate.model))
    if curve is None:  # no rows, or not every level has every sample
        return NOTHING
    samples = sweep.column("sample").unique()
    return samples.take(pc.array_sort_indices(samples)), sample_areas(curve)


def _each_modality(gate: Gate, evidence: Evidence) -> list[Values]:
    """For each modality, the score with it missing, or whether the sample withstands its attack
    alone.
    """
    if gate.strength is None:
        return [evidence.at(gate.model, f"fixed({name})", 1.0) for name in _optional(evidence)]
    return [evidence.withstood(gate.model, single, gate.strength) for single in singles(gate, evidence)]


def _optional(evidence: Evidence) -> list[str]:
    """The modalities that go missing in the run: all but those that its task requires."""
    return [name for name in evidence.modalities if f"fixed({name})" in evidence.levels] or evidence.modalities


def singles(gate: Gate, evidence: Evidence) -> list[str]:
    """The run's attacks on one modality alone."""
    found = sorted(each for each in evidence.scenarios if oracle_of(each))
    if not found and evidence.scenarios:
        raise BadInput(f"gate '{gate}': {evidence.where} attacks no modality alone: add a --scenario that does")
    return found


def _doubts(gate: Gate, evidence: Evidence, count: int) -> list[str]:
    """The reasons to doubt the number, the most important first."""
    status = evidence.description.status
    reasons = [] if status in FINISHED else [f"{evidence.where} is {status}: {onwards(status)}"]
    reasons += [
        f"{len(samples)} samples of {model} are errors" for model, samples in _errors(gate, evidence) if samples
    ]
    total = max(len(evidence.expected), evidence.description.samples or 0) - len(_left_out(gate, evidence))
    if gate.certified and isinstance(evidence.config.certify_samples, int):
        total = min(total, evidence.config.certify_samples)
    if not reasons and count < total:
        reasons.append(f"{total - count} of {total} samples are missing")
    if not count and gate.metric is not None:
        mend = "evaluate at most 5,000 samples"
        reasons = [f"{evidence.where} does not hold the influence of each sample on {gate.metric}: {mend}"]
    if not count and not reasons:
        reasons.append("there are no samples")
    flags = evidence.trust.get(gate.model, {}).get(EVERY, {})
    options = evidence.description.config
    if not evidence.trust and options is not None and options.trust is not None:  # `evaluate` writes them always
        reasons.append(f"the checks of trust of {evidence.where} are lost: run the same command again")
    if (EVERY, gate.model) in evidence.doubted:
        raised = "; ".join(f"{name}: {flag['why']}" for name, flag in flags.items() if flag["raised"])
        reasons.append(f"every number of {gate.model} is flagged, {raised}")
    if gate.certified:
        far = [f"certificates reach to strength {evidence.limit:g} only: evaluate with a larger --limit"]
        return reasons + (far if gate.at >= evidence.limit else [])
    return reasons + (_doubtful_attacks(gate, evidence) if gate.attacks else [])


def _left_out(gate: Gate, evidence: Evidence) -> set[str]:
    """The samples that lack what the gate's scenario attacks, or that of one of its scenarios."""
    if not gate.attacks:
        return set()
    names = singles(gate, evidence) if gate.measure == WORST else [scenario_of(gate, evidence)]
    return set().union(*(evidence.left_out(gate.model, name) for name in names))


def _errors(gate: Gate, evidence: Evidence) -> list[tuple[str, set[str]]]:
    """For each model of the gate, the samples without a clean score, and those that are errors in
    its own condition.
    """
    oracle = [(_oracle(gate, evidence), list[dict[str, Any]]())] if gate.measure == GAP else []
    found = []
    for model, conditions in [(gate.model, _conditions(gate, evidence)), *oracle]:
        crashed = evidence.errors(model) - set(evidence.clean(model)[0].to_pylist())
        found.append((model, crashed.union(*(evidence.errors(model, **condition) for condition in conditions))))
    return found


def _conditions(gate: Gate, evidence: Evidence) -> list[dict[str, Any]]:
    """The filter of a gate's rows: a table, and values of its columns; no filter for clean
    scores.
    """
    if gate.attacks:
        names = singles(gate, evidence) if gate.measure == WORST else [scenario_of(gate, evidence)]
        return [{"table": "ledger", "scenario": name} for name in names]
    if gate.measure == WORST:
        return [{"table": "sweep", "name": f"fixed({name})", "level": 1.0} for name in _optional(evidence)]
    if gate.schedule is None and gate.corruption is None:
        return []
    name = str(gate.corruption).strip() if gate.schedule is None else schedule_of(gate, evidence)
    wanted = gate.severity if gate.rate is None else gate.rate
    levels = [each for each in evidence.levels.get(name, []) if wanted is None or isclose(each, wanted)]
    return [{"table": "sweep", "name": name, "level": level} for level in levels]


def _doubtful_attacks(gate: Gate, evidence: Evidence) -> list[str]:
    """The raised flags of a worst-case number, and whether no search was made at all."""
    if not evidence.attacked:
        return [f"nothing was attacked in {evidence.where}: --search is none, and --attack names no attack"]
    if gate.measure != MEDIAN and gate.at > evidence.limit:
        return [f"the search went up to strength {evidence.limit:g} only: evaluate with a larger --limit"]
    if gate.measure == MEDIAN and not gate.compares and gate.limit > evidence.limit:
        return [
            f"the limit lies beyond the search, which went up to strength {evidence.limit:g}: evaluate with a larger"
            " --limit"
        ]
    scenarios = singles(gate, evidence) if gate.measure == WORST else [scenario_of(gate, evidence)]
    reasons = []
    for scenario in scenarios:
        flags = evidence.trust.get(gate.model, {}).get(scenario)
        if flags is None and parse(scenario).attacked:
            reasons.append(
                f"trust of {scenario} was not checked: evaluate with it as a --scenario, and without --no-trust"
            )
        elif (scenario, gate.model) in evidence.doubted and flags is not None:
            raised = "; ".join(f"{name}: {flag['why']}" for name, flag in flags.items() if flag["raised"])
            reasons.append(f"trust of {scenario} is flagged, {raised}")
    return reasons


def _least(rows: Array) -> Estimate:
    """The interval of the smallest of several means: from the smallest lower end to the smallest
    upper end, where each upper end gets a part of the error.
    """
    means, samples = rows.mean(0), len(rows)
    lows = [proportion(float(mean), samples)[0] for mean in means]
    highs = [proportion(float(mean), samples, 1 - 0.05 / len(means))[1] for mean in means]
    return Estimate(float(means.min()), min(lows), min(highs))
