"""Each flag is raised by a model that deserves it, and by no other; the flags stand beside the
numbers.
"""

import json
from pathlib import Path

import pytest

from harness.reporting.report import render
from harness.run.directory import RunDirectory
from harness.run.flags import Flag
from harness.trust import examiner
from harness.trust.checks import Case
from tests.commandline import own_folder, run

IMAGE, JOINT = "image@linf:0.05", "image@linf:0.05 + sensor@l2:0.5"
SMALL_IMAGE, SMALL_JOINT = "image@linf:0.0001", "image@linf:0.0001 + sensor@l2:0.0001"
MODELS = """
class Seeing(Linear):
    def __init__(self, see):
        super().__init__()
        self.see = see
    def forward(self, inputs, present=None):
        return super().forward(self.see(inputs), present)
class Saying(Linear):
    def __init__(self, say):
        super().__init__()
        self.say = say
    def forward(self, inputs, present=None):
        return self.say(super().forward(inputs, present))
class Small(Linear):
    def forward(self, inputs, present=None):
        if len(inputs["image"]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(inputs, present)
class Trained(torch.nn.Module):
    def __init__(self, batch):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(24, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
        optimiser = torch.optim.Adam(self.parameters(), 0.01)
        for _ in range(60):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(self(batch.inputs), batch.targets).backward()
            optimiser.step()
    def forward(self, inputs, present=None):
        return self.layers(torch.cat([inputs["image"] - 0.5, inputs["sensor"]], 1))
def backwards(x): return 2 * x.detach() - x
def rounded(x): return x + ((x * 8).round() / 8 - x).detach()
def mlp(task): return Trained(task.splits["train"])
def small(task): return Small()
def detached(task): return Seeing(lambda inputs: {**inputs, "image": inputs["image"].detach()})
def unused(task): return Seeing(lambda inputs: {**inputs, "image": torch.full_like(inputs["image"], 0.5)})
def quantised(task): return Seeing(lambda inputs: {**inputs, "image": rounded(inputs["image"])})
def misleading(task): return Seeing(lambda inputs: {name: backwards(x) for name, x in inputs.items()})
def misled(task): return Seeing(lambda inputs: {**inputs, "image": backwards(inputs["image"])})
def dropout(task): return Saying(lambda logits: logits + 0.1 * torch.nn.functional.dropout(logits, 0.5, training=True))
def saturated(task): return Saying(lambda logits: 1e6 * logits)
def MyRegression():
    toy = MyTask()
    inputs = {name: torch.cat([split.inputs[name] for split in toy.splits.values()]) for name in toy.names}
    targets = inputs["image"].mean(1) + inputs["sensor"].mean(1)
    return Task.from_arrays(inputs, targets, name="real", ranges={"image": (0, 1)})
def Wide():
    labels = torch.arange(96) % 2
    noise = torch.randn(96, 200, generator=torch.Generator().manual_seed(0))
    inputs = {"image": 0.5 + 0.01 * noise, "sign": 2.0 * labels[:, None] - 1}
    return Task.from_arrays(inputs, labels, name="wide")
def Finite():
    toy = MyTask()
    parts = [split.take(range(len(split.samples))) for split in toy.splits.values()]
    inputs = {name: torch.cat([part.inputs[name] for part in parts]) for name in toy.names}
    inputs["sensor"] = inputs["sensor"].clamp(-3, 3)
    targets = torch.cat([part.targets for part in parts])
    return Task.from_arrays(inputs, targets, name="finite", ranges={"image": (0, 1), "sensor": (-3, 3)})
class Farthest(Linear):  # only the value farthest from its goal has a gradient: a step moves one of 200
    def forward(self, inputs, present=None):
        distance = (inputs["image"] - torch.linspace(0.7, 0.9, 200).to(inputs["image"])).abs().amax(1, keepdim=True)
        return (1 + distance) * inputs["sign"] * torch.tensor([-1.0, 1.0]).to(inputs["sign"])
def farthest(task): return Farthest()
def softmax(task): return Saying(lambda logits: logits.softmax(1))
def real(task): return Saying(lambda logits: 2 * logits[:, 1:])
def undecided(task): return Saying(lambda logits: 0 * logits)
"""


@pytest.fixture
def toy(elsewhere: Path) -> Path:
    own_folder(elsewhere, MODELS)
    return elsewhere


def evaluate(monkeypatch: pytest.MonkeyPatch, model: str, *scenarios: str, flags: tuple[str, ...] = ()) -> int:
    asked = [part for scenario in scenarios for part in ("--scenario", scenario)]
    common = [
        "--task",
        "my.py:MyTask",
        "--model",
        f"my.py:{model}",
        "--schedule",
        "mcar:0",
        "--out",
        model,
        "--witnesses",
        "none",
    ]
    return run(monkeypatch, "evaluate", *common, "--samples", "64", "--search", "fast", *asked, *flags)


def raised(model: str, scenario: str) -> set[str]:
    """The flags of `trust.json` that are raised."""
    found = json.loads((Path(model) / "trust.json").read_text())[f"my.py:{model}"]
    flags = found["every number"] | found[scenario]
    assert all(set(flag) == {"raised", "value", "why"} and "\n" not in flag["why"] for flag in flags.values())
    return {name for name, flag in flags.items() if flag["raised"]}


@pytest.mark.parametrize("model", ["build", "mlp"])
def test_a_sound_number_raises_no_flag(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    assert evaluate(monkeypatch, model, IMAGE, JOINT, flags=("--search", "standard")) == 0
    assert raised(model, IMAGE) == raised(model, JOINT) == raised(model, "sensor@l2:0.5") == set()
    assert "!" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "scenario", "flag"),
    [
        ("detached", SMALL_IMAGE, "gradient"),
        ("unused", IMAGE, "unused"),
        ("dropout", SMALL_IMAGE, "random"),
        ("misleading", IMAGE, "blackbox"),
        ("misleading", SMALL_JOINT, "unlimited"),
        ("quantised", SMALL_IMAGE, "quantised"),
        ("undecided", IMAGE, "nothing-attacked"),
        ("saturated", JOINT, "saturated"),
        ("softmax", JOINT, "probabilities"),
    ],
)
def test_a_flag_is_raised_by_the_model_that_deserves_it(
    toy: Path, monkeypatch: pytest.MonkeyPatch, model: str, scenario: str, flag: str
) -> None:
    assert evaluate(monkeypatch, model, scenario) == 0
    # where a search is blind, it also misses planted failures
    assert flag in raised(model, scenario) <= {flag, "planted"}


def test_a_loss_that_still_rises_is_flagged(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate(monkeypatch, "farthest", "image@linf:0.3", flags=("--task", "my.py:Wide")) == 0
    assert "rising" in raised("farthest", "image@linf:0.3")


def test_a_regression_is_checked_too(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate(monkeypatch, "real", IMAGE, flags=("--task", "my.py:MyRegression")) == 0
    assert raised("real", IMAGE) == set()
    assert "saturated" not in json.loads((toy / "real" / "trust.json").read_text())["my.py:real"][IMAGE]


def test_too_few_samples_are_wide(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate(monkeypatch, "build", IMAGE, flags=("--samples", "5")) == 0
    assert raised("build", IMAGE) == {"wide"}


def test_a_search_that_spent_too_little(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate(monkeypatch, "build", "image@linf:0.15", flags=("--search", "none")) == 0
    assert raised("build", "image@linf:0.15") == {"blackbox", "budget", "planted"}


@pytest.mark.parametrize("scenario", ["image@l0:2", "image@l0:2 + sensor@l2:0.5", "image@l1:0.5 + sensor@l0:1"])
def test_a_failure_is_planted_beside_edits_too(toy: Path, monkeypatch: pytest.MonkeyPatch, scenario: str) -> None:
    finite = ("--task", "my.py:Finite")
    assert evaluate(monkeypatch, "build", scenario, flags=("--search", "none", *finite)) == 0
    assert "planted" in raised("build", scenario)
    assert evaluate(monkeypatch, "mlp", scenario, flags=("--search", "standard", *finite)) == 0
    assert "planted" not in raised("mlp", scenario)


def test_a_flag_stands_beside_its_number(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(monkeypatch, "misled", IMAGE, "sensor@l2:0.0001") == 0
    printed = capsys.readouterr().out.splitlines()
    (flagged,) = [line for line in printed if line.strip().startswith(IMAGE)]
    (sound,) = [line for line in printed if line.strip().startswith("sensor@l2")]
    assert flagged.rstrip().endswith("] !") and sound.rstrip().endswith("]")
    assert any(line.startswith(f"my.py:misled, {IMAGE}: blackbox — ") for line in printed)
    page = render(RunDirectory("misled"))
    assert f"my.py:misled, {IMAGE}: blackbox — " in page and "] !</td>" in page


def test_an_unused_modality_is_noted_without_a_mark(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(monkeypatch, "unused", IMAGE) == 0
    out = capsys.readouterr().out
    assert "unused — the output does not change when image is swapped" in out and "!" not in out


def test_no_trust(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate(monkeypatch, "build", IMAGE, flags=("--no-trust",)) == 0
    _, flags = json.loads((toy / "build" / "trust.json").read_text()).values()
    assert set(flags) == {"every number"}, "whether a model answers alike is asked of every model"


def test_a_resumed_run_is_checked_again(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate(monkeypatch, "build", IMAGE) == 0
    file = toy / "build" / "trust.json"
    before = file.read_bytes()
    file.write_text("{}")
    assert evaluate(monkeypatch, "build", IMAGE) == 0
    assert file.read_bytes() == before


def test_a_damaged_file_is_named(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(monkeypatch, "build", IMAGE) == 0
    (toy / "build" / "trust.json").write_text("{")
    assert run(monkeypatch, "report", "build") == 2
    assert "trust.json cannot be read" in capsys.readouterr().err


def test_a_check_that_breaks_costs_the_trust_not_the_run(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(case: Case) -> list[Flag]:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(examiner, "ON_THE_MODEL", (breaks,))
    assert evaluate(monkeypatch, "build", IMAGE) == 0
    assert raised("build", IMAGE) == {"unchecked"}


def test_a_small_device_checks_fewer_samples(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluate(monkeypatch, "small", IMAGE) == 0
    assert raised("small", IMAGE) == set()


def test_counted_edits_are_checked_where_that_has_a_meaning(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "--samples",
        "40",
        "--model",
        "late",
        "--search",
        "fast",
        "--schedule",
        "mcar:0",
        "--scenario",
        "text@tokens:1",
    ]
    assert run(monkeypatch, "evaluate", *arguments, "--out", "run") == 0
    _, flags = json.loads((elsewhere / "run" / "trust.json").read_text())["late"].values()
    assert {"gradient", "unused", "nothing-attacked"} <= set(flags)
    assert "unchecked" not in flags and "blackbox" not in flags
    assert not any(flag["raised"] for name, flag in flags.items() if name != "wide")


def test_what_is_doubtful_of_a_part_is_doubtful_of_a_whole_with_edits(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = "image@linf:1.6 + text@tokens:1"
    arguments = ["--samples", "24", "--model", "late", "--schedule", "mcar:0", "--scenario", whole]
    assert run(monkeypatch, "evaluate", *arguments, "--search", "fast", "--out", "sound") == 0
    assert not json.loads((elsewhere / "sound" / "trust.json").read_text())["late"][whole]["part"]["raised"]
    (elsewhere / "my.py").write_text(NOTHING)
    assert (
        run(monkeypatch, "evaluate", *arguments[:6], "--search", "my.py:idle", "--scenario", whole, "--out", "idle")
        == 0
    )
    flags = json.loads((elsewhere / "idle" / "trust.json").read_text())["late"]
    assert flags[whole]["part"]["raised"] and "image@linf:1.6 is flagged" in flags[whole]["part"]["why"]


NOTHING = "def idle(state):\n    pass\n"


def test_what_cannot_move_is_not_missed(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_folder(elsewhere, MODELS + FROZEN)
    assert evaluate(monkeypatch, "build", JOINT, flags=("--task", "my.py:Frozen")) == 0
    assert raised("build", JOINT) == raised("build", "sensor@l2:0.5") == set()


FROZEN = """
def Frozen():
    toy = MyTask()
    inputs = {name: torch.cat([split.inputs[name] for split in toy.splits.values()]) for name in toy.names}
    inputs["sensor"] = torch.ones_like(inputs["sensor"])
    labels = (inputs["image"].mean(1) > 0.5).long()
    ranges = {"image": (0, 1), "sensor": (1, 1)}
    return Task.from_arrays(inputs, labels, name="frozen", ranges=ranges, balls={"image": "linf:0.05"})
"""
