"""Certificates: how far below the exact strengths they are, never above, and what a band costs.

    python -m benchmarks.certified --samples 100 --scale 1

The exact answers are those of `benchmarks/exact.py`. The band is that of a model on `digits` as
shipped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from attacks.certify import Guarded, Uncertified, certified_strength
from attacks.objective import Classification
from attacks.scenario import Scenario, closure
from benchmarks.cases import Case, compared
from benchmarks.exact import searched
from benchmarks.families import FAMILIES
from harness.tasks.problems.problem import Classification as Labels

STRENGTHS = (0.125, 0.25, 0.5, 1.0)


def certified(case: Case, scenario: Scenario) -> Tensor | None:
    """The certified strengths (B,) of a case; None where no linear bound covers the scenario."""
    objective = case.objective
    assert isinstance(objective, Classification)
    problem = Labels(objective.forward(case.inputs).shape[1])
    guarded = Guarded(objective.forward, lambda outputs: problem.withstood(outputs, objective.labels))
    most = torch.full((len(objective.labels),), case.limit, dtype=torch.float64)
    try:
        return certified_strength(guarded, case.inputs, case.bounds, scenario, most).strength
    except Uncertified:
        return None


def ratios(cases: Iterator[Case]) -> Iterator[Tensor]:
    """Certified over exact strengths, for each scenario that has both."""
    for case in cases:
        known = searched(case, "fast")
        for scenario in closure([case.scenario]):
            bound = certified(case, scenario)
            if bound is not None:
                exact = case.exact(scenario, known[scenario].strength)
                yield (bound / exact)[compared(exact) & (exact <= case.limit)]


def exactness(scale: float) -> Iterator[dict[str, object]]:
    """A row for each family of models with exact answers."""
    for family, made in FAMILIES.items():
        found = torch.cat([torch.empty(0, dtype=torch.float64), *ratios(made(scale))])
        ends = found.quantile(torch.tensor([0.0, 0.05, 0.5, 1.0], dtype=torch.float64)).tolist()
        yield {
            "family": family,
            "samples": len(found),
            **dict(zip(("least", "p5", "p50", "most"), ends, strict=True)),
        }


def bands(model: str, scenarios: Sequence[str], samples: int) -> Iterator[dict[str, object]]:
    """A row for each scenario: both edges at `STRENGTHS`, and the seconds of certificates alone."""
    import harness

    options = {"scenarios": list(scenarios), "schedule": "none", "samples": samples, "trust": False, "attributions": 0}
    seconds = []
    for certify in (None, "linear"):
        began = time.perf_counter()
        run = harness.evaluate("digits", [model], certify=certify, **options)
        seconds.append(time.perf_counter() - began)
    for scenario, rows in run.ledger.groupby("scenario"):
        edges = {
            f"{strength:g}": f"{(rows.certified > strength).mean():.2f} / {(rows.strength > strength).mean():.2f}"
            for strength in STRENGTHS
        }
        yield {"scenario": scenario, **edges, "seconds of all": round(seconds[1] - seconds[0], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--scale", type=float, default=1.0, help="of the families; 0 for none")
    parser.add_argument("--model", default="concat")
    parser.add_argument("--scenario", nargs="*", default=["image@linf:1.6", "text@tokens:1"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [*(exactness(given.scale) if given.scale else ()), *bands(given.model, given.scenario, given.samples)]
    for row in rows:
        print(json.dumps(row) if given.json else "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
