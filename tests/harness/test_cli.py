"""The command line from outside."""

import json
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from harness.references.options import chosen, offered, written
from harness.references.registry import Kind, names, registered
from tests.commandline import own_folder, run


def test_no_verb_shows_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.lstrip().startswith("Usage: ") and "error" not in said.split("\n")[0] and "evaluate" in said


def test_an_interrupted_run_prints_how_to_resume(elsewhere: Path) -> None:
    arguments = ["evaluate", "--samples", "all", "--search", "thorough", "--model", "early", "--out", "run"]
    # a parent that starts the tests in the background may ignore it
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "harness", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeding) as process:
        assert process.stdout is not None and process.stderr is not None
        assert b"cells to do" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
    assert process.returncode == 130
    assert said == "interrupted; the same command goes on where it stopped\n"


def test_names_with_brackets_and_many_models_are_shown_whole(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "[red]").mkdir()
    own_folder(
        elsewhere / "[red]",
        "".join(f"def a_model_of_a_long_name_{number}(task): return Linear()\n" for number in range(9)),
    )
    names = [f"[red]/my.py:a_model_of_a_long_name_{number}" for number in range(9)]
    models = [argument for name in names for argument in ("--model", name)]
    assert run(monkeypatch, "evaluate", "--task", "[red]/my.py:MyTask", *models, "--samples", "2", "--out", "run") == 0
    capsys.readouterr()
    assert run(monkeypatch, "report", "run") == 0
    assert re.search(r" +".join(map(re.escape, ["score", *names])), capsys.readouterr().out)
    assert run(monkeypatch, "report", "run", "--html", "nowhere/page.html") == 2
    assert "there is no folder nowhere" in capsys.readouterr().err and not (elsewhere / "nowhere").exists()


def test_run_of_another_configuration_is_refused(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = ["evaluate", "--task", "my.py:MyTask", "--model", "my.py:build", "--samples", "4", "--out", "run"]
    own_folder(elsewhere)
    assert run(monkeypatch, *toy) == 0
    assert run(monkeypatch, *toy, "--seed", "1") == 2
    assert "another configuration (it differs in seed)" in capsys.readouterr().err
    assert run(monkeypatch, *toy) == 0
    assert "0 cells to do" in capsys.readouterr().out


def test_report_as_markdown_escapes_what_names_hold(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of models and tasks are the user's: a bar would end a cell, a tag would be HTML, an @
    would call someone.
    """
    from harness.reporting.report import _code, _marked

    assert (
        _code("a|b`c") == "`a\\|b'c`"
        and _marked("<b>*x*</b> image@linf") == "\\<b\\>\\*x\\*\\</b\\> image<span>@</span>linf"
    )
    assert (
        run(
            monkeypatch,
            "evaluate",
            "--model",
            "late",
            "--samples",
            "4",
            "--search",
            "fast",
            "--no-trust",
            "--out",
            "run",
        )
        == 0
    )
    capsys.readouterr()
    assert run(monkeypatch, "report", "run", "--markdown", "-") == 0
    printed = capsys.readouterr().out
    assert (
        printed.startswith("### Robustness of `late` on `digits`")
        and "| `robust score, strength 1: image@linf:1.6` |" in printed
    )
    assert "<details>" in printed and not (elsewhere / "run" / "report.html").exists()
    assert run(monkeypatch, "report", "run", "--markdown", "table.md") == 0
    assert (elsewhere / "table.md").read_text() == printed
    assert run(monkeypatch, "report", "run", "--markdown", "nowhere/table.md") == 2


def test_init_report_and_list(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_folder(elsewhere)
    assert run(monkeypatch, "init") == 0
    toy = ["--task", "my.py:MyTask", "--model", "my.py:build", "--samples", "6", "--out", "run"]
    assert run(monkeypatch, "evaluate", "--config", "harness.yaml", *toy) == 0
    assert run(monkeypatch, "report", "run") == 0
    page = (elsewhere / "run" / "report.html").read_text()
    assert "Plotly.newPlot" in page and 'src="http' not in page
    capsys.readouterr()
    assert run(monkeypatch, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"tasks", "models", "searches", "attacks", "schedules", "grammar"} <= set(listed)
    assert all(line for entries in listed.values() for line in entries.values())
    assert listed["options"]["model updown"] == "?proposals=fixed"


@pytest.mark.parametrize("kind", ["task", "model", "recipe"])
def test_listed_options_are_taken_as_they_are_shown(kind: Kind) -> None:
    for name in names(kind):
        target = registered(kind, name)
        known = offered(target)
        assert chosen(kind, name + written(known), target) == {option: each.default for option, each in known.items()}


def test_budget_stops_cleanly_and_resumes(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_folder(elsewhere)
    toy = [
        "evaluate",
        "--task",
        "my.py:MyTask",
        "--model",
        "my.py:build",
        "--samples",
        "6",
        "--batch-size",
        "3",
        "--out",
        "run",
    ]
    assert run(monkeypatch, *toy, "--budget", "0.001s") == 0
    assert "The run is stopped" in capsys.readouterr().out
    assert run(monkeypatch, *toy) == 0
    assert "The run is stopped" not in capsys.readouterr().out


def test_a_folder_with_packages_of_our_names(elsewhere: Path) -> None:
    own_folder(elsewhere)
    for package in ("models", "attacks", "defenses"):
        (elsewhere / package).mkdir()
        (elsewhere / package / "mine.py").write_text(f"NAME = '{package}'\n")
    (elsewhere / "attacks" / "__init__.py").write_text("")
    for module in ("app", "utils"):
        (elsewhere / f"{module}.py").write_text(f"NAME = '{module}'\n")
    check = (
        "import app, utils\nfrom attacks.mine import NAME as a\nfrom models.mine import NAME as m\nfrom defenses.mine"
        " import NAME as d\n"
    )
    check += "assert (app.NAME, utils.NAME, a, m, d) == ('app', 'utils', 'attacks', 'models', 'defenses')\n"
    (elsewhere / "my.py").write_text(check + (elsewhere / "my.py").read_text())
    toy = ["--task", "my.py:MyTask", "--model", "my.py:build", "--samples", "4", "--out", "run"]
    answer = subprocess.run([sys.executable, "-m", "harness", "evaluate", *toy], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "my.py:build" in answer.stdout


def test_a_crashing_cell_costs_itself_only(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.run.directory import RunDirectory

    own_folder(
        elsewhere,
        """
class Breaks(Linear):
    def forward(self, inputs, present=None):
        if torch.is_grad_enabled():
            raise RuntimeError("no gradients here")
        return super().forward(inputs, present)
def breaks(task): return Breaks()
""",
    )
    models = ["--model", "my.py:breaks", "--model", "my.py:build"]
    assert run(monkeypatch, "evaluate", "--task", "my.py:MyTask", *models, "--samples", "4", "--out", "run") == 5
    rows = RunDirectory("run").table("ledger").to_pylist()
    assert {row["status"] for row in rows if row["model"] == "my.py:breaks"} == {"error"}
    assert {row["strength"] for row in rows if row["status"] == "error"} == {None}
    assert {row["status"] for row in rows if row["model"] == "my.py:build"} == {"ok"}


def test_attacks_follow_the_search(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.run.directory import RunDirectory

    own_folder(
        elsewhere,
        """
def push(objective, region, strength, *, samples, share=1.0):
    from attacks.pgd import pgd
    return pgd(objective, region, share * strength, steps=3)
""",
    )
    toy = ["evaluate", "--task", "my.py:MyTask", "--model", "my.py:build", "--samples", "12", "--search", "none"]
    toy += ["--scenario", "image@linf:0.1 + sensor@linf:1", "--no-trust", "--out", "run"]
    attacks = ["--attack", "my.py:push?share=0.5", "--attack", "torchattacks:PGD?steps=5", "--attack", "fmn"]
    assert run(monkeypatch, *toy, *attacks) == 0
    rows = RunDirectory("run").table("ledger").to_pylist()
    finders = {row["finder"] for row in rows}
    assert {"my.py:push?share=0.5", "torchattacks:PGD?steps=5"} <= finders
    assert all(0 < row["strength"] <= 1 for row in rows if row["finder"] in attacks)
    assert any(row["gradients"] >= 8 for row in rows)
    assert run(monkeypatch, *toy) == 2
    assert "it differs in attack" in capsys.readouterr().err


LINEAR = """
import torch
from harness.tasks import Task
from benchmarks.oracles.linear import random_linear

exact = random_linear(3, samples=40, bounded=True, seed=7)


def task():
    ranges = {name: (valid.low, valid.high) for name, valid in exact.bounds.items()}
    return Task.from_arrays(exact.inputs, exact.labels, name="linear", ranges=ranges)


class Model(torch.nn.Module):
    def forward(self, inputs, present=None):
        return exact.logits(inputs)


def build(task):
    return Model()
"""


def test_a_linear_model_from_outside_gets_its_exact_strength(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from attacks.scenario import parse
    from benchmarks.oracles.linear import random_linear
    from harness.run.directory import RunDirectory

    (elsewhere / "linear.py").write_text(LINEAR)
    scenario = "a@linf:0.05 + b@l2:0.3"
    arguments = [
        "--task",
        "linear.py:task",
        "--model",
        "linear.py:build",
        "--scenario",
        scenario,
        "--search",
        "standard",
        "--limit",
        "50",
    ]
    assert (
        run(monkeypatch, "evaluate", *arguments, "--samples", "all", "--device", "cpu", "--out", "memory://linear") == 0
    )
    model = random_linear(3, samples=40, bounded=True, seed=7)
    rows = RunDirectory("memory://linear").table("ledger").to_pylist()
    for attacked in (scenario, *scenario.split(" + ")):
        exact = model.exact(parse(attacked))
        found = {row["sample"]: row["strength"] for row in rows if row["scenario"] == attacked}
        assert len(found) == 8
        for sample, strength in found.items():
            assert strength == pytest.approx(float(exact[int(sample)]), rel=0.05)
    assert run(monkeypatch, "report", "memory://linear") == 0
