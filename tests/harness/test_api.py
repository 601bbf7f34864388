"""The Python door: objects and references alike, the same numbers and sentences as the command
line, nothing written unasked.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import harness
from attacks.errors import BadInput
from harness.tasks import Task
from tests.commandline import own_folder, run

SMALL: dict[str, Any] = {"samples": 12, "search": "fast", "trust": False}
IMAGE = "image@linf:0.05"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(24, 2)
        self.drop = nn.Dropout(0.5)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, 24) * torch.tensor([[-1.0], [1.0]]))
            self.layer.bias.zero_()

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        logits: Tensor = self.layer(self.drop(torch.cat([inputs["image"] - 0.5, inputs["sensor"]], 1)))
        return logits


class Built(Net):
    def __init__(self, task: Task) -> None:
        super().__init__()


def toy() -> Task:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 2
    side = 2.0 * labels[:, None] - 1
    image = (0.5 + 0.1 * side + 0.2 * torch.randn(300, 16, generator=generator)).clamp(0, 1)
    return Task.from_arrays(
        {"image": image, "sensor": 0.5 * side + torch.randn(300, 8, generator=generator)},
        labels,
        name="toy",
        ranges={"image": (0, 1)},
    )


def test_a_module_and_a_task_in_memory_are_evaluated_in_eight_lines(elsewhere: Path) -> None:
    labels = torch.arange(200) % 2
    inputs = {"image": torch.rand(200, 16), "sensor": labels[:, None] + torch.randn(200, 8)}
    task = Task.from_arrays(inputs, labels, name="mine", ranges={"image": (0, 1)})
    found = harness.evaluate(task, {"net": Net()}, scenarios=[IMAGE, f"{IMAGE} + sensor@l2:0.5"], samples=10)
    assert found.status == "complete"
    assert set(found.summary["condition"]) >= {"clean", "image", "sensor", IMAGE, f"{IMAGE} + sensor@l2:0.5"}
    assert set(found.curves()["model"]) == {"net"}
    assert list(elsewhere.iterdir()) == [], "nothing is written unless it is asked for"


def test_importing_it_loads_no_torch() -> None:
    code = (
        "import sys, harness; print('torch' in sys.modules or 'pandas' in sys.modules, harness.__version__, 'evaluate'"
        " in dir(harness))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", harness.__version__, "True"]


def test_the_numbers_are_those_of_the_command_line(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_folder(elsewhere)
    common = [
        "--task",
        "my.py:MyTask",
        "--model",
        "my.py:build",
        "--scenario",
        IMAGE,
        "--samples",
        "12",
        "--search",
        "fast",
        "--no-trust",
    ]
    assert run(monkeypatch, "evaluate", *common, "--out", "there") == 0
    here, there = harness.evaluate("my.py:MyTask", ["my.py:build"], scenarios=[IMAGE], **SMALL), harness.load("there")
    apart = ["run"]
    for table in ("ledger", "sweep"):
        assert getattr(here, table).drop(columns=apart).equals(getattr(there, table).drop(columns=apart))
    assert here.summary.equals(there.summary) and here.curves().equals(there.curves())


def test_objects_and_references_stand_side_by_side(elsewhere: Path) -> None:
    found = harness.evaluate(toy(), {"net": Net(), "built": lambda task: Net()}, scenario=IMAGE, **SMALL)
    strengths = {model: rows["strength"].tolist() for model, rows in found.ledger.groupby("model")}
    assert strengths["net"] == strengths["built"]
    named = harness.evaluate("digits", {"base": "concat"}, scenarios=["image@linf:1.6"], schedule="none", **SMALL)
    plain = harness.evaluate("digits", "concat", scenarios=["image@linf:1.6"], schedule="none", **SMALL)
    assert set(named.ledger["model"]) == {"base"} and named.ledger["strength"].equals(plain.ledger["strength"])


@pytest.mark.parametrize("models", [{"mean": "mean"}, {"mean": "late", "late": "mean"}])
def test_a_model_may_have_the_name_of_another(models: dict[str, str], elsewhere: Path) -> None:
    """A reference is a registered name, not another model of the program."""
    found = harness.evaluate("digits", models, samples=16, search="none", trust=False, schedule="none")
    plain = harness.evaluate(
        "digits", sorted(set(models.values())), samples=16, search="none", trust=False, schedule="none"
    )
    scores = [run.directory.table("samples").to_pandas().groupby("model").score.sum() for run in (found, plain)]
    assert scores[0].to_dict() == {name: scores[1][given] for name, given in models.items()}


def test_the_callers_module_is_left_as_it_was(elsewhere: Path) -> None:
    net = Net().train()
    net.drop.eval()
    before = {name: each.clone() for name, each in net.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    harness.evaluate(toy(), net, scenario=IMAGE, **SMALL)
    assert torch.equal(torch.rand(3), expected)
    assert net.training and not net.drop.training and net.layer.weight.grad is None and net.layer.weight.requires_grad
    assert all(torch.equal(each, before[name]) for name, each in net.state_dict().items())


def test_a_run_with_a_directory_is_gone_on_with_and_belongs_to_its_model(elsewhere: Path) -> None:
    first = harness.evaluate(toy(), {"net": Net()}, scenarios=[IMAGE], out="here", **SMALL)
    again = harness.evaluate(toy(), {"net": Net()}, scenarios=[IMAGE], out="here", **SMALL)
    assert first.ledger.equals(again.ledger) and harness.load("here").ledger.equals(first.ledger)
    other = Net()
    with torch.no_grad():
        other.layer.weight[0, 0] += 1e-3
    with pytest.raises(BadInput, match="name a new directory"):
        harness.evaluate(toy(), {"net": other}, scenarios=[IMAGE], out="here", **SMALL)


def test_a_run_in_memory_is_gone_with_its_object(elsewhere: Path) -> None:
    import fsspec

    found = harness.evaluate(toy(), Net(), scenario=IMAGE, **SMALL)
    files, root = fsspec.core.url_to_fs(found.url)
    assert files.exists(root)
    del found
    assert not files.exists(root)


def test_it_shows_itself_and_its_figure(elsewhere: Path) -> None:
    found = harness.evaluate(toy(), {"one<two": Net(), "net": Net()}, scenarios=[f"{IMAGE} + sensor@l2:0.5"], **SMALL)
    figure = found.figure()
    assert [each.text for each in figure.layout.annotations] == [IMAGE, "sensor@l2:0.5", f"{IMAGE} + sensor@l2:0.5"]
    assert [each.name for each in figure.data if each.showlegend is not False] == ["one&lt;two", "net"]
    page = found._repr_html_()
    assert "<table" in page and "one&lt;two" in page and "one<two" not in page and "robust score" in page


def test_flags_stand_beside_the_numbers(elsewhere: Path) -> None:
    found = harness.evaluate(toy(), {"net": Net()}, scenarios=[IMAGE], samples=5, search="none", attacks=["fgsm"])
    assert "wide" in set(found.flags["check"])
    row = found.summary[found.summary["condition"] == IMAGE].iloc[0]
    assert "wide" in row["flags"].split(", ") and row["low"] <= row["score"] <= row["high"]


def test_gates(elsewhere: Path) -> None:
    Path("gates.yaml").write_text("gates:\n  - {model: net, min: 0.01}\n  - {model: net, min: 0.999}\n")
    found = harness.evaluate(toy(), {"net": Net()}, scenarios=[IMAGE], samples="all", search="fast", trust=False)
    report = found.gate("gates.yaml")
    assert report.code == 3 and [each.verdict for each in report.verdicts] == ["pass", "fail"]


@pytest.mark.parametrize(
    ("task", "models", "options", "sentence"),
    [
        (3, None, {}, "task is of type int: give a harness.tasks.Task"),
        ("digitz", None, {}, "did you mean digits"),
        (toy, None, {}, "task is of type function"),
        ("digits", 3, {}, "models is of type int"),
        ("digits", [Net()], {}, "models holds a Net without a name"),
        ("digits", {"a": 3}, {}, "model 'a' is of type int"),
        ("digits", {"a:b": Net()}, {}, "models has the name 'a:b'"),
        ("digits", {"a": lambda task: 3}, {}, "model 'a' must build a torch.nn.Module, it built int"),
        (
            "digits",
            {"a": torch.nn.Linear(3, 3, device="meta")},
            {},
            "has no values for 'weight'",
        ),
        ("digits", {"net": Net()}, {}, "fails on the first samples of task 'digits'"),
        ("digits", None, {"batchsize": 3}, "did you mean batch_size"),
        ("digits", None, {"scenario": "intact", "scenarios": ["intact"]}, "scenarios and scenario are one option"),
        ("digits", None, {"samples": 0}, "samples = 0: give a whole number from 1, or all"),
        ("digits", {"net": Net()}, {"workers": 2}, r"workers=2 takes references"),
        ("digits", {"net": Net()}, {"engine": "ray"}, r"engine='ray' takes references"),
    ],
)
def test_bad_input_is_one_sentence(
    elsewhere: Path, task: Any, models: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        harness.evaluate(task, models, **options)
    assert list(elsewhere.iterdir()) == []


def test_paths_and_numbers_of_numpy_are_taken(elsewhere: Path) -> None:
    import numpy as np

    harness.evaluate(
        toy(), Net(), scenario=IMAGE, out=Path("here"), **(SMALL | {"samples": np.int64(6), "limit": np.float32(4)})
    )
    assert len(harness.load(Path("here")).ledger) == 6


def test_a_run_with_errors_warns(elsewhere: Path) -> None:
    class Choosy(Net):
        def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
            if present is not None and not bool(present.all()):
                raise ValueError("every input is needed")
            return super().forward(inputs, present)

    with pytest.warns(UserWarning, match="some cells of the run are errors"):
        found = harness.evaluate(toy(), Choosy(), scenario=IMAGE, **SMALL)
    assert found.status == "finished with errors" and any(
        "every input is needed" in text for text in found.errors.values()
    )
    assert "clean" in set(found.summary["condition"])


def test_there_is_no_run() -> None:
    with pytest.raises(BadInput, match="is not a run"):
        harness.load("nowhere")


@pytest.mark.parametrize("form", ["class", "function", "module"])
def test_what_trains_may_be_an_object(form: str, elsewhere: Path) -> None:
    """A module is left as it was: its copy is trained."""
    net = Net()
    before = {name: x.clone() for name, x in net.state_dict().items()}
    forms: dict[str, Any] = {"class": Built, "function": lambda task: Net(), "module": net}
    model = harness.train(toy(), forms[form], epochs=2)
    assert isinstance(model, Net) and model is not net
    assert all(torch.equal(before[name], x) for name, x in net.state_dict().items())
    assert any(not torch.equal(before[name], x) for name, x in model.state_dict().items())
    with pytest.raises(BadInput, match="this model is an object: give a reference"):
        harness.train(toy(), forms[form], out="net.safetensors")
    with pytest.raises(BadInput, match="model 'int' is of type int"):
        harness.train(toy(), 3)  # type: ignore[arg-type]


def test_training_gives_a_module_and_writes_only_what_is_named(elsewhere: Path) -> None:
    net = harness.train(toy(), "concat", epochs=1)
    assert isinstance(net, nn.Module) and not net.training and list(elsewhere.iterdir()) == []
    same = harness.train(toy(), "concat", epochs=1, out="here.safetensors")
    assert sorted(path.name for path in elsewhere.iterdir()) == ["here.json", "here.safetensors"]
    assert all(
        torch.equal(one, other)
        for one, other in zip(net.state_dict().values(), same.state_dict().values(), strict=True)
    )
    with pytest.raises(BadInput, match="did you mean epochs"):
        harness.train(toy(), "concat", epoch=1)
    with pytest.raises(BadInput, match="makes 2 models"):
        harness.train(toy(), "concat", train_missing=["image:0,0.5"])


@pytest.mark.parametrize("models", [{}, [], ()], ids=str)
def test_no_model_is_not_the_usual_models(models: object) -> None:
    with pytest.raises(BadInput, match="models is empty"):
        harness.evaluate("digits", models)  # type: ignore[arg-type]
