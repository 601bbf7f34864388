"""The field's numbers over a set, as a run keeps them; see `harness.engine.set_metrics`."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, TypeAdapter

from harness.run.schema import CORRUPTION

CLEAN, ATTACKED = "clean", "attacked"
ENOUGH = 20  # samples; fewer have no interval


def in_tables(kind: str, level: float) -> bool:
    """Whether tables show a condition; of the others the file alone has numbers."""
    return kind in (CLEAN, CORRUPTION) or level == 1


class SetMetric(BaseModel):
    """One metric of one model under one condition.

    Attributes:
        kind: clean, attacked, schedule or corruption.
        name: of the scenario, the schedule or the corruption.
        level: the strength, the rate or the severity.
        group: whose samples it is over; empty: all.
        low, high: the ends of a 95 % interval by resampling; None below 20 samples, above 5,000,
            and where no table shows the condition.
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

    def __str__(self) -> str:
        """The value with its interval."""
        if self.low is None:
            return f"{self.value:.3f} [{'too few samples' if self.samples < ENOUGH else 'no interval'}]"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


_LIST = TypeAdapter(list[SetMetric])


def packed(metrics: Iterable[SetMetric]) -> list[dict[str, object]]:
    """As JSON writes them."""
    return [each.model_dump() for each in metrics]


def unpacked(content: object) -> list[SetMetric]:
    """What `packed` made.

    Raises:
        ValueError: it is something else.
    """
    return _LIST.validate_python(content)
