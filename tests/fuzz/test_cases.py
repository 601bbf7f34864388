"""The count of cases; only cases that run are counted."""

import importlib
from pathlib import Path

from tests.fuzz.cases import CASES, USED


def test_there_are_ten_thousand_cases_and_every_one_runs() -> None:
    for module in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"tests.fuzz.{module.stem}")
    assert set(CASES) == USED
    assert sum(CASES.values()) >= 10_000
