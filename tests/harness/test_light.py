"""Reading a run loads neither torch nor the engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rows import BOTH, IMAGE, Outcomes, make_run

ROOT = Path(__file__).parents[2]
HEAVY = """
ours = ("harness.engine", "harness.models.")
heavy = sorted(name for name in sys.modules if name == "torch" or name.startswith(ours))
print(heavy, file=sys.stderr)
sys.exit(bool(heavy))
"""
VERB = """
import sys
from harness.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
START = """
import sys
import harness.commands.dashboard, app.server, app.main
"""
GATES = f"""
gates:
  - {{model: m, min: 0.8}}
  - {{model: m, scenario: "{IMAGE}", min: 0.1}}
  - {{model: m, scenario: "{IMAGE}", measure: median critical strength, min: 0.1}}
  - {{model: m, schedule: mcar, rate: 0.5, max_drop: 0.5}}
  - {{model: m, schedule: mcar, measure: area, min: 0.1}}
  - {{model: m, corruption: image@noise, severity: 3, min: 0.1}}
  - {{model: m, measure: worst modality, strength: 1, min: 0.1}}
"""


def loads_nothing_heavy(folder: Path, code: str, *arguments: str) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code + HEAVY, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    swept = {("mcar", 0.0): [1.0] * 100, ("mcar", 0.5): [0.9] * 100, ("image@noise", 3.0): [0.8] * 100}
    outcomes = Outcomes([1.0] * 100, {IMAGE: [2.0] * 100, BOTH: [2.0] * 100}, swept)
    for name in ("a", "b"):
        make_run(tmp_path / name, {"m": outcomes})
    (tmp_path / "gates.yaml").write_text(GATES)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    ["gate a --baseline b", "compare a b", "bless a", "report a --markdown -", "report a --markdown r.md"],
    ids=lambda command: command.split()[0],
)
def test_a_verb_that_reads_runs_loads_neither_torch_nor_the_engine(folder: Path, command: str) -> None:
    assert loads_nothing_heavy(folder, VERB, *command.split())


def test_the_dashboard_starts_without_torch_and_the_engine(folder: Path) -> None:
    assert loads_nothing_heavy(folder, START)
