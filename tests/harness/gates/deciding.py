"""Helpers of the tests of decisions."""

from __future__ import annotations

from typing import Any

from harness.gates.decide import Verdict, decide
from harness.gates.evidence import Evidence
from harness.gates.file import gate_of

INF = float("inf")


def shares(right: int, count: int = 100) -> list[float]:
    return [1.0] * right + [0.0] * (count - right)


def verdict(evidence: Evidence, baseline: Evidence | None = None, **keys: Any) -> Verdict:
    (found,) = decide([gate_of(model="m", **keys)], evidence, baseline)
    return found
