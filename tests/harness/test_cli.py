"""The command line from outside: every bad input is one sentence and exit code 2."""

import json
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from harness.cli import main
from harness.options import chosen, offered, written
from harness.registry import Kind, names, registered

TOY = re.search(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "bring-your-own.md").read_text(), re.S)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def own_folder(folder: Path, extra: str = "") -> None:
    assert TOY is not None
    (folder / "my.py").write_text(TOY[1] + extra)


BAD = {
    "--model cncat": "unknown model 'cncat': did you mean concat",
    "--scenario image@linf:-1": "character 12 ('-1'): a radius must be positive",
    "--scenario image@linf": "image@linf:0.5",
    "--scenario image": "does not parse at character 1",
    "--scenario image@l3:1": "did you mean l2",
    "--scenario imag@linf:1": "unknown modality 'imag' in task 'digits': did you mean image",
    "--scenario image@linf:1+image@missing": "named twice",
    "--schedule mcr:0.5": "unknown schedule 'mcr': did you mean mcar",
    "--schedule mcar:1.5": "not between 0 and 1",
    "--schedule fixed(smell):1": "unknown modality 'smell'",
    "--search quick": "known: fast, standard, thorough, none",
    "--attack pdg --task my.py:MyTask --model my.py:build": "unknown attack 'pdg': did you mean pgd",
    "--attack torchattacks:PDG --task my.py:MyTask --model my.py:build": "unknown object 'PDG' in torchattacks: did you mean PGD",
    "--attack pgd?setps=50 --task my.py:MyTask --model my.py:build": "of attack 'pgd?setps=50': did you mean steps? (known: steps)",
    "--attack pgd?steps --task my.py:MyTask --model my.py:build": "write steps=",
    "--attack pgd?steps=0 --task my.py:MyTask --model my.py:build": "attack 'pgd?steps=0': option steps must be at least 1, not 0",
    "--attack torchattacks:APGD?steps=-1 --task my.py:MyTask --model my.py:build": "option steps must be at least 1, not -1",
    "--attack pgd?steps=2.5 --task my.py:MyTask --model my.py:build": "option steps takes a whole number, not '2.5'",
    "--attack torchattacks:PGD?random_start=1 --task my.py:MyTask --model my.py:build": "option random_start takes true or false, not '1'",
    "--attack torchattacks:PGD?eps=0.1 --task my.py:MyTask --model my.py:build": "unknown option 'eps' of attack",
    "--attack torchattacks:APGD?loss=none --task my.py:MyTask --model my.py:build": "torchattacks' APGD fails on an input of shape",
    "--attack torchattacks:LGV --task my.py:MyTask --model my.py:build": "LGV needs model and trainloader",
    "--attack torchattacks:APGDT --task my.py:MyTask --model my.py:build": "APGDT needs 4 classes or more for its loss, and there are 2",
    "--attack torchattacks:PGD --scenario image@l2:1 --task my.py:MyTask --model my.py:build": "PGD keeps to linf, not to image@l2:1",
    "--attack my.py:out_of_range --task my.py:MyTask --model my.py:build": "is no attack: name a function of (objective, region, strength)",
    "--device cuda": "no CUDA device",
    "--samples 0": "whole number from 1, or all",
    "--witnesses some": "none or all",
    "--budget 5x": "90s, 5m or 2h",
    "--limit nan": "finite",
    "--config nowhere.yaml": "cannot be read",
    "--task my.py:Nothing": "unknown object 'Nothing'",
    "--task my.py": "task 'my.py' is a file: name what in it, as my.py:NAME",
    "--task zzzzzz": "unknown task 'zzzzzz' (known: digits,",
    "--out=": "out = ''",
    "--task my.py:out_of_range": "modality 'image' has 1 values outside its declared range (such values span 3 to 3",
    "--task my.py:with_nan": "holds NaN in 1 samples",
    "--task my.py:MyTask --model my.py:wide": "answers (8, 3), but task 'toy' needs outputs of shape (8, 2)",
    "--task my.py:MyTask --model my.py:nans": "answers NaN or infinity",
    "--task my.py:MyTask --model my.py:counts": "answers torch.int64, which has no gradient",
    "--task my.py:judged_badly --model my.py:build": "fails on the first samples of task 'toy': RuntimeError: no verdict",
    "--model harness.models.fusion.early:early": "would be untrained by that reference: name it 'early'",
    "--model my.py:borrowed": "would be untrained by that reference",
    "--task my.py:MyTask --model my.py:raises": "ValueError: no weights here",
    "--task my.py:MyTask --model concat": "has no weights for task 'toy'",
    "--out my.py": "is a file",
    "--out .": "holds files of something else",
    "--out nowhere/..": "holds files of something else",
    "--out my.py/run": "cannot be written",
    "--task my.py:MyTask --model my.py:build --samples 2 --out nowhere://run": "cannot be reached",
    "--nonsense 1": "No such option",
    "--scenario image@linf:1+bogus@intact": "unknown modality 'bogus' in task 'digits'",
    "--model only-foo": "unknown modality 'foo' in task 'digits'",
    "--search attacks.pgd:pgd": "a search takes one argument, the hunt (known: fast, standard, thorough, none)",
    "--seed -1": "seed = -1",
    "--seed 9223372036854775808": "seed = 9223372036854775808",
}
EXTRA = """
def _task(value):
    x = torch.full((20, 3), 0.5)
    x[0, 0] = value
    return Task.from_arrays({"image": x}, torch.arange(20) % 2, ranges={"image": (0, 1)})
def out_of_range(): return _task(3.0)
def with_nan(): return _task(float("nan"))
class Fixed(torch.nn.Module):
    def __init__(self, value, width):
        super().__init__()
        self.value, self.width = value, width
    def forward(self, inputs, present=None):
        return torch.full((len(inputs["image"]), self.width), self.value)
def wide(task): return Fixed(0.0, 3)
def nans(task): return Fixed(float("nan"), 2)
from harness.models.fusion.early import early as borrowed
class Unjudging(type(MyTask().problem)):
    def verdict(self, outputs, targets): raise RuntimeError("no verdict")
def judged_badly():
    from dataclasses import replace
    return replace(MyTask(), problem=Unjudging(2))
def counts(task): return Fixed(1, 2)
def raises(task): raise ValueError("no weights here")
"""


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_sentence(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    own_folder(elsewhere, EXTRA)
    assert run(monkeypatch, "evaluate", *arguments.split(" ")) == 2
    said = capsys.readouterr().err
    assert BAD[arguments] in said
    assert said.startswith("error: ") and "Traceback" not in said and len(said.strip().splitlines()) == 1


BAD_TRAINING = {
    "--model my.py:build": "model 'my.py:build' has no parameters to train",
    "--model my.py:wide_layer": "answers (8, 3), but task 'toy' needs outputs of shape (8, 2)",
    "--model concat --recipe supervsed?learning_rate=1": "unknown recipe 'supervsed': did you mean supervised",
    "--model concat --recipe supervised?learning_rat=1": "of recipe 'supervised?learning_rat=1': did you mean learning_rate",
    "--model concat --recipe supervised?learning_rate": "write learning_rate=",
    "--model smil?codebook=KMeans": "unknown value 'KMeans' of option codebook of model 'smil?codebook=KMeans': did you mean kmeans",
    "--model only-image?modality=audio": "unknown option 'modality'",
    "--model concat --device tpu": "unknown device 'tpu'",
    "--model concat --recipe supervised?learning_rate=fast": "option learning_rate takes a number, not 'fast'",
    "--model byol-image --recipe byol?momentum=2": "option momentum must be at least 0 and at most 1, not 2",
    "--model byol-image --recipe byol?epochs=1&epochs=2": "option epochs is given twice: leave one",
    "--model simclr-image --recipe simclr?temperature=-1": "option temperature must be above 0, not -1",
    "--model concat --recipe supervised?learning_rate=0": "option learning_rate must be above 0, not 0",
    "--model concat --seed -1": "--seed -1: give a whole number from 0",
    "--model concat --seed 9223372036854775808": "--seed 9223372036854775808",
    "--model concat --out my.py/m.safetensors": "--out my.py/m.safetensors cannot be written",
    "--model concat --out memory://m.safetensors": "a checkpoint is a local file",
    "--model concat --out folder.safetensors": "is a folder",
    "--model concat --out m.pt": "ends in .safetensors",
    "--model concat --task my.py:two_axes": "audio has 1 axis per sample, modality 'sound' has shape (1, 400): give waveforms (T,)",
    "--model early --task my.py:short": "modality 'sound' has shape (100,), but the audio encoder takes waveforms (T,)",
    "--model concat --task my.py:outside": "task name '../x/y'",
}
TRAINED = """
def _sounds(*shape):
    return Task.from_arrays({"sound": torch.zeros(20, *shape)}, torch.arange(20) % 2, kinds={"sound": "audio"})
def two_axes(): return _sounds(1, 400)
def short(): return _sounds(100)
def outside(): return Task.from_arrays({"x": torch.zeros(20, 2)}, torch.arange(20) % 2, name="../x/y")
class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(16, 3)
    def forward(self, inputs, present=None):
        return self.layer(inputs["image"])
def wide_layer(task): return Layer()
"""


@pytest.mark.parametrize("arguments", BAD_TRAINING)
def test_bad_training_is_refused_before_it_begins(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    own_folder(elsewhere, TRAINED)
    (elsewhere / "folder.safetensors").mkdir()
    assert run(monkeypatch, "train", "--task", "my.py:MyTask", *arguments.split(" ")) == 2
    told = capsys.readouterr()
    assert BAD_TRAINING[arguments] in told.err and "epochs" not in told.out
    assert told.err.startswith("error: ") and len(told.err.strip().splitlines()) == 1


def test_no_verb_shows_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch) == 2
    said = capsys.readouterr().err
    assert said.lstrip().startswith("Usage: ") and "error" not in said.split("\n")[0] and "evaluate" in said


def test_an_interrupted_run_says_so(elsewhere: Path) -> None:
    arguments = ["evaluate", "--samples", "all", "--search", "thorough", "--model", "early", "--out", "run"]
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what starts the tests in the background may have it ignored
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
    own_folder(elsewhere / "[red]", "".join(f"def a_model_of_a_long_name_{number}(task): return Linear()\n" for number in range(9)))
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
    """Names of models and tasks are the user's: a bar would end a cell, a tag would be HTML, an @ would call someone."""
    from harness.report import _code, _marked

    assert _code("a|b`c") == "`a\\|b'c`" and _marked("<b>*x*</b> image@linf") == "\\<b\\>\\*x\\*\\</b\\> image<span>@</span>linf"
    assert run(monkeypatch, "evaluate", "--model", "late", "--samples", "4", "--search", "fast", "--no-trust", "--out", "run") == 0
    capsys.readouterr()
    assert run(monkeypatch, "report", "run", "--markdown", "-") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("### Robustness of `late` on `digits`") and "| `robust score, strength 1: image@linf:1.6` |" in printed
    assert "<details>" in printed and not (elsewhere / "run" / "report.html").exists()
    assert run(monkeypatch, "report", "run", "--markdown", "table.md") == 0
    assert (elsewhere / "table.md").read_text() == printed
    assert run(monkeypatch, "report", "run", "--markdown", "nowhere/table.md") == 2


def test_init_report_and_list(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_budget_stops_cleanly_and_resumes(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    own_folder(elsewhere)
    toy = ["evaluate", "--task", "my.py:MyTask", "--model", "my.py:build", "--samples", "6", "--batch-size", "3", "--out", "run"]
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
        "import app, utils\nfrom attacks.mine import NAME as a\nfrom models.mine import NAME as m\nfrom defenses.mine import NAME as d\n"
    )
    check += "assert (app.NAME, utils.NAME, a, m, d) == ('app', 'utils', 'attacks', 'models', 'defenses')\n"
    (elsewhere / "my.py").write_text(check + (elsewhere / "my.py").read_text())
    toy = ["--task", "my.py:MyTask", "--model", "my.py:build", "--samples", "4", "--out", "run"]
    answer = subprocess.run([sys.executable, "-m", "harness", "evaluate", *toy], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "my.py:build" in answer.stdout


def test_a_crashing_cell_costs_itself_only(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.rundir import RunDirectory

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


def test_attacks_follow_the_search(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.rundir import RunDirectory

    own_folder(
        elsewhere,
        """
def push(objective, region, strength, *, samples, share=1.0):
    from attacks.pgd import pgd
    return pgd(objective, region, share * strength, steps=3)
""",
    )
    toy = ["evaluate", "--task", "my.py:MyTask", "--model", "my.py:build", "--samples", "12", "--search", "none"]
    toy += ["--scenario", "image@linf:0.1 + sensor@linf:1", "--out", "run"]
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
    from harness.rundir import RunDirectory

    (elsewhere / "linear.py").write_text(LINEAR)
    scenario = "a@linf:0.05 + b@l2:0.3"
    arguments = ["--task", "linear.py:task", "--model", "linear.py:build", "--scenario", scenario, "--search", "standard", "--limit", "50"]
    assert run(monkeypatch, "evaluate", *arguments, "--samples", "all", "--device", "cpu", "--out", "memory://linear") == 0
    model = random_linear(3, samples=40, bounded=True, seed=7)
    rows = RunDirectory("memory://linear").table("ledger").to_pylist()
    for attacked in (scenario, *scenario.split(" + ")):
        exact = model.exact(parse(attacked))
        found = {row["sample"]: row["strength"] for row in rows if row["scenario"] == attacked}
        assert len(found) == 8
        for sample, strength in found.items():
            assert strength == pytest.approx(float(exact[int(sample)]), rel=0.05)
    assert run(monkeypatch, "report", "memory://linear") == 0
