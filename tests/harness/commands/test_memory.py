"""The driver holds no Python object per row: a million samples under seven scenarios are seven
million rows.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.memory import COMMANDS, prepare_folder

SAMPLES = 6_000
# bytes of Python's at the most: ids and keys of samples are held, 16 rows of tables are not, nor
# all resamples
A_SAMPLE = 1_000
# bytes that do not grow with the run: copies of the page's script, mostly
BEYOND = {"evaluate": 5e6, "report": 35e6, "gate": 5e6}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    prepare_folder(folder, SAMPLES, cell=250)
    return folder


COUNTED = """
import contextlib, io, sys, tracemalloc
from harness.cli import main

def run(words):
    sys.argv = ["harness", *words]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main()
        except SystemExit as stop:
            assert stop.code in (None, 0, 4), stop.code

words = sys.argv[1:]
run(words)  # what is imported only now is not counted
tracemalloc.start()
run(words)
print(tracemalloc.get_traced_memory()[1])
"""


@pytest.mark.parametrize("verb", list(COMMANDS))
def test_no_command_holds_an_object_per_row(made: Path, verb: str) -> None:
    """As `tracemalloc` counts, which sees Python's objects and NumPy's arrays, but no table of
    Arrow's or DuckDB's; in a process of its own, because what other tests left behind counts too.
    """
    command = [sys.executable, "-c", COUNTED, *COMMANDS[verb]]
    answer = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    most = int(answer.stdout)
    assert most < BEYOND[verb] + A_SAMPLE * SAMPLES, f"{verb}: {most / SAMPLES:.0f} bytes a sample"


@pytest.mark.slow
def test_a_million_samples_fit_into_two_gigabytes() -> None:
    command = [sys.executable, str(Path(__file__).parents[3] / "benchmarks" / "memory.py")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
