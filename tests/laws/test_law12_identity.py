"""Law 12: a run goes on only with the models, task and problem that it began with; a change begins
another run.
"""

import contextlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TASK = """
import torch
from pathlib import Path
from attacks.objective import Verdict
from harness.tasks import Task
TOLERANCE = 100.0
class Mine:
    shape = (1,)
    def check_targets(self, t): pass
    def loss(self, o, t): return (o[:, 0] - t).abs()
    def predictions(self, o): return o[:, 0]
    def score(self, o, t): return ((o[:, 0] - t).abs() < TOLERANCE).float()
    def verdict(self, o, t):
        margin = (o[:, 0] - t).abs() - TOLERANCE
        return Verdict({"margin": margin}, margin > 0)
    def label(self, a, t=None): return [f"{x:g}" for x in a]
    def tally(self, o, t): return o[:, :1]
    def metrics(self, tallies): return {}
def task():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    return Task.from_arrays({"x": x}, x.mean(1) + 1, name="own", problem=Mine())
"""
MODEL = """
import torch
import helper
from pathlib import Path
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("gain", torch.tensor(1.0), persistent=False)
        self.weight = torch.nn.Parameter(torch.tensor(1.0))
        self.limit = float(Path("limit.txt").read_text()) if Path("limit.txt").exists() else 1000.0
    def forward(self, inputs, present=None):
        said = Path("said.txt")
        read = float(said.read_text()) if said.exists() else 0.0
        far = inputs["x"][:, :1] > self.limit
        return self.weight * self.gain * inputs["x"].mean(1, keepdim=True) + read + helper.OFFSET + far
def build(task): return Net()
"""


def written(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "model.py").write_text(MODEL)
    (folder / "elsewhere" / "helper.py").write_text("OFFSET = 0.0\n")


def edited(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return change


CHANGES = {
    "a weight": edited("model.py", "torch.nn.Parameter(torch.tensor(1.0))", "torch.nn.Parameter(torch.tensor(1.0001))"),
    "a buffer that no checkpoint holds": edited(
        "model.py", "torch.tensor(1.0), persistent", "torch.tensor(1.0001), persistent"
    ),
    "its code": edited("model.py", "+ read", "+ 2 * read"),
    "a package elsewhere on the path": edited("elsewhere/helper.py", "0.0", "0.001"),
    "a file that it reads": lambda folder: (folder / "said.txt").write_text("0.0001") and None,
    "a value that it holds, which matters for none of the fixed samples": lambda folder: (
        (folder / "limit.txt").write_text("900") and None
    ),
    "a constant of the problem": edited("task.py", "100.0", "0.5"),
    "the code of the problem": edited("task.py", "margin > 0", "margin > 1"),
    "the data": edited("task.py", "manual_seed(0)", "manual_seed(1)"),
}
COMMAND = ["evaluate", "--task", "task.py:task", "--model", "model.py:build", "--samples", "8", "--search", "none"]
COMMAND += ["--attack", "square", "--scenario", "x@linf:0.1", "--schedule", "none", "--no-trust"]


def in_a_process(*words: str) -> tuple[int, str]:
    """As a user does it: everything is loaded anew."""
    import os
    import subprocess

    environment = {**os.environ, "PYTHONPATH": "elsewhere"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], capture_output=True, text=True, env=environment, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files, and their run."""
    folder = tmp_path_factory.mktemp("evaluated")
    written(folder)
    with contextlib.chdir(folder):
        assert in_a_process(*COMMAND)[0] == 0
    return folder


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_begins_another_run(evaluated: Path, elsewhere: Path, what: str) -> None:
    shutil.copytree(evaluated, elsewhere, dirs_exist_ok=True)
    before = {path.name: (path / "run.json").read_bytes() for path in Path("runs").iterdir()}
    CHANGES[what](elsewhere)
    code, said = in_a_process(*COMMAND, "--out", f"runs/{next(iter(before))}")
    assert code == 2 and "name a new directory" in said and "Traceback" not in said, said
    code, said = in_a_process(*COMMAND)
    assert code == 0 and "1 cells to do" in said
    assert len(list(Path("runs").iterdir())) == 2 and all(
        (Path("runs") / name / "run.json").read_bytes() == it for name, it in before.items()
    )


def test_the_sentence_names_the_model_and_how_many_samples_differ(elsewhere: Path) -> None:
    written(elsewhere)
    assert in_a_process(*COMMAND, "--out", "run")[0] == 0
    assert "0 cells to do" in in_a_process(*COMMAND, "--out", "run")[1], "the same run goes on"
    CHANGES["a file that it reads"](elsewhere)
    for words in ([*COMMAND, "--out", "run"], ["verify", "run", "--code", "task.py", "--code", "model.py"]):
        code, said = in_a_process(*words)
        assert code == 2 and "another model 'model.py:build' (" in said
        assert "it answers 12 of 12 samples and 4 of 4 random points differently)" in said


OWN = """
import torch
from pathlib import Path
def read(): return float(Path("said.txt").read_text())
def corrupt(x, severity, modality, generator): return x + read()
def attack(state):
    rows = torch.arange(len(state.samples))
    state.propose(rows, {name: x + read() * (x.amax() - 2 * x) / 9 for name, x in state.region.clean.items()}, "own")
"""
BY_USERS = {
    "corruption": ["--search", "none", "--corruption", "image@own.py:corrupt:1"],
    "search": ["--search", "own.py:attack"],
}


@pytest.mark.parametrize("kind", BY_USERS)
def test_a_file_that_users_code_reads_at_run_time_belongs_to_the_run(elsewhere: Path, kind: str) -> None:
    (elsewhere / "own.py").write_text(OWN)
    command = [
        "evaluate",
        "--task",
        "digits",
        "--model",
        "concat",
        "--samples",
        "8",
        "--schedule",
        "none",
        "--no-trust",
    ]
    command += ["--scenario", "image@linf:16 + text@linf:1", *BY_USERS[kind]]
    outcomes = []
    for content in ("0", "0", "9"):
        (elsewhere / "said.txt").write_text(content)
        outcomes.append(in_a_process(*command, "--out", "run"))
    assert [code for code, _ in outcomes] == [0, 0, 2], outcomes
    assert "0 cells to do" in outcomes[1][1] and "differs in applied" in outcomes[2][1]


CHANGING = """
import torch
from pathlib import Path
calls = 0
class Net(torch.nn.Module):
    def forward(self, inputs, present=None):
        global calls
        calls += 1
        if calls == 150: Path("said.txt").write_text("-1")
        s = inputs["x"].mean(1, keepdim=True) * float(Path("said.txt").read_text())
        return torch.cat([-s, s], 1)
def build(task): return Net()
def task():
    from harness.tasks import Task
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    return Task.from_arrays({"x": x}, (x.mean(1) > 0).long(), name="own")
"""


def test_a_model_that_changes_while_the_run_runs_leaves_no_complete_run(elsewhere: Path) -> None:
    (elsewhere / "my.py").write_text(CHANGING)
    (elsewhere / "said.txt").write_text("1")
    command = [
        "evaluate",
        "--task",
        "my.py:task",
        "--model",
        "my.py:build",
        "--search",
        "fast",
        "--schedule",
        "none",
        "--no-trust",
    ]
    command += ["--batch-size", "4", "--scenario", "x@linf:0.1"]
    code, said = in_a_process(*command, "--out", "run")
    assert code == 2 and "it changed during the run" in said and "12 of 12 samples" in said and "Traceback" not in said
    (elsewhere / "said.txt").write_text("1")
    for words in (["report", "run"], [*command, "--out", "run"]):
        code, said = in_a_process(*words)
        assert (code, "complete" in said) == ((0, False) if words[0] == "report" else (2, False)), said
    assert "of no use" in in_a_process("report", "run", "--markdown", "r.md")[1] + Path("r.md").read_text()
