"""The notes of a run: numbers of any form that JSON has."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from attacks.errors import BadInput
from harness.run.notes import Notes
from harness.storage.folder import Storage

VERDICT = {"gate": "clean", "limit": 0.5, "value": 0.6, "low": None, "high": None, "verdict": "pass", "why": "so"}
WHOLE = [0, -(2**63), 2**53 + 1, 10**30]


def notes(folder: Any, name: str, content: Any) -> Notes:
    (folder / name).write_text(json.dumps(content))
    return Notes(Storage(str(folder)), lambda: "one")


@pytest.mark.parametrize("key", ["limit", "value", "low", "high"])
@pytest.mark.parametrize("number", WHOLE)
def test_whole_numbers_of_gates_are_floats(tmp_path: Any, key: str, number: int) -> None:
    """Beside others, so that one column holds both."""
    found = notes(tmp_path, "gates.json", [VERDICT, {**VERDICT, key: number}]).gates()
    assert found[1][key] == float(number) and isinstance(found[1][key], float)
    assert pa.Table.from_pylist(found).num_rows == 2


@pytest.mark.parametrize("number", WHOLE)
def test_whole_numbers_of_flags_are_floats(tmp_path: Any, number: int) -> None:
    flag = {"raised": True, "value": number, "why": "so"}
    found = notes(tmp_path, "trust.json", {"run id": {"one": {}}, "early": {"clean": {"random": flag}}}).trust()
    assert found == {"early": {"clean": {"random": {**flag, "value": float(number)}}}}


@pytest.mark.parametrize("number", [10**400, "0.5", True, [0.5]])
def test_what_is_no_number_is_refused(tmp_path: Any, number: Any) -> None:
    with pytest.raises(BadInput, match=r"gates.json cannot be read; run `gate` on it again"):
        notes(tmp_path, "gates.json", [{**VERDICT, "value": number}]).gates()
