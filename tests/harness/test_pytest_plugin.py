"""The pytest plugin as a process of its own, in a project that is not ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.commandline import own_folder
from tests.rows import IMAGE, Outcomes, make_run

ROOT = Path(__file__).parents[2]


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "harness.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "--rootdir=.",
        *arguments,
    ]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_it_is_registered_and_loads_nothing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"robustness": "harness.pytest_plugin"}
    probe = "import sys, pytest; import harness.pytest_plugin; "
    probe += "print(sorted({'torch', 'numpy', 'pydantic', 'pyarrow', 'yaml', 'attacks'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_test_per_gate(tmp_path: Path) -> None:
    make_run(tmp_path / "run", {"m": Outcomes([1.0] * 90 + [0.0] * 10, {IMAGE: [2.0] * 100})})
    gates = f'gates: [{{model: m, min: 0.8}}, {{model: m, min: 0.99}}, {{model: m, scenario: "{IMAGE}", min: 0.98}}]'
    (tmp_path / "gates.yaml").write_text(gates)
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    done = run_pytest(tmp_path, "-v", "--robustness", "gates.yaml", "--robustness-run", "run")
    assert done.returncode == 1 and "2 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "gates.yaml::m: score ≥ 0.8 PASSED" in done.stdout
    assert (
        "fail: m: score ≥ 0.99, but it is 0.900 [0.82, 0.95]: the whole interval lies beyond the limit" in done.stdout
    )
    assert "inconclusive: m, image@linf:0.1: robust score" in done.stdout and "Traceback" not in done.stdout
    (tmp_path / "gates.yaml").write_text(f"inconclusive: pass\n{gates}")
    lenient = run_pytest(tmp_path, "--robustness", "gates.yaml", "--robustness-run", "run", "-k", "robust and 0.98")
    assert lenient.returncode == 0 and "1 skipped, 3 deselected" in lenient.stdout, "-k chooses among gates, too"
    assert "1 passed" in run_pytest(tmp_path).stdout, "nothing is added unasked"


@pytest.mark.parametrize(
    ("gates", "said"), [("gates: [{model: m, mn: 1}]", "did you mean min"), ("", "must hold a list")]
)
def test_a_gates_file_that_is_none_stops_pytest(tmp_path: Path, gates: str, said: str) -> None:
    (tmp_path / "gates.yaml").write_text(gates)
    done = run_pytest(tmp_path, "--robustness", "gates.yaml")
    assert done.returncode == 2 and said in done.stdout and "Traceback" not in done.stdout


def test_the_fixture_evaluates_a_model_and_so_does_a_file_without_a_run(tmp_path: Path) -> None:
    own_folder(tmp_path)
    (tmp_path / "gates.yaml").write_text('gates: [{model: "my.py:build", task: "my.py:MyTask", min: 0.5}]')
    (tmp_path / "test_robust.py").write_text(
        "def test_passes(robustness_gate):\n"
        "    robustness_gate('my.py:build', 'my.py:MyTask', 'image@linf:0.001', min=0.5, samples=50)\n\n\n"
        "def test_fails(robustness_gate):\n"
        "    robustness_gate('my.py:build', 'my.py:MyTask', 'image@linf:0.4', min=0.9, samples=50)\n\n\n"
        "def test_is_refused(robustness_gate):\n"
        "    robustness_gate('my.py:bild', 'my.py:MyTask', min=0.9)\n"
    )
    done = run_pytest(tmp_path, "-v", "--robustness", "gates.yaml", "--robustness-samples", "40")
    assert re.search(r"test_passes PASSED", done.stdout), done.stdout + done.stderr
    assert (
        "test_fails FAILED" in done.stdout
        and "fail: my.py:build, image@linf:0.4: robust score at strength 1 ≥ 0.9" in done.stdout
    )
    assert (
        "did you mean build" in done.stdout and "Traceback" not in done.stdout and "During handling" not in done.stdout
    )
    assert "gates.yaml::my.py:build: score ≥ 0.5 PASSED" in done.stdout
