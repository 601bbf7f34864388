"""`Task.from_arrays`: tensors of any shape in, a task out; padding never moves."""

import pytest
import torch

from attacks.bracket import FAST
from attacks.errors import BadInput
from attacks.search import search
from harness.objective import TaskObjective
from harness.tasks import Classification, Regression, Task


def variable_length() -> Task:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 7, (40,), generator=generator)
    valid = torch.arange(6) < lengths[:, None]
    words = torch.randn(40, 6, 3, generator=generator)
    return Task.from_arrays(
        {"words": words, "tone": torch.randn(40, 2, generator=generator)},
        torch.arange(40) % 2,
        valid={"words": valid},
        absent={"words": 9.0},
    )


class Sum(torch.nn.Module):
    """Reads everything, padding included, so that an attack would use it."""

    def forward(self, inputs: dict[str, torch.Tensor], present: torch.Tensor | None = None) -> torch.Tensor:
        total = inputs["words"].sum((1, 2)) - 9 * 18 + inputs["tone"].sum(1)
        return torch.stack([total, -total], 1)


def test_padding_is_never_attacked() -> None:
    task = variable_length()
    batch = task.splits["test"]
    padding = ~batch.valid["words"]
    assert bool((batch.inputs["words"][padding] == 9).all())
    objective = TaskObjective(Sum(), task, batch.targets, torch.ones(len(batch), 2, dtype=torch.bool), {})
    found = search(objective, batch.inputs, task.bounds(batch), "words@linf:10", algorithm=FAST)
    assert bool((found.strength > 0).any()) and bool(found.strength.isfinite().any())
    assert torch.equal(found.witness["words"][padding], batch.inputs["words"][padding])
    assert not torch.equal(found.witness["words"], batch.inputs["words"])


def test_targets_decide_the_problem() -> None:
    x = {"x": torch.randn(20, 3)}
    assert Task.from_arrays(x, torch.arange(20) % 3).problem == Classification(3)
    values = torch.arange(20) / 4
    problem = Task.from_arrays(x, values).problem
    assert isinstance(problem, Regression) and problem.tolerance == pytest.approx(float(values.std()) / 2)


def test_splits_are_disjoint_and_seeded() -> None:
    x, y = {"x": torch.randn(50, 3)}, torch.arange(50) % 2
    first, second, other = (Task.from_arrays(x, y, seed=seed) for seed in (0, 0, 1))
    ids = [first.splits[split].samples for split in ("train", "val", "test")]
    assert sorted(sum(ids, ())) == sorted(f"{row:06d}" for row in range(50))
    assert [len(each) for each in ids] == [35, 5, 10]
    assert ids[2] == second.splits["test"].samples != other.splits["test"].samples


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": {"y": "image"}}, "unknown modality 'y'"),
        ({"ranges": {"x": (0, 1)}}, "outside its declared range"),
        ({"ranges": {"x": (1, 0)}}, "low end is above"),
        ({"splits": ["train"] * 19}, "name a split for each"),
        ({"splits": ["training"] * 20}, "did you mean train"),
        ({"splits": ["train"] * 20}, "split 'val' of task 'arrays' is empty"),
        ({"samples": ["a"] * 20}, "need 20 different ids, got 1"),
        ({"balls": {"x": "linf:-1"}}, "must be positive"),
        ({"valid": {"x": torch.ones(20, 9)}}, "has shape (20, 9)"),
    ],
)
def test_what_cannot_be_used_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as error:
        Task.from_arrays({"x": torch.linspace(-1, 1, 60).reshape(20, 3)}, torch.arange(20) % 2, **options).scenarios()
    assert message in str(error.value)


def test_regression_fails_when_off_by_more_than_the_tolerance() -> None:
    problem = Regression(0.5)
    outputs, targets = torch.tensor([[1.0], [1.5], [1.6], [3.0]]), torch.ones(4)
    assert problem.verdict(outputs, targets).fails.tolist() == [False, False, True, True]
    assert problem.score(outputs, targets).tolist() == pytest.approx([1.0, 0.5, 0.4, 0.0])


def test_regression_is_attacked_in_both_directions() -> None:
    x = torch.tensor([[-0.3], [0.3]]).repeat(10, 1)
    task = Task.from_arrays({"x": x}, torch.zeros(20), problem=Regression(1.0), splits=["train", "val"] + ["test"] * 18)
    batch = task.splits["test"]

    class Identity(torch.nn.Module):
        def forward(self, inputs: dict[str, torch.Tensor], present: torch.Tensor | None = None) -> torch.Tensor:
            return inputs["x"]

    objective = TaskObjective(Identity(), task, batch.targets, torch.ones(18, 1, dtype=torch.bool), {})
    found = search(objective, batch.inputs, task.bounds(batch), "x@linf:0.1")
    torch.testing.assert_close(found.strength, torch.full((18,), 7.0, dtype=torch.float64), rtol=0.02, atol=0)
    assert bool((found.witness["x"].sign() == batch.inputs["x"].sign()).all()), "each sample leaves by its nearer side"
