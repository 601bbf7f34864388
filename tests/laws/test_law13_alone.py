"""Law 13: a model answers alone as in its batch and twice alike, or all its numbers are flagged."""

import json
from pathlib import Path

import pytest
import torch

from harness.engine.answering import steadiness, steadiness_on
from harness.engine.fingerprint import fixed_samples
from tests.commandline import own_folder, run
from tests.tiny import Flat, tiny

CPU = torch.device("cpu")


class Batchy(Flat):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        out = super().forward(inputs)
        return out - out.mean(0)


class FirstRow(Flat):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return super().forward(inputs) + inputs["a"][:1].sum()


class BySize(Flat):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return super().forward(inputs) + len(inputs["a"]) / 100


class Dropping(Flat):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return torch.nn.functional.dropout(super().forward(inputs), 0.3, training=True)


class Counting(Flat):
    calls = 0

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        self.calls += 1
        return super().forward(inputs) + self.calls / 100


class Imputing(Flat):
    """A modality that is missing is filled with the mean of the batch."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        assert isinstance(present, torch.Tensor)
        there = present[:, 1:].float()
        mean = (inputs["b"] * there).sum(0) / there.sum().clamp(min=1)
        return super().forward({**inputs, "b": torch.where(present[:, 1:], inputs["b"], mean)})


class Normalising(Flat):
    """Over the batch, where a modality is missing in it."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        assert isinstance(present, torch.Tensor)
        b = inputs["b"] if bool(present[:, 0].all()) else inputs["b"] - inputs["b"].mean(0)
        return super().forward({**inputs, "b": b})


class Drawing(Flat):
    """The missing modalities are drawn."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        assert isinstance(present, torch.Tensor)
        return super().forward(
            {**inputs, "b": torch.where(present[:, 1:], inputs["b"], torch.randn(inputs["b"].shape))}
        )


class Capacity(Flat):
    """As experts that take so many rows of a batch."""

    rows = 32

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        out = super().forward(inputs)
        return torch.where((torch.arange(len(out)) < self.rows)[:, None], out, 0 * out)


class LateRows(Flat):
    """The rows behind the eighth see each other."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        out = super().forward(inputs)
        return torch.cat([out[:8], out[8:].roll(1, 0)])


class InHalf(Flat):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return (super().forward(inputs) + 1e-4 * len(inputs["a"])).half()


UNSTEADY = {
    Batchy: {"batch"},
    FirstRow: {"batch"},
    BySize: {"batch"},
    Dropping: {"random"},
    Counting: {"random"},
    Imputing: {"batch"},
    Normalising: {"batch"},
    Drawing: {"random"},
    Capacity: {"batch"},
    LateRows: {"batch"},
    InHalf: set(),
    Flat: set(),
}


@pytest.mark.parametrize("kind", UNSTEADY, ids=lambda kind: kind.__name__)
def test_a_model_answers_alone_as_in_its_batch_and_twice_alike_or_is_flagged(kind: type[Flat]) -> None:
    found = steadiness(kind(), tiny(2), CPU, None, together=40)
    assert {flag.name for flag in found.flags if flag.raised} == UNSTEADY[kind]
    assert found.holds == (not UNSTEADY[kind])


MODELS = """
class Batchy(Linear):
    def forward(self, inputs, present=None):
        out = super().forward(inputs, present)
        return out - out.mean(0)
class Random(Linear):
    def forward(self, inputs, present=None):
        return torch.nn.functional.dropout(super().forward(inputs, present), 0.5, training=True)
def batch(task): return Batchy()
def random(task): return Random()
"""


@pytest.mark.parametrize("kind", ["batch", "random"])
def test_every_number_of_such_a_model_is_marked_and_no_search_crashes(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Under two attacks and both together, with and without the checks of trust; the batch size
    belongs to the run.
    """
    own_folder(elsewhere, MODELS)
    command = [
        "evaluate",
        "--task",
        "my.py:MyTask",
        "--model",
        f"my.py:{kind}",
        "--samples",
        "12",
        "--schedule",
        "mcar:0",
        "--no-trust",
    ]
    assert run(monkeypatch, *command, "--out", "run") == 0
    lines = capsys.readouterr().out.splitlines()
    numbers = [line for line in lines if "[" in line]
    assert len(numbers) >= 6 and all(line.rstrip().endswith("!") for line in numbers)
    assert any(f"every number: {kind}" in line for line in lines)
    assert json.loads(Path("run/run.json").read_text())["identity"]["batch size"] == 64
    assert run(monkeypatch, *command, "--batch-size", "4", "--out", "run") == 2
    assert "it differs in batch size" in capsys.readouterr().err


class Refusing(Batchy):
    """Raises on one sample, and depends on its batch on the others."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        if bool((inputs["a"] == refused()).flatten(1).all(1).any()):
            raise ValueError("not this one")
        return super().forward(inputs)


class RefusingAtRandom(Refusing):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        return super().forward(inputs) + torch.randn(())


class Small(Batchy):
    """Takes at most eight samples."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        if len(inputs["a"]) > 8:
            raise ValueError("too many at once")
        return super().forward(inputs)


def refused() -> torch.Tensor:
    return fixed_samples(tiny(2)).inputs["a"][3]


@pytest.mark.parametrize(
    ("kind", "flag"), [(Refusing, "batch"), (RefusingAtRandom, "random"), (Small, "batch")], ids=lambda each: str(each)
)
def test_a_sample_that_raises_hides_no_other(kind: type[Flat], flag: str) -> None:
    found = {each.name: each.raised for each in steadiness(kind(), tiny(2), CPU, None).flags}
    assert found[flag]


class Rarely(Flat):
    """Depends on its batch for a few samples under test, and for none of the fixed ones."""

    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        out, fixed = super().forward(inputs), fixed_samples(tiny(2)).inputs["a"].flatten(1)
        known = (inputs["a"].flatten(1)[:, None] == fixed).all(-1).any(1) | (inputs["a"] == 0).flatten(1).all(1)
        return torch.where(known[:, None], out, out + inputs["a"].sum())


def test_samples_under_test_are_asked_alone_too() -> None:
    task = tiny(2)
    rows = [list(range(start, min(start + 4, 24))) for start in range(0, 24, 4)]
    assert not steadiness(Rarely(), task, CPU, None).alone
    assert steadiness_on(Rarely(), task, CPU, None, rows).alone
