"""Which samples of a model are shown, and why."""

from __future__ import annotations

from heapq import nsmallest

import pyarrow as pa

from attacks.randomness import keyed_seed
from harness.analysis.curves import query
from harness.engine.loading import Loaded
from harness.engine.plan import Work

CLOSEST, FURTHEST, RANDOM = "closest", "furthest", "random"


def samples(work: Work, model: Loaded, ledger: pa.Table) -> dict[str, str]:
    """The samples to show of a model, and why: a third closest to failing, a third furthest from
    it, and a third drawn at random.

    Closest and furthest by the smallest critical strength over the requested scenarios. Samples
    that fail untouched are neither.
    """
    count, third = work.config.attributions, -(-work.config.attributions // 3)
    sql = """
        select sample, min(strength) as least from ledger
        where status = 'ok' and model = $model and list_contains($wanted, scenario) group by sample
    """
    given = {"model": model.name, "wanted": [str(scenario) for scenario in work.requested]}

    def standing(order: str) -> list[str]:
        ordered = f"{sql} having least > 0 order by least {order}, sample {order} limit {count}"
        return [sample for sample, _ in query(ordered, given, ledger=ledger)]

    everyone = (sample for sample, _ in query(sql, given, ledger=ledger))
    drawn = nsmallest(count, everyone, key=lambda sample: keyed_seed("attributions", work.config.seed, sample))
    chosen: dict[str, str] = {}
    for why, order, most in (
        (CLOSEST, standing("asc"), third),
        (FURTHEST, standing("desc"), 2 * third),
        (RANDOM, drawn, count),
    ):
        for sample in order:
            if len(chosen) < min(most, count):
                chosen.setdefault(sample, why)
    return chosen
