"""Printing is not the work: whatever becomes of standard output, the exit code and the run are
those of the work.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MINE = """
import torch
from harness.tasks import Task
class Net(torch.nn.Module):
    def forward(self, inputs, present=None):
        print("±" * 2000, flush=True)
        return torch.stack([-inputs["a"].mean(1), inputs["a"].mean(1)], 1)
def build(task): return Net()
def task(): return Task.from_arrays({"a": torch.linspace(-1, 1, 60)[:, None].repeat(1, 3)}, torch.arange(60) // 30)
"""
EVALUATE = (
    "evaluate --task mine.py:task --model mine.py:build --samples 8 --batch-size 4 --search fast --schedule none"
    " --no-trust"
)
GATES = "gates:\n- {model: 'mine.py:build', min: 0.0}\n"
ENDS = {
    "its reader goes away": "| head -c 1 > /dev/null",
    "it is closed": ">&-",
    "all streams are closed": ">&- 2>&- <&-",
    "it is full": "> /dev/full",
}


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = f"set -o pipefail; {command}"
    return subprocess.run(
        ["bash", "-c", words],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_work_goes_on_where(elsewhere: Path, end: str, workers: str) -> None:
    (elsewhere / "mine.py").write_text(MINE)
    (elsewhere / "gates.yaml").write_text(GATES)
    done = shell(f"{sys.executable} -m harness {EVALUATE} --workers {workers} --gates gates.yaml --out run {ENDS[end]}")
    assert done.returncode == 0 and "Traceback" not in done.stderr and "Error" not in done.stderr, done.stderr
    assert json.loads((elsewhere / "run" / "run.json").read_text())["status"] == "complete"
    assert not (elsewhere / "run" / "errors").exists()
    if end == "it is full":
        assert done.stderr.count("standard output cannot be written (No space left on device)") >= 1


VERBS = [
    "list",
    "list --json",
    "--help",
    "evaluate --help",
    "report run",
    "report run --markdown -",
    "gate run",
    "compare run run",
    "verify run",
]


def test_every_verb_ends_as_its_work_does(elsewhere: Path) -> None:
    (elsewhere / "mine.py").write_text(MINE)
    (elsewhere / "gates.yaml").write_text(GATES)
    assert shell(f"{sys.executable} -m harness {EVALUATE} --out run").returncode == 0
    for verb in VERBS:
        for end, encoding in ((">&-", "utf-8"), ("> /dev/full", "utf-8"), ("| cat", "latin-1"), ("| cat", "ascii")):
            code = " --code mine.py" if verb.startswith("verify") else ""
            done = shell(f"{sys.executable} -m harness {verb}{code} {end}", PYTHONIOENCODING=encoding)
            assert done.returncode == 0 and "Traceback" not in done.stderr, (verb, end, encoding, done.stderr)
