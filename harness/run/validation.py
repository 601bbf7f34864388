"""Whether the contents of a run's files are valid: they may come from elsewhere, or from a disk
that lost parts.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from attacks.errors import BadInput
from attacks.scenario import parse
from harness.run.description import Identity

NAMED = {
    "samples": ("task", "model", "sample", "hash"),
    "sweep": ("task", "model", "sample", "kind", "name", "present", "status"),
    "fronts": ("task", "model", "sample", "scenario"),
    "tallies": ("task", "model", "sample", "table", "name", "level", "repeat", "tally"),
    "ledger": ("task", "model", "sample", "scenario", "status"),
    "influences": ("model", "kind", "name", "metric", "sample"),
}
"""The texts that every row has."""
STATUSES = pa.array(["ok", "error", "skipped"])
BITS = "^[01]+$"
OWNER = "run id"  # in a run's trust and gates files: the id of their run


class _Flag(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    raised: bool
    value: float
    why: str


class _Trust(BaseModel):
    models: dict[str, dict[str, dict[str, _Flag]]]


class _Verdict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    gate: str
    limit: float | None = Field(allow_inf_nan=False)
    value: float | None = Field(allow_inf_nan=False)
    low: float | None = Field(allow_inf_nan=False)
    high: float | None = Field(allow_inf_nan=False)
    result: str | None = None
    verdict: Literal["pass", "fail", "inconclusive"]
    why: str


class _Gates(BaseModel):
    verdicts: list[_Verdict]


def trusted(flags: Any) -> dict[str, Any]:
    """Flags per model, scenario and check, their values as floats; the id of the run may stand
    beside the models, in the same shape.

    Raises:
        ValueError: they are something else.
    """
    found: dict[str, Any] = _Trust.model_validate({"models": flags}).model_dump()["models"]
    return found


def decided(verdicts: Any) -> list[dict[str, Any]]:
    """Verdicts of gates, their numbers as floats.

    Raises:
        ValueError: they are something else.
    """
    found: list[dict[str, Any]] = _Gates.model_validate({"verdicts": verdicts}).model_dump()["verdicts"]
    return found


def row_faults(table: str, part: pa.Table) -> str:
    """The first invalid value in rows of a table (samples, sweep or ledger; all columns or some);
    empty if all values are valid.
    """
    for name in NAMED.get(table, ()):
        if name in part.column_names and part.column(name).null_count:
            return f"no {name}"
    if table == "samples":
        return _within("score", part, 0.0, 1.0)
    if table == "influences":
        return _within("value", part, -math.inf, math.inf)
    if table == "fronts":
        return _within("score", part, 0.0, 1.0) or _within("strength", part, 0.0, math.inf)
    if table == "tallies" and "tally" in part.column_names:
        return "a tally that lacks a number" if pc.list_flatten(part.column("tally")).null_count else ""
    if table not in NAMED or "status" not in part.column_names:
        return ""
    if not pc.all(pc.is_in(_texts(part, "status"), STATUSES), min_count=0).as_py():
        return "another status"
    right = part.filter(pc.equal(_texts(part, "status"), "ok"))
    return _swept(right) if table == "sweep" else _searched(part, right)


def _texts(part: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of texts, also if it is a dictionary column."""
    return part.column(name).cast(pa.string())


def _swept(rows: pa.Table) -> str:
    if (
        "present" in rows.column_names
        and not pc.all(pc.match_substring_regex(_texts(rows, "present"), BITS), min_count=0).as_py()
    ):
        return "no bits in present"
    return _within("score", rows, 0.0, 1.0) or _within("level", rows, 0.0, math.inf)


def _searched(part: pa.Table, rows: pa.Table) -> str:
    for text in _texts(part, "scenario").unique().to_pylist() if "scenario" in part.column_names else ():
        if not _parses(text):
            return f"scenario {text!r}"
    return (
        _within("limit", rows, 0.0, math.inf)
        or _within("score", rows, 0.0, 1.0)
        or _within("strength", rows, 0.0, math.inf, infinite=True)
        or _beyond(rows)
    )


def _beyond(rows: pa.Table) -> str:
    if not {"limit", "strength"} <= set(rows.column_names):
        return ""
    found = pc.and_(pc.is_finite(rows.column("strength")), pc.greater(rows.column("strength"), rows.column("limit")))
    return "a strength beyond its limit" if pc.any(found, min_count=0).as_py() else ""


@lru_cache(maxsize=10_000)
def _parses(text: str) -> bool:
    try:
        return str(parse(text)) == text
    except BadInput:
        return False


def _within(name: str, rows: pa.Table, low: float, high: float, infinite: bool = False) -> str:
    """Why not all values of a column are numbers between two ends; empty if they are, or if the
    column is missing.
    """
    if name not in rows.column_names or not len(rows):
        return ""
    values = rows.column(name)
    ends = pc.min_max(values).as_py()
    fits = (
        not values.null_count and not pc.any(pc.is_nan(values)).as_py() and low <= ends["min"] and ends["max"] <= high
    )
    return "" if fits and (infinite or ends["max"] < math.inf) else f"an invalid {name}"


def differences(here: Identity, wanted: Identity) -> list[str]:
    """The keys whose values differ, those of the configuration by their own names."""
    flat = [{**side.content(), **side.config.content(), "config": None} for side in (here, wanted)]
    keys = {key for side in flat for key in side}
    return sorted(key for key in keys if flat[0].get(key) != flat[1].get(key)) or ["its identity"]
