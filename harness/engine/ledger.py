"""The ledger: one row per sample and scenario, the best known critical strength and how it was
found.

A critical strength in the ledger is an upper bound found by attack, not a certificate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from attacks.region import Inputs
from attacks.scenario import Scenario
from attacks.search_state import Found
from harness.run.schema import CERTIFICATES, LEDGER
from harness.storage.tensorfile import as_bytes


def found_rows(
    scenario: Scenario, found: Found, judged: Sequence[dict[str, Any]], threshold: float | None = None
) -> list[dict[str, Any]]:
    """The columns that a search decides, one row per sample. `judged` has the model's answers on
    the witnesses.
    """
    hashes = witness_hashes(found.witness, scenario)
    strengths, spent = found.strength.tolist(), zip(found.gradients.tolist(), found.queries.tolist(), strict=True)
    return [
        {
            **scenario_columns(scenario),
            **columns,
            "threshold": threshold,
            "strength": strength,
            "searched": None,
            **dict.fromkeys(CERTIFICATES),
            "finder": finder,
            "gradients": gradients,
            "queries": queries or None,
            "witness": digest if strength < float("inf") else "",
            "status": "ok",
        }
        for strength, columns, finder, (gradients, queries), digest in zip(
            strengths, judged, found.finder, spent, hashes, strict=True
        )
    ]


def empty_rows(
    scenario: Scenario, samples: Sequence[str], thresholds: Sequence[float | None] = (), status: str = "error"
) -> list[dict[str, Any]]:
    """The rows of a scenario that could not be searched, one per sample and threshold.

    Args:
        status: "skipped" where the samples lack what the scenario attacks.
    """
    nothing = {**dict.fromkeys(LEDGER.names), **scenario_columns(scenario), "status": status}
    each = thresholds or (None,)
    return [{**nothing, "threshold": threshold, "sample": sample} for threshold in each for sample in samples]


def witness_key(scenario: object, threshold: float | None, sample: str, modality: str) -> str:
    """The name of a stored witness: a modality of a sample under a scenario, with the threshold
    where answers are graded.
    """
    return f"{scored_at(scenario, threshold)}|{sample}|{modality}"


def scored_at(scenario: object, threshold: float | None) -> str:
    """A scenario in names of storage, with the threshold where answers are graded."""
    return f"{scenario}" if threshold is None else f"{scenario}|{threshold:g}"


def keys_of(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The stored names of the modalities of a ledger row's witness."""
    return {name: witness_key(row["scenario"], row["threshold"], row["sample"], name) for name in names}


def scenario_columns(scenario: Scenario) -> dict[str, str]:
    """The columns of a scenario in the ledger."""
    return {
        "scenario": str(scenario),
        "attacked": "+".join(scenario.attacked_names),
        "missing": "+".join(scenario.missing),
    }


def witness_hashes(witness: Inputs, scenario: Scenario) -> Sequence[str]:
    """A hash of the attacked modalities of each sample's witness, 16 hexadecimal digits."""
    tensors = [witness[name].detach().cpu() for name in scenario.attacked_names]
    return [witness_hash([x[row] for x in tensors]) for row in range(len(next(iter(witness.values()))))]


def witness_hash(attacked: Sequence[Tensor]) -> str:
    """The same of one sample, its attacked modalities in the order of the scenario."""
    return hashlib.sha256(b"".join(as_bytes(x) for x in attacked)).hexdigest()[:16]
