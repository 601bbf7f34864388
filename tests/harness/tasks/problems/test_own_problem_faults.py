"""A problem of a user's own that answers what no table can hold is refused in one sentence, before
any work.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import harness
from attacks.errors import BadInput
from attacks.objective import Verdict
from harness.tasks import MultiLabel, Segmentation, Task

QUIET: dict[str, Any] = {"samples": 8, "search": "fast", "trust": False, "schedule": "none"}
TAGS = 5


class Tags:
    """One of three tags for each of five places, graded."""

    shape = (TAGS, 3)
    thresholds: Any = (0.75,)

    def check_targets(self, targets: Tensor) -> None: ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(outputs.transpose(1, 2), targets, reduction="none").mean(1)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (self.predictions(outputs) == targets).float().mean(1)

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        score = self.score(outputs, targets)
        least = torch.full_like(score, 0.75).double() if floor is None else floor
        own = outputs.gather(-1, targets[..., None]).squeeze(-1)
        margins = (outputs.scatter(-1, targets[..., None], -1e9).amax(-1) - own).sort(1, descending=True).values
        wrong = (TAGS - torch.ceil(least * TAGS - 1e-6) + 1).long().clamp(1, TAGS)
        margin = margins.gather(1, wrong[:, None] - 1).squeeze(1)
        return Verdict({"margin": margin}, margin >= 0, scores=score)

    def label(self, answers: Tensor, targets: Tensor | None = None) -> list[str]:
        return ["".join(map(str, row.tolist())) for row in answers]

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([self.score(outputs, targets), torch.ones(len(targets))], 1).double()

    def metrics(self, tallies: Tensor) -> dict[str, float]:
        return {"tags": float(tallies[:, 0].mean())}


class TooLarge(Tags):
    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 100 * super().score(outputs, targets)


class NotANumber(Tags):
    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().score(outputs, targets) * float("nan")


class NoFloor(Tags):
    def verdict(self, outputs: Tensor, targets: Tensor) -> Verdict:  # type: ignore[override]
        return super().verdict(outputs, targets)


class NoScores(Tags):
    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        found = super().verdict(outputs, targets, floor)
        return Verdict(found.losses, found.fails)


class NoThreshold(Tags):
    thresholds = ()


class OneThreshold(Tags):
    thresholds = 0.5


class WordThreshold(Tags):
    thresholds = ("half",)


class ByBatch(Tags):
    thresholds = (0.5,)

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        score = super().score(outputs, targets)
        return score / score.max().clamp_min(0.1) if len(score) > 1 else score / 2

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        found = super().verdict(outputs, targets, floor)
        return Verdict(found.losses, found.fails, scores=self.score(outputs, targets))


class ByChance(Tags):
    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.rand(len(targets), 2, dtype=torch.float64)


class Contrary(Tags):
    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        found = super().verdict(outputs, targets, floor)
        return Verdict({"margin": self.sign(found.losses["margin"])}, found.fails, scores=found.scores)

    def sign(self, margin: Tensor) -> Tensor:
        return -margin


class NeverNegative(Contrary):
    def sign(self, margin: Tensor) -> Tensor:
        return margin.abs() + 1


class InNumPy(Tags):
    def tally(self, outputs: Tensor, targets: Tensor) -> Any:
        return super().tally(outputs, targets).numpy()


class Doubting(Tags):
    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        found = super().verdict(outputs, targets, floor)
        return Verdict(found.losses, found.fails.float(), scores=found.scores)


class Strict(Tags):
    def check_targets(self, targets: Tensor) -> None:
        raise ValueError("no such tag")


class OneSize(Tags):
    shape = 3  # type: ignore[assignment]


class Metrics(Tags):
    def __init__(self, found: Any) -> None:
        self.found = found

    def metrics(self, tallies: Tensor) -> Any:
        return self.found / 0 if self.found == 1 else self.found


def task(problem: Any) -> Task:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(20, TAGS, 3, generator=draws)
    targets = (x + 0.3 * torch.randn(x.shape, generator=draws)).argmax(-1)
    return Task.from_arrays({"x": x}, targets, problem=problem, splits="test", name="tags")


class Echo(torch.nn.Module):
    def forward(self, inputs: dict[str, Tensor], present: object = None) -> Tensor:
        return inputs["x"]


def test_the_problem_itself_is_evaluated() -> None:
    assert harness.evaluate(task(Tags()), {"echo": Echo()}, **QUIET).status == "complete"


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (TooLarge(), "score of a sample is .*: give a number from 0 to 1"),
        (NotANumber(), "score of a sample is nan: give a number from 0 to 1"),
        (NoFloor(), r"verdict takes no floor .*: write verdict\(outputs, targets, floor=None\)"),
        (NoScores(), "its verdict lacks the scores: give those that score"),
        (NoThreshold(), r"has thresholds \(\): give different shares"),
        (OneThreshold(), "has thresholds 0.5: give different shares"),
        (ByBatch(), "score of a sample changes with the other samples of its batch"),
        (ByChance(), "tally of a sample changes .* from one time to the next"),
        (Contrary(), "loss 'margin' is .* for a sample that .*: give one that is negative exactly where"),
        (NeverNegative(), "loss 'margin' is .* for a sample that withstands"),
        (InNumPy(), "tally is of type ndarray: give a torch.Tensor"),
        (Metrics(1), "metrics raise on 4 samples: ZeroDivisionError"),
        (Metrics(0.5), "metrics are 0.5: give a dictionary of names and numbers"),
        (Metrics({1: 0.5}), "metrics are {1: 0.5}: give a dictionary"),
        (Metrics({"tags": None}), "metric 'tags' is None: give a number"),
        (Doubting(), "gives fails as torch.float32: give torch.bool"),
        (Strict(), "refuses the targets of split 'test': ValueError: no such tag"),
        (OneSize(), r"has shape 3: give whole numbers, as \(3,\)"),
        (Tags, r"is the class Tags: give an object"),
        (WordThreshold(), r"has thresholds \('half',\): give different shares"),
        (Segmentation(3, (4, 4), thresholds=0.5), "has thresholds 0.5: give"),  # type: ignore[arg-type]
        (MultiLabel(3, names=("a", "a", "b")), "names 'a' twice"),
        (Segmentation(3, (4, 4), names=("a", "b", "b")), "names 'b' twice"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_what_no_table_can_hold_is_refused(problem: Any, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        harness.evaluate(task(problem), {"echo": Echo()}, **QUIET)


class Late(Tags):
    """Its tally has another length, or its score is none, on some late sample."""

    def __init__(self, what: str) -> None:
        self.what = what

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        score = super().score(outputs, targets)
        return torch.where(score < 0.5, 2.0, score) if self.what == "score" else score

    def verdict(self, outputs: Tensor, targets: Tensor, floor: Tensor | None = None) -> Verdict:
        found = super().verdict(outputs, targets, floor)
        return Verdict(found.losses, found.fails, scores=self.score(outputs, targets))

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        wide = self.what == "tally" and bool((Tags.score(self, outputs, targets) < 0.5).any())
        return torch.zeros(len(targets), 3 if wide else 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("what", "why"), [("score", "score of a sample is 2"), ("tally", "the same number for every sample")]
)
def test_what_shows_only_under_attack_leaves_no_damaged_run(what: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        harness.evaluate(task(Late(what)), {"echo": Echo()}, scenarios=["x@linf:2"], **QUIET)


def test_a_size_may_be_a_list() -> None:
    assert Segmentation(3, [4, 4]).size == (4, 4)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="give the height and the width"):
        Segmentation(3, (4,))  # type: ignore[arg-type]


class NothingFinite(Tags):
    def metrics(self, tallies: Tensor) -> dict[str, float]:
        return {"tags": float("nan")}


def test_metrics_without_a_finite_value_cost_only_themselves() -> None:
    run = harness.evaluate(task(NothingFinite()), {"echo": Echo()}, **QUIET)
    assert run.status == "complete" and not run.directory.notes.metrics()
    assert any("no value is finite" in text for text in run.errors.values())
