"""EPIC-Kitchens: an action is a verb and a noun, both right."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.region import Range
from attacks.search import search
from harness.engine.objective import TaskObjective
from harness.tasks import Heads, Task
from harness.tasks.datasets.epic_kitchens import epic_kitchens
from harness.tasks.files.dataroot import VARIABLE
from tests.featurefiles import COUNTS, action_arrays, save

PROBLEM = Heads(("verb", "noun"), (3, 4), "action")


def drawn(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 7, generator=generator), torch.randint(12, (count,), generator=generator)


def test_a_target_is_the_number_of_a_combination() -> None:
    numbers = torch.arange(12)
    verb, noun = PROBLEM.split(numbers)
    assert (verb.tolist(), noun.tolist()) == ([row // 4 for row in range(12)], [row % 4 for row in range(12)])
    assert torch.equal(PROBLEM.join([verb, noun]), numbers)
    assert Heads(("a", "b", "c"), (2, 3, 5)).split(torch.tensor([29]))[1].item() == 2
    for bad in (torch.tensor([12]), torch.tensor([-1]), torch.tensor([0.0])):
        with pytest.raises(BadInput, match="int64 from 0 to 11"):
            PROBLEM.check_targets(bad)
    with pytest.raises(BadInput, match="at least 2 classes"):
        Heads(("verb",), (1,)).check_targets(torch.tensor([0]))


def test_it_is_the_classification_of_the_outer_product() -> None:
    outputs, targets = drawn()
    joint = (outputs[:, :3].softmax(1)[:, :, None] * outputs[:, 3:].softmax(1)[:, None]).flatten(1)
    assert torch.equal(PROBLEM.predictions(outputs), joint.argmax(1))
    torch.testing.assert_close(PROBLEM.loss(outputs, targets), F.nll_loss(joint.log(), targets, reduction="none"))


def test_a_sample_withstands_when_both_heads_are_right() -> None:
    outputs, targets = drawn()
    verdict, (verb, noun) = PROBLEM.verdict(outputs, targets), PROBLEM.split(targets)
    right = (outputs[:, :3].argmax(1) == verb) & (outputs[:, 3:].argmax(1) == noun)
    assert 0 < right.sum() < len(right)
    assert torch.equal(verdict.fails, ~right) and torch.equal(verdict.losses["margin"] < 0, right)
    assert verdict.margins is not None and verdict.margins.shape == (200, 6)
    assert torch.equal(verdict.margins.amax(1), verdict.losses["margin"])
    assert bool((verdict.margins.isneginf().sum(1) == 1).all())
    assert torch.equal(PROBLEM.score(outputs, targets), right.float())


def test_a_logit_of_minus_infinity_is_a_class_ruled_out() -> None:
    outputs, targets = torch.tensor([[2.0, 0, 0, float("-inf"), 1, 0, 0]]), torch.tensor([1])
    verdict = PROBLEM.verdict(outputs, targets)
    assert not verdict.fails.item() and verdict.losses["margin"].item() == -1


def test_metrics_of_each_head_and_of_both() -> None:
    targets = PROBLEM.join([torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 2, 3])])
    said = PROBLEM.join([torch.tensor([0, 1, 0, 0]), torch.tensor([0, 0, 2, 0])])
    assert PROBLEM.measured(said, targets) == {"verb_top1": 0.75, "noun_top1": 0.5, "action_top1": 0.25}


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    save(tmp_path / "epic-kitchens", action_arrays())
    return epic_kitchens()


def test_the_layout_is_read(task: Task) -> None:
    assert task.problem == PROBLEM and task.width == 7 and task.names == ("visual", "motion", "audio")
    test = task.splits["test"]
    assert test.targets.tolist() == [row % 3 * 4 + row % 4 for row in range(COUNTS["test"])]
    assert test.inputs["visual"].shape == (COUNTS["test"], 8)


def test_the_search_is_exact_on_a_linear_model(task: Task) -> None:
    """The nearest wrong class of any head decides: min over heads and wrong classes of margin /
    ‖w_y − w_j‖₁.
    """
    torch.manual_seed(0)
    model, x = torch.nn.Linear(8, 7), task.splits["test"].inputs["visual"]
    with torch.no_grad():
        logits = model(x)
    targets, exact = PROBLEM.predictions(logits), torch.full((len(x),), torch.inf)
    for start, size, labels in zip((0, 3), PROBLEM.sizes, PROBLEM.split(targets), strict=True):
        for wrong in range(start, start + size):
            right = labels + start
            margin = logits.gather(1, right[:, None]).squeeze(1) - logits[:, wrong]
            slope = (model.weight[wrong] - model.weight[right]).abs().sum(1).detach()
            exact = torch.where(right == wrong, exact, torch.minimum(exact, margin / slope))
    objective = TaskObjective(Visual(model), task, targets, torch.ones(len(x), 3, dtype=torch.bool), {})
    unbounded = {name: Range(float("-inf"), float("inf")) for name in task.names}
    found = search(objective, task.splits["test"].inputs, unbounded, "visual@linf:1")
    torch.testing.assert_close(found.strength, exact.double(), rtol=0.02, atol=1e-6)


class Visual(torch.nn.Module):
    """A linear model of the visual features."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: dict[str, torch.Tensor], present: torch.Tensor | None = None) -> torch.Tensor:
        answer: torch.Tensor = self.layer(inputs["visual"])
        return answer


@pytest.mark.parametrize(
    ("label", "said"), [(-1.0, "reach from -1"), (0.5, "the train labels of verb must be class numbers")]
)
def test_labels_are_class_numbers(label: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    arrays = action_arrays()
    arrays["train_verb"] = arrays["train_verb"].astype(float)
    arrays["train_verb"][0] = label
    save(tmp_path / "epic-kitchens", arrays)
    with pytest.raises(BadInput, match=said):
        epic_kitchens()
