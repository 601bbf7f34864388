"""Two models side by side: their scores on the same samples under the same conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from app.queries import answer, kept, rows
from app.runs import Run
from harness.analysis.curves import query
from harness.analysis.intervals import TOO_FEW
from harness.analysis.paired import drop_of

CLEAN = "clean"
SCORES = """
    with attacked as (
        select scenario as condition, sample, case when strength > ?::double then 1.0 else 0.0 end as score, strength
        from ledger where model = ? and status = 'ok'
    ), swept as (
        select case when starts_with(name, 'fixed(') and level = 1
                   then 'missing ' || replace(name[7:-2], '+', ' + ')
                    else name || ', level ' || format('{:g}', level) end as condition,
               sample, avg(score) as score, null::double as strength
        from sweep where model = ? and status = 'ok' and (level > 0 or name = 'fixed') group by all
    ), every as (
        select 'clean' as condition, sample, score, null::double as strength from samples where model = ?
        union all from attacked union all from swept
    )
    select condition, every.sample, every.score, strength, hash, target, "group"
    from every join (select sample, hash, target, "group" from samples where model = ?) using (sample)
"""
PAIRED = """
    select ours.condition as condition, list(ours.score) as ours, list(theirs.score) as theirs
    from ours join theirs on ours.condition = theirs.condition
        and ours.sample = theirs.sample and ours.hash = theirs.hash
    group by ours.condition
"""
CHANGED = """
    select ours.sample, ours.target, ours."group", ours.score, theirs.score, ours.strength, theirs.strength
    from ours join theirs on ours.condition = theirs.condition
        and ours.sample = theirs.sample and ours.hash = theirs.hash
    where ours.condition = '{}' and abs(ours.score - theirs.score) > 0.5 order by ours.score - theirs.score, ours.sample
"""


@kept
def scores(run: Run, model: str, strength: float) -> pa.Table:
    """The score of a model on every sample under every condition. Under an attack, it is whether
    the sample withstands this strength.
    """
    return answer(run, SCORES, (strength, model, model, model, model))


@kept
def differences(ours: tuple[Run, str], theirs: tuple[Run, str], strength: float) -> list[dict[str, Any]]:
    """For each condition of both, the mean scores and their change, B minus A, with its 95 %
    interval, as in `compare`.
    """
    found = []
    for condition, first, second in query(PAIRED, ours=scores(*ours, strength), theirs=scores(*theirs, strength)):
        a, b = np.array(first), np.array(second)
        change = drop_of(a, b).turned
        found.append(
            {
                "condition": condition,
                "A": float(a.mean()),
                "B": float(b.mean()),
                "change": change.value,
                "low": change.low,
                "high": change.high,
                "interval": TOO_FEW if change.low is None else "95 %",
                "samples": len(a),
                "only A": int((a - b > 0.5).sum()),
                "only B": int((b - a > 0.5).sum()),
            }
        )
    return sorted(found, key=lambda row: _order(row["condition"]))


def _order(condition: str) -> tuple[int, int, str]:
    kind = 0 if condition == CLEAN else 1 if condition.startswith("missing ") else 3 if ", level " in condition else 2
    return kind, condition.count("+"), condition


@kept
def changed(ours: tuple[Run, str], theirs: tuple[Run, str], strength: float, condition: str) -> list[dict[str, Any]]:
    """The samples on which the two differ by more than half a score."""
    names = ("sample", "target", "group", "score A", "score B", "critical strength A", "critical strength B")
    sql = CHANGED.format(condition.replace("'", "''"))
    found = query(sql, ours=scores(*ours, strength), theirs=scores(*theirs, strength))
    rows_of = [dict(zip(names, row, strict=True)) for row in found]
    filled = [key for key in names if any(row[key] is not None for row in rows_of)]
    return [
        {"right": "A" if row["score A"] > row["score B"] else "B"} | {key: row[key] for key in filled}
        for row in rows_of
    ]


def apart(ours: tuple[Run, str], theirs: tuple[Run, str]) -> int:
    """How many samples of the same name hold other data in the two runs."""
    sql = "select sample, hash from samples where model = ?"
    first, second = ({row["sample"]: row["hash"] for row in rows(run, sql, (model,))} for run, model in (ours, theirs))
    return sum(second.get(sample, digest) != digest for sample, digest in first.items())
