"""The metrics over a set, as a run stores them; see `harness.engine.set_metrics`."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, TypeAdapter

from harness.run.schema import CORRUPTION

CLEAN, ATTACKED = "clean", "attacked"


def in_tables(kind: str, level: float) -> bool:
    """Whether tables show a condition. The metrics of other conditions are only in the file."""
    return kind in (CLEAN, CORRUPTION) or level == 1


class SetMetric(BaseModel):
    """One metric of one model under one condition.

    Attributes:
        kind: clean, attacked, schedule or corruption.
        name: of the scenario, the schedule or the corruption.
        level: the strength, the rate or the severity.
        group: whose samples it is over; empty: all.
        low, high: the ends of a 95 % interval by the jackknife; None for fewer than 100 samples,
            if no sample has an influence, or if leaving out each sample takes too long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    kind: str
    name: str
    level: float
    metric: str
    group: str = ""
    value: float
    low: float | None
    high: float | None
    samples: int


_LIST = TypeAdapter(list[SetMetric])


def packed(metrics: Iterable[SetMetric]) -> list[dict[str, object]]:
    """The metrics in the form of JSON."""
    return [each.model_dump() for each in metrics]


def unpacked(content: object) -> list[SetMetric]:
    """Read the form that `packed` made.

    Raises:
        ValueError: it is something else.
    """
    return _LIST.validate_python(content)
