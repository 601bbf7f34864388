"""Run directories of made-up outcomes, as small as a test wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.gates.evidence import Evidence
from harness.run.config import Evaluation
from harness.run.description import Description
from harness.run.directory import RunDirectory
from harness.run.schema import SCHEMAS, Parts

IMAGE, BOTH = "image@linf:0.1", "audio@linf:0.2 + image@linf:0.1"
MODALITIES = ("image", "audio")
LIMIT = 8.0
FINE: dict[str, Any] = {"random": {"raised": False, "value": 0.0, "why": "the answers are the same twice"}}


@dataclass
class Outcomes:
    """The outcomes of one model: clean scores and critical strengths of the same samples, and
    scores by schedule and level.

    A sample that is an error has an error row in the ledger, and nothing else.
    """

    scores: Sequence[float]
    strengths: dict[str, Sequence[float]] = field(default_factory=dict)
    swept: dict[tuple[str, float], Sequence[float]] = field(default_factory=dict)
    errors: int = 0


def description(models: Sequence[str], **changed: Any) -> dict[str, Any]:
    """The `run.json` of a run of a made-up task."""
    config = Evaluation(task="toy", model=tuple(models), limit=LIMIT).model_dump(mode="json")
    identity = {
        "config": {**config, **changed.pop("config", {})},
        "weights": dict.fromkeys(models, "w"),
        "task definition": "d",
        "scenarios": [IMAGE],
        "attacks": {},
        "corruptions": {},
    }
    said = {"run": "r", "status": "complete", "identity": identity, "config": config, "modalities": list(MODALITIES)}
    return said | {"git_commit": None, "versions": {}, "note": ""} | changed


def make_run(
    folder: Path,
    models: dict[str, Outcomes],
    names: Sequence[str] = (),
    trust: dict[str, Any] | None = None,
    **changed: Any,
) -> RunDirectory:
    """Write a run; every attack is trusted unless `trust` says otherwise.

    Other names change `run.json`.
    """
    directory = RunDirectory(str(folder))
    hashes = changed.pop("hashes", {})
    directory.note(Description.model_validate(description(list(models), **changed)))
    for place, (model, outcomes) in enumerate(models.items()):
        samples = list(names) or [f"{at:05d}" for at in range(len(outcomes.scores))]
        directory.add(f"cell-{place}", _parts(model, outcomes, samples, hashes, changed))
    directory.notes.write_trust(
        {model: dict.fromkeys(outcomes.strengths, FINE) for model, outcomes in models.items()} | (trust or {})
    )
    return directory


def _parts(
    model: str, outcomes: Outcomes, samples: Sequence[str], hashes: dict[str, str], changed: dict[str, Any]
) -> Parts:
    limit = changed.get("config", {}).get("limit", LIMIT)
    shared = {
        "run": changed.get("run", "r"),
        "task": "toy",
        "model": model,
        "seed": 0,
        "status": "ok",
        "repeat": 0,
        "limit": limit,
    }
    parts, whole = Parts(), range(outcomes.errors, len(samples))
    parts.rows["samples"] = [
        _full(
            "samples",
            {**shared, "sample": samples[at], "hash": hashes.get(samples[at], "h"), "score": outcomes.scores[at]},
        )
        for at in whole
    ]
    for scenario, strengths in outcomes.strengths.items():
        for at, sample in enumerate(samples):
            row = {**shared, "sample": sample, "scenario": scenario, "strength": strengths[at], "score": 0.0}
            parts.rows["ledger"].append(
                _full("ledger", row if at in whole else {**row, "status": "error", "strength": None, "score": None})
            )
    for (schedule, level), scores in outcomes.swept.items():
        present = "00" if level == 1 and "(" not in schedule else "11" if level == 0 else "10"
        for at in whole:
            row = {
                **shared,
                "sample": samples[at],
                "kind": "corruption" if "@" in schedule else "schedule",
                "name": schedule,
                "level": level,
                "present": present,
                "score": scores[at],
            }
            parts.rows["sweep"].append(_full("sweep", row))
    return parts


def _full(table: str, row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in SCHEMAS[table].names}


def evidence(folder: Path, models: dict[str, Outcomes], **changed: Any) -> Evidence:
    """A made-up run as gates see it."""
    return Evidence.of_run(make_run(folder, models, **changed))


def held(model: str, outcomes: Outcomes) -> Evidence:
    """The same of one model, never written: for simulations."""
    samples = [f"{at:05d}" for at in range(len(outcomes.scores))]
    rows = _parts(model, outcomes, samples, {}, {}).rows
    tables = {name: pa.Table.from_pylist(rows[name], SCHEMAS[name]) for name in SCHEMAS}
    return Evidence(
        "run",
        Description.model_validate(description([model])),
        tables,
        {model: dict.fromkeys(outcomes.strengths, FINE)},
    )
