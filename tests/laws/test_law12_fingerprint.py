"""Law 12: a fingerprint shows every change of a model that no hash sees, and no chance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.engine.fingerprint import fingerprint, fixed_samples, unseen_labels
from harness.run.fingerprint import packed, unpacked
from harness.tasks import Task
from tests.commandline import run
from tests.tiny import Flat, tiny

CPU = torch.device("cpu")


def nets(change: str) -> torch.nn.Module:
    torch.manual_seed(0)
    net = Flat()
    with torch.no_grad():
        if change == "one class":
            net.linear.bias[1] += 1e-3
        if change == "all weights a little":
            net.linear.weight.mul_(1 + 1e-4)
    return net


@pytest.mark.parametrize("change", ["one class", "all weights a little"])
def test_a_small_fine_tune_shows_in_the_fingerprint(change: str) -> None:
    task = tiny(2)
    before, same, after = (fingerprint(nets(each), task, CPU, None) for each in ("", "", change))
    assert before.exactness == "bits" and before.differing(same, exact=True) == (0, 0)
    assert before.differing(after, exact=True)[0] == 16
    stored = unpacked(packed({"m": before}))["m"]
    assert stored.differing(after, exact=True)[0] == 16 and stored.digest == before.digest


class Raising(Flat):
    """Raises for a batch that holds a certain sample, or for a large one."""

    def __init__(self, at: float, most: int) -> None:
        super().__init__()
        self.at, self.most = at, most

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        x = next(iter(inputs.values()))
        if len(x) > self.most or bool((x.flatten(1)[:, 0] == self.at).any()):
            raise ValueError("not this one")
        return super().forward(inputs)


@pytest.mark.parametrize("kind", ["one sample", "a large batch", "every sample"])
def test_a_model_that_raises_has_a_fingerprint_of_its_other_answers(kind: str) -> None:
    task = tiny(2)
    first = float(fixed_samples(task).inputs[task.names[0]].flatten(1)[0, 0])
    prints = []
    for shift in (0.0, 0.0, 1.0):
        torch.manual_seed(0)
        net = Raising(
            first if kind == "one sample" else torch.nan, {"a large batch": 8, "every sample": 0}.get(kind, 99)
        )
        with torch.no_grad():
            net.linear.bias += shift
        prints.append(fingerprint(net, task, CPU, None))
    before, same, after = (unpacked(packed({"m": each}))["m"] for each in prints)
    assert before.differing(same, exact=True) == (0, 0) and before.digest == same.digest
    expected = 0 if kind == "every sample" else 16
    assert before.differing(after, exact=True)[0] == before.differing(after, exact=False)[0] == expected


def test_other_machines_may_round_but_not_judge_otherwise() -> None:
    task = tiny(2)
    rounded, turned = nets(""), nets("")
    with torch.no_grad():
        rounded.linear.weight.mul_(1 + 1e-6)  # type: ignore[union-attr,operator]
        turned.linear.weight.mul_(-1)  # type: ignore[union-attr,operator]
    before = fingerprint(nets(""), task, CPU, None)
    assert before.differing(fingerprint(rounded, task, CPU, None), exact=False) == (0, 0)
    assert before.differing(fingerprint(turned, task, CPU, None), exact=False)[0] == 16


class Noisy(Flat):
    """Draws from a generator that nobody seeds."""

    def __init__(self, noise: float, gain: float = 1.0, together: bool = False) -> None:
        super().__init__()
        self.noise, self.gain, self.together, self.draws = noise, gain, together, np.random.default_rng()

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        out = self.gain * super().forward(inputs)
        drawn = self.draws.normal(size=(1, 1) if self.together else tuple(out.shape))
        return out + self.noise * torch.tensor(drawn, dtype=torch.float32) * torch.arange(3)


def noisy(*options: float, together: bool = False) -> Noisy:
    torch.manual_seed(0)
    return Noisy(*options, together=together)


@pytest.mark.parametrize("together", [False, True], ids=["row by row", "batch by batch"])
@pytest.mark.parametrize("noise", [3e-3, 0.05, 0.5])
def test_a_gross_change_of_a_random_model_is_noticed_and_chance_is_not(noise: float, together: bool) -> None:
    task = tiny(2)
    prints = [fingerprint(noisy(noise, together=together), task, CPU, None) for _ in range(6)]
    assert {each.exactness for each in prints} == {"random"}
    stored = unpacked(packed({"m": prints[0]}))["m"]
    assert all(stored.differing(each, exact=True) == (0, 0) for each in prints)
    assert stored.differing(fingerprint(noisy(noise, -1.0, together=together), task, CPU, None), exact=True)[0] > 4
    old = replace(stored, variances={})
    assert old.differing(fingerprint(noisy(noise, -1.0), task, CPU, None), exact=False)[0] > 4, (
        "what is known of one side serves"
    )


def many_labels(swapped: tuple[int, ...]) -> tuple[Task, torch.nn.Module]:
    """Each of 40 classes is a corner, and a model looks up its label."""
    labels = torch.arange(400) % 40
    corners = torch.nn.functional.one_hot(labels, 40).float()
    table = torch.arange(40)
    table[list(swapped)] = table[list(swapped)].roll(1)

    class Memory(torch.nn.Module):
        def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
            return torch.nn.functional.one_hot(table[inputs["x"].argmax(1)], 40).float() + 0 * inputs["x"]

    return Task.from_arrays({"x": corners}, labels, name="many"), Memory()


def test_a_change_in_labels_that_the_fixed_samples_lack_is_noticed() -> None:
    task, _ = many_labels(())
    lacking = task.splits["test"].take(unseen_labels(task)).targets.tolist()
    assert len(lacking) >= 10
    before, same, after = (
        fingerprint(many_labels(swapped)[1], task, CPU, None)
        for swapped in ((), (), (int(lacking[0]), int(lacking[1])))
    )
    assert before.differing(same, exact=True) == (0, 0) and before.size == 16 + len(lacking)
    assert before.differing(after, exact=True) == before.differing(after, exact=False) == (2, 0)
    assert before.digest == after.digest, "the id of a run holds what earlier versions asked"
    before.answers.pop("labels")
    assert before.differing(after, exact=True) == (0, 0), "an earlier version's run is still read"


TABLE = """
import json
import torch
from pathlib import Path
from harness.tasks import Classification, Task
def rows(): return json.loads(Path(__file__).with_name("rows.json").read_text())
def task():
    y = torch.arange(80) % 20
    x = torch.nn.functional.one_hot(y, 20).float()
    return Task.from_dataset([({"x": each}, int(k)) for each, k in zip(x, y)], problem=Classification(20), readers=0)
class Net(torch.nn.Module):
    def forward(self, inputs, present=None):
        x = inputs["x"].clone()
        for row in rows():
            x[:, row] = 0
        return x
def build(task): return Net()
def dim(x, severity, modality, generator):
    return x.index_fill(0, torch.tensor(rows(), dtype=torch.int64), 0)
"""
PLAIN = """
import torch
class Net(torch.nn.Module):
    def forward(self, inputs, present=None): return inputs["x"]
def build(task): return Net()
"""


@pytest.mark.parametrize("who", ["model", "corruption"])
@pytest.mark.parametrize("label", [0, 7, 13, 19])
def test_a_file_that_is_read_at_run_time_belongs_to_the_run(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], who: str, label: int
) -> None:
    """Whatever it changes, and however little."""
    (elsewhere / "mine.py").write_text(TABLE)
    (elsewhere / "plain.py").write_text(PLAIN)
    words = [
        "evaluate",
        "--task",
        "mine.py:task",
        "--out",
        "run",
        "--search",
        "fast",
        "--no-trust",
        "--schedule",
        "none",
    ]
    words += ["--model", "mine.py:build" if who == "model" else "plain.py:build", "--samples", "20"]
    words += [] if who == "model" else ["--corruption", "x@mine.py:dim:0,1"]
    for content, code in (("[]", 0), ("[]", 0), (f"[{label}]", 2)):
        (elsewhere / "rows.json").write_text(content)
        assert run(monkeypatch, *words) == code, capsys.readouterr().err
    said = capsys.readouterr().err
    assert "began with another model" in said if who == "model" else "of another configuration" in said
