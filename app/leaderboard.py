"""The leaderboard: one row per run and model, from a few queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from app.queries import answer, fronts, kept, rows, trust
from app.runs import Run
from attacks.scenario import parse
from harness.analysis.curves import Point, Share, missing_curves, robust_curves
from harness.run.flags import flagged

SCORES = ("clean", "worst single", "joint", "missing area")


@kept
def leaders(run: Run) -> list[dict[str, Any]]:
    """For each model of a run, its scores with their intervals; None where the run has no such
    number.
    """
    clean = {row["model"]: Share(row["score"], row["samples"]) for row in rows(run, CLEAN)}
    worst, joint = _robust(run)
    areas = _areas(run)
    flags = flagged(trust(run))
    found = []
    for model in run.models:
        if model not in clean and model not in worst:
            continue
        row: dict[str, Any] = {
            "run": run.label,
            "status": run.description.status,
            "task": run.config.task,
            "model": model,
            "seed": run.config.seed,
        }
        row |= {"samples": clean[model].samples if model in clean else 0}
        row |= _columns("clean", clean.get(model)) | _columns("worst single", worst.get(model, ("", None))[1])
        row |= {"weakest to": worst.get(model, (None, None))[0]} | _columns("joint", joint.get(model, ("", None))[1])
        row |= {"joint attack": joint.get(model, (None, None))[0]}
        row |= {"missing area": areas.get(model, (None, None))[1], "missing by": areas.get(model, (None, None))[0]}
        found.append(row | {"flags": sum(name == model for _, name in flags)})
    return found


CLEAN = "select model, avg(score) as score, count(*) as samples from samples group by model"
ROBUST = """
    select model, scenario, avg(case when strength > 1 then 1.0 else 0.0 end) as score, count(*) as samples
    from ledger where status = 'ok' group by all order by scenario
"""
SEVERAL = """
    select kind, name, model, level, sample, score, present, status from sweep
    where status = 'ok' and name in (
        select name from sweep where kind = 'schedule' group by name having count(distinct level) > 1
    )
"""


def _columns(name: str, share: Share | None) -> dict[str, float | None]:
    low, high = share.interval if share else (None, None)
    return {name: share.value if share else None, f"{name} low": low, f"{name} high": high}


def _robust(run: Run) -> tuple[dict[str, tuple[str, Share]], dict[str, tuple[str, Share]]]:
    """For each model, the attack on one modality that lowers the score most, and the attack on most
    modalities, at strength 1.
    """
    if not run.description.attacked:
        return {}, {}
    singles: dict[str, tuple[str, Share]] = {}
    joints: dict[str, tuple[str, Share]] = {}
    for model, name, share in _shares(run):
        scenario, found = parse(name), (name, share)
        if scenario.missing:
            continue
        if len(scenario.attacked) == 1:
            singles[model] = min(singles.get(model, found), found, key=lambda each: each[1].value)
        elif scenario.attacked:
            joints[model] = min(joints.get(model, found), found, key=_widest)
    return singles, joints


def _shares(run: Run) -> Iterator[tuple[str, str, Share]]:
    """Model, scenario and robust score at strength 1."""
    if (front := fronts(run)) is None:
        yield from ((row["model"], row["scenario"], Share(row["score"], row["samples"])) for row in rows(run, ROBUST))
        return
    ledger = answer(run, "select scenario, model, sample, strength, clean_score, status from ledger")
    for (scenario, model), (point,) in sorted(robust_curves(ledger, [1.0], front).items()):
        yield model, scenario, point.share


def _widest(found: tuple[str, Share]) -> tuple[int, float]:
    return -len(parse(found[0]).attacked), found[1].value


def _areas(run: Run) -> dict[str, tuple[str, float]]:
    """For each model, the mean score over the fractions missing, under the first requested schedule
    with several levels.
    """
    curves = missing_curves(answer(run, SEVERAL))
    order = [text.rsplit(":", 1)[0] for text in run.config.schedule]
    schedules = sorted(
        {schedule for schedule, _ in curves},
        key=lambda name: (order.index(name) if name in order else len(order), name),
    )
    return {
        model: (schedules[0], _area(points)) for (schedule, model), points in curves.items() if schedule == schedules[0]
    }


def _area(points: Sequence[Point]) -> float:
    at, values = np.array([(point.at, point.share.value) for point in points]).T
    span = float(at[-1] - at[0])
    return float(np.trapezoid(values, at)) / span if span else float(values.mean())


def matching(
    found: Sequence[Mapping[str, Any]], words: str, tasks: Sequence[str], sound: bool
) -> list[Mapping[str, Any]]:
    """The rows whose run, task or model contains every word; only of these tasks, if any are named;
    only without flags, on request.
    """
    wanted = words.lower().split()
    return [
        row
        for row in found
        if all(word in f"{row['run']} {row['task']} {row['model']}".lower() for word in wanted)
        and (not tasks or row["task"] in tasks)
        and not (sound and row["flags"])
    ]
