"""The driver holds no Python object per row: a million samples under seven scenarios are seven
million rows.
"""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.memory import COMMANDS, prepare_folder
from tests.harness.test_cli import run

SAMPLES = 6_000
# bytes of Python's at the most: ids and keys of samples are held, 16 rows of tables are not, nor
# all resamples
A_SAMPLE = 1_000
# bytes that do not grow with the run: copies of the page's script, mostly
BEYOND = {"evaluate": 5e6, "report": 35e6, "gate": 5e6}


def test_no_command_holds_an_object_per_row(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `tracemalloc` counts, which sees Python's objects and NumPy's arrays, but no table of
    Arrow's or DuckDB's.
    """
    prepare_folder(elsewhere, SAMPLES, cell=250)
    for words in COMMANDS.values():
        assert run(monkeypatch, *words) in (0, 4), "what is imported only now is not counted"
        tracemalloc.start()
        try:
            assert run(monkeypatch, *words) in (0, 4)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < BEYOND[words[0]] + A_SAMPLE * SAMPLES, f"{words[0]}: {most / SAMPLES:.0f} bytes a sample"


@pytest.mark.slow
def test_a_million_samples_fit_into_two_gigabytes() -> None:
    command = [sys.executable, str(Path(__file__).parents[3] / "benchmarks" / "memory.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
