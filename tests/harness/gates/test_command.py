"""`gate`, `bless`, `compare` and `evaluate --gates` as processes: their output, files and exit
codes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.commandline import own_folder
from tests.rows import IMAGE, Outcomes, make_run

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def write_gates(folder: Path, *gates: str, inconclusive: str = "4") -> None:
    (folder / "gates.yaml").write_text(
        "\n".join([f"inconclusive: {inconclusive}", "gates:", *(f"  - {{{gate}}}" for gate in gates)])
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a run, and one that is ten points worse."""
    good = {"m": Outcomes([1.0] * 90 + [0.0] * 10, {IMAGE: [2.0] * 80 + [0.5] * 10 + [0.0] * 10})}
    bad = {"m": Outcomes([1.0] * 60 + [0.0] * 40, {IMAGE: [2.0] * 50 + [0.0] * 50})}
    make_run(tmp_path / "run", good)
    make_run(tmp_path / "worse", bad)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "gate", "inconclusive"),
    [
        (0, "min: 0.8", "4"),
        (3, "min: 0.99", "4"),
        (4, "min: 0.9", "4"),
        (3, "min: 0.9", "fail"),
        (0, "min: 0.9", "pass"),
        (2, "mn: 1", "4"),
    ],
)
def test_exit_codes(folder: Path, code: int, gate: str, inconclusive: str) -> None:
    write_gates(folder, f"model: m, {gate}", inconclusive=inconclusive)
    done = harness(folder, "gate", "run")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and (
        code != 2 or done.stderr.startswith("error: gates file gates.yaml, gate 1: unknown key")
    )


def test_a_run_against_a_blessed_one(folder: Path) -> None:
    write_gates(
        folder,
        "model: m, max_drop: 0.02",
        f'model: m, scenario: "{IMAGE}", max_drop: 0.02, min_effect: 0.2',
        "model: m, min: 0.55",
    )
    assert harness(folder, "gate", "run").returncode == 2, "it needs a baseline"
    blessed = harness(folder, "bless", "run", "--out", "base.parquet")
    assert blessed.returncode == 0 and "100 samples of m" in blessed.stdout
    outputs = [f"--{form}=out.{form}" for form in ("junit", "sarif", "markdown", "json")]
    done = harness(folder, "gate", "worse", "--baseline", "base.parquet", "--suggest", *outputs)
    assert done.returncode == 3 and "2 fail" in done.stdout, done.stderr
    rows = json.loads((folder / "worse" / "gates.json").read_text())
    assert [set(row) for row in rows] == [
        {"run id", "gate", "limit", "value", "low", "high", "result", "verdict", "why"}
    ] * 3
    assert [row["verdict"] for row in rows] == ["fail", "fail", "inconclusive"] and rows[0]["value"] == pytest.approx(
        0.3
    )
    assert all((folder / f"out.{form}").stat().st_size for form in ("junit", "sarif", "markdown", "json"))
    assert harness(folder, "gate", "run", "--baseline", "base.parquet").returncode == 4, (
        "too few samples to notice 0.07"
    )
    assert harness(folder, "bless", "run", "--out", "base.parquet").returncode == 2, (
        "nothing updates a baseline by itself"
    )
    assert harness(folder, "gate", "run", "--baseline", "gates.yaml").returncode == 2
    assert harness(folder, "gate", "run", "--baseline", "run", "--junit", "gates.yaml/there.xml").returncode == 2
    shown = harness(folder, "compare", "base.parquet", "worse")
    assert shown.returncode == 0 and "-0.300" in shown.stdout
    assert harness(folder, "compare", "run", "nowhere").returncode == 2


def test_evaluate_gates_what_it_evaluated(tmp_path: Path) -> None:
    own_folder(tmp_path)
    common = [
        "evaluate",
        "--task",
        "my.py:MyTask",
        "--model",
        "my.py:build",
        "--scenario",
        "image@linf:0.1",
        "--search",
        "fast",
    ]
    small = [
        *common,
        "--samples",
        "40",
        "--witnesses",
        "none",
        "--schedule",
        "mcar:0.5",
        "--out",
        "run",
        "--gates",
        "gates.yaml",
    ]
    write_gates(tmp_path, 'model: "my.py:build", min: 0.99, mn: 2')
    refused = harness(tmp_path, *small)
    assert refused.returncode == 2 and not (tmp_path / "run").exists(), "before any work"
    write_gates(tmp_path, 'model: "my.py:build", min: 0.5', 'model: "my.py:build", schedule: mcar, rate: 0.5, min: 0.1')
    done = harness(tmp_path, *small)
    assert done.returncode == 0 and "2 pass" in done.stdout, done.stderr
    write_gates(tmp_path, 'model: "my.py:build", max: 0.1')
    assert harness(tmp_path, *small).returncode == 3, "the run is there, and only judged again"
    assert harness(tmp_path, *common, "--baseline", "run").returncode == 2, "a baseline needs gates"


def test_help_answers_without_heavy_imports(tmp_path: Path) -> None:
    probe = (
        "import sys; from harness.cli import app; assert not {'torch', 'numpy', 'pydantic', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_workflow_of_the_docs_runs_commands_there_are(tmp_path: Path) -> None:
    workflow = yaml.safe_load((DOCS / "robustness-workflow.yml").read_text())
    (job,) = workflow["jobs"].values()
    commands = [
        line for step in job["steps"] for line in str(step.get("run", "")).splitlines() if "python -m harness" in line
    ]
    verbs = {re.search(r"python -m harness (\w+)", line)[1]: line for line in commands}  # type: ignore[index]
    assert set(verbs) == {"evaluate", "gate"}
    for verb, line in verbs.items():
        said = harness(tmp_path, verb, "--help").stdout
        assert all(flag in said for flag in re.findall(r"--[a-z-]+", line))


def test_the_gates_of_this_project_and_of_the_docs_are_gates() -> None:
    from harness.gates.baseline import evidence_at
    from harness.gates.file import parse_gates, read_gates

    gates = read_gates(str(ROOT / ".ci" / "gates.yaml"))
    models = evidence_at(str(ROOT / ".ci" / "baseline.parquet")).models
    assert {gate.model for gate in gates.gates} <= set(models)
    examples = re.findall(r"```yaml\n(.*?)```", (DOCS / "gates.md").read_text(), re.S)
    assert examples and all(parse_gates(example.encode(), "docs").gates for example in examples)
