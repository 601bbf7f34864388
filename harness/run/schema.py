"""The columns of the tables of a run, and the rows that a cell adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from torch import Tensor

    from attacks.region import Inputs

TALLY = pa.list_(pa.float64())
LONGEST_IN_ROW = 256  # numbers of a tally that stands in its row; longer ones lie in the table `tallies`
SCHEDULE, CORRUPTION = "schedule", "corruption"  # kinds of rows of the sweep

SWEEP = pa.schema(
    [
        ("run", pa.string()),
        ("task", pa.string()),
        ("model", pa.string()),
        ("sample", pa.string()),
        ("kind", pa.string()),
        ("name", pa.string()),
        ("level", pa.float64()),
        ("repeat", pa.int64()),
        ("present", pa.string()),
        ("score", pa.float64()),
        ("label", pa.string()),
        ("tally", TALLY),
        ("status", pa.string()),
        ("seed", pa.int64()),
    ]
)


LEDGER = pa.schema(
    [
        ("run", pa.string()),
        ("task", pa.string()),
        ("model", pa.string()),
        ("sample", pa.string()),
        ("scenario", pa.string()),
        ("threshold", pa.float64()),
        ("attacked", pa.string()),
        ("missing", pa.string()),
        ("certified", pa.float64()),
        ("certifier", pa.string()),
        ("uncertified_reason", pa.string()),
        ("strength", pa.float64()),
        ("searched", pa.float64()),
        ("limit", pa.float64()),
        ("clean_score", pa.float64()),
        ("score", pa.float64()),
        ("label", pa.string()),
        ("tally", TALLY),
        ("finder", pa.string()),
        ("gradients", pa.int64()),
        ("queries", pa.int64()),
        ("witness", pa.string()),
        ("status", pa.string()),
        ("seed", pa.int64()),
    ]
)


SAMPLES = pa.schema(
    [
        ("run", pa.string()),
        ("task", pa.string()),
        ("model", pa.string()),
        ("sample", pa.string()),
        ("hash", pa.string()),
        ("target", pa.string()),
        ("group", pa.string()),
        ("score", pa.float64()),
        ("label", pa.string()),
        ("tally", TALLY),
        ("present", pa.string()),
    ]
)
CERTIFICATES = ("certified", "certifier", "uncertified_reason")
OPTIONAL = {"samples": ("present",), "ledger": ("queries", "searched", *CERTIFICATES)}
"""The columns that a part lacks where they would be empty. `present` says which modalities each
sample came with, where some sample came without one; `queries` counts the model calls of a search
without gradients; `searched` is the strength that the run's own search found, where a check of
trust found a smaller one; `certified` is a lower bound of the critical strength, by `certifier`;
`uncertified_reason` says why there is none, or why it could be larger."""
FRONTS = pa.schema(
    [
        ("run", pa.string()),
        ("task", pa.string()),
        ("model", pa.string()),
        ("sample", pa.string()),
        ("scenario", pa.string()),
        ("strength", pa.float64()),
        ("score", pa.float64()),
        ("tally", TALLY),
    ]
)
"""The best pairs of strength and score that attacks came across, where answers are graded."""
TALLIES = pa.schema(
    [
        ("run", pa.string()),
        ("task", pa.string()),
        ("model", pa.string()),
        ("sample", pa.string()),
        ("table", pa.string()),
        ("name", pa.string()),
        ("level", pa.float64()),
        ("repeat", pa.int64()),
        ("tally", pa.list_(pa.float32())),
    ]
)
"""Tallies of more than `LONGEST_IN_ROW` numbers, as float32. The row of `table` that each belongs
to, see `place_of`, has null in their place."""
SCHEMAS = {"samples": SAMPLES, "sweep": SWEEP, "fronts": FRONTS, "tallies": TALLIES, "ledger": LEDGER}
"""The tables of a cell, in the order in which they are written: the ledger completes the cell.
Only runs of long tallies have `tallies`."""
PLACED = {
    "samples": (None, None, None),
    "sweep": ("name", "level", "repeat"),
    "fronts": ("scenario", "strength", None),
    "ledger": ("scenario", "threshold", None),
    "tallies": ("name", "level", "repeat"),
}
"""The columns of a table that tell a row of a sample from the others."""


def place_of(table: str, row: Mapping[str, Any]) -> tuple[str, float, int]:
    """Name, level and repeat under which `tallies` has the tally of a row of a table."""
    name, level, repeat = (row[column] if column else None for column in PLACED[table])
    return name or "", level or 0.0, repeat or 0


@dataclass(eq=False)
class Parts:
    """The results of a cell: rows per table, the witnesses to keep, and why some of its rows are
    errors.

    Attributes:
        lost: rows of the test split on which the model raises, untouched; they have no results.
        contradictions: certificates above witnesses, in a sentence each.
    """

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in SCHEMAS})
    witnesses: Inputs = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)

    def take_in(self, other: Parts) -> None:
        """Add the results on other samples."""
        for name, rows in other.rows.items():
            self.rows[name] += rows
        self.witnesses |= other.witnesses
        self.contradictions += other.contradictions
        self.errors += [text for text in other.errors if text not in self.errors]


ATTRIBUTIONS = pa.schema(
    [
        ("run", pa.string()),
        ("task", pa.string()),
        ("model", pa.string()),
        ("sample", pa.string()),
        ("why", pa.string()),
        ("condition", pa.string()),
        ("method", pa.string()),
        ("modality", pa.string()),
        ("share", pa.float64()),
        ("shapley", pa.float64()),
        ("output", pa.float64()),
        ("baseline", pa.float64()),
        ("delta", pa.float64()),
        ("tensor", pa.string()),
    ]
)


RECURRING = pa.dictionary(pa.int32(), pa.string())
INFLUENCES = pa.schema(
    [
        ("run", RECURRING),
        ("model", RECURRING),
        ("kind", RECURRING),
        ("name", RECURRING),
        ("level", pa.float64()),
        ("metric", RECURRING),
        ("sample", RECURRING),
        ("value", pa.float64()),
    ]
)
"""How much each sample matters for a metric over the set: `value` is the metric plus the sample's
influence (see `harness.analysis.jackknife`), and the mean of a column is the metric."""
BESIDES = {"attributions": ATTRIBUTIONS, "influences": INFLUENCES}
"""The tables that are made when all cells are done."""


@dataclass(eq=False)
class Attributed:
    """The attributions of one model: rows of `ATTRIBUTIONS`, and tensors by the names in them."""

    rows: list[dict[str, Any]]
    tensors: Inputs

    def add(self, row: dict[str, Any], tensor: Tensor) -> None:
        """A row, with the name of its tensor."""
        name = "|".join(row[key] for key in ("model", "sample", "condition", "method", "modality"))
        self.tensors[name] = tensor.detach().float().cpu().contiguous()
        self.rows.append({**row, "tensor": name})
