"""`Task.from_arrays`: tensors of any shape in, a task out; padding never moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attacks.errors import BadInput
from attacks.presets import FAST
from attacks.region import Region
from attacks.search import search
from harness.engine.objective import TaskObjective
from harness.models.fusion.concat import concat
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
        ({"splits": ["train"] * 20}, "needs the split test, and may have train and val; it got train"),
        ({"samples": ["a"] * 20}, "need 20 different ids, got 1"),
        ({"balls": {"x": "linf:-1"}}, "must be positive"),
        ({"valid": {"x": torch.ones(20, 9)}}, "has shape (20, 9)"),
        ({"ranges": {"x": (float("nan"), 1)}}, "modality 'x': the range nan to 1 holds NaN"),
        ({"ranges": {"x": (torch.zeros(2), 1)}}, "modality 'x': low has shape (2,), a sample has (3,)"),
        ({"ranges": {"x": (torch.zeros(2), torch.ones(3))}}, "modality 'x': low has shape (2,), a sample has (3,)"),
        ({"ranges": {"x": ("low", "high")}}, "range of modality 'x' must be a pair (low, high)"),
        ({"absent": {"x": torch.zeros(5)}}, "modality 'x': absent has shape (5,), a sample has (3,)"),
        (
            {"absent": {"x": 2.0}, "ranges": {"x": (-1, 1)}},
            "modality 'x': the absent value 2 is not in the range -1 to 1",
        ),
        ({"absent": {"x": float("nan")}}, "modality 'x': the absent value nan"),
        ({"groups": ["a"] * 19}, "20 samples but 19 groups"),
        ({"name": "../x/y"}, "task name '../x/y'"),
    ],
)
def test_what_cannot_be_used_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput) as error:
        Task.from_arrays({"x": torch.linspace(-1, 1, 60).reshape(20, 3)}, torch.arange(20) % 2, **options).scenarios()
    assert message in str(error.value)


def test_samples_of_one_id_are_refused_in_a_task_made_by_hand() -> None:
    task = Task.from_arrays({"x": torch.randn(20, 3)}, torch.arange(20) % 2)
    twice = task.splits["test"].take([0, 1, 0])
    with pytest.raises(BadInput, match=f"split 'test' of task 'arrays' has 2 samples with the id '{twice.samples[0]}'"):
        replace(task, splits={**task.splits, "test": twice})


OBJECT = [0.1, 0.2, 0.3, 0.4, 2.0]
STRANGE = {
    "annotations have shape (4, 1, 4)": ([OBJECT[:4]], None),
    "annotations have a corner at 64": ([[*OBJECT[:3], 64.0, 0.0]], None),
    "annotations have a corner at nan": ([[float("nan"), *OBJECT[1:]]], None),
    "annotations have a label 0.5: give whole numbers": ([[*OBJECT[:4], 0.5]], None),
    "referred has shape (4, 2) of torch.bool: give bool (4, 1)": ([OBJECT], torch.ones(4, 2, dtype=torch.bool)),
    "referred has shape (4, 1) of torch.float32": ([OBJECT], torch.ones(4, 1)),
}


@pytest.mark.parametrize("message", STRANGE)
def test_annotations_that_cannot_be_meant_are_refused(message: str) -> None:
    task, (objects, asked) = Task.from_arrays({"x": torch.randn(20, 3)}, torch.arange(20) % 2), STRANGE[message]
    known = replace(
        task.splits["test"],
        annotations=torch.tensor([OBJECT, [-1.0] * 5]).expand(4, 2, 5),
        referred=torch.ones(4, 2, dtype=torch.bool),
    )
    assert replace(task, splits={**task.splits, "test": known}).splits["test"] is known
    with pytest.raises(BadInput) as error:
        replace(
            task,
            splits={
                **task.splits,
                "test": replace(known, annotations=torch.tensor(objects).expand(4, 1, -1), referred=asked),
            },
        )
    assert message in str(error.value)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_whole_numbers_of_any_width_are_classes(dtype: torch.dtype) -> None:
    targets = (torch.arange(20) % 2).to(dtype)
    groups = torch.arange(20) % 4
    task = Task.from_arrays({"x": torch.randn(20, 3)}, targets, samples=range(20), groups=groups, duplicates="allowed")
    batch = task.splits["test"]
    assert task.problem == Classification(2) and batch.targets.dtype == torch.int64
    assert {type(each) for each in (*batch.samples, *batch.groups)} == {str} and set(batch.groups) <= set("0123")


def test_numpy_arrays_are_as_good_as_tensors() -> None:
    x, targets = np.linspace(-1, 1, 60).reshape(20, 3)[::-1], np.arange(20, dtype=np.int32) % 2
    x.flags.writeable = False
    ranges = {"x": (np.full(3, -1.0), np.full(3, 1.0))}
    task = Task.from_arrays(
        {"x": x}, targets, ranges=ranges, samples=np.arange(20), splits=np.array(["train", "val"] + ["test"] * 18)
    )
    same = Task.from_arrays(
        {"x": torch.tensor(x.copy())},
        torch.tensor(targets),
        ranges={"x": (-torch.ones(3), torch.ones(3))},
        samples=range(20),
        splits=["train", "val"] + ["test"] * 18,
    )
    assert task.splits["test"].inputs["x"].dtype == torch.float32
    assert (task.data_hash, task.definition_hash) == (same.data_hash, same.definition_hash)


@pytest.mark.parametrize(
    ("value", "message"), [(float("inf"), "infinite values in 1 samples"), (float("nan"), "NaN in 1 samples")]
)
def test_values_that_are_no_numbers_are_refused(value: float, message: str) -> None:
    x = torch.zeros(20, 3)
    x[4, 1] = value
    with pytest.raises(BadInput, match=message):
        Task.from_arrays({"x": x}, torch.arange(20) % 2)


@pytest.mark.parametrize("padding", [0.0, 1e6, float("nan"), float("inf")])
def test_padding_decides_nothing(padding: float) -> None:
    x = torch.randn(20, 6, 2, generator=torch.Generator().manual_seed(0))
    valid = torch.arange(6) < 4
    filled = torch.where(valid[:, None], x, padding)
    task = Task.from_arrays({"x": filled}, torch.arange(20) % 2, valid={"x": valid.expand(20, 6)})
    assert task.modalities[0].ball == f"linf:{float(x[:, :4].std()) / 10:.3g}"
    assert bool((task.splits["test"].inputs["x"][:, 4:] == 0).all())


@pytest.mark.parametrize("scale", [1e-9, 1.0, 2e4, 1e19])
def test_default_radii_of_any_size_read_back(scale: float) -> None:
    x = scale * torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    ball = Task.from_arrays({"x": x}, torch.arange(20) % 2).scenarios()[0].attacked[0]
    assert ball.radius == pytest.approx(float(x.std()) / 10, rel=0.01)


CHANGED: dict[str, dict[str, object]] = {
    "range": {"ranges": {"x": (-9, 9)}},
    "absent": {"absent": {"x": 0.5}},
    "mask": {"valid": {"x": torch.ones(20, 3)}},
    "ids": {"samples": [f"s{row}" for row in range(20)]},
    "groups": {"groups": ["a"] * 20},
    "classes": {"problem": Classification(3)},
    "kind": {"kinds": {"x": "audio"}},
    "ball": {"balls": {"x": "l2:1"}},
}


@pytest.mark.parametrize("what", CHANGED)
def test_everything_in_a_task_is_in_its_definition(what: str) -> None:
    x, targets = {"x": torch.linspace(-1, 1, 60).reshape(20, 3)}, torch.arange(20) % 2
    plain, same, changed = (Task.from_arrays(x, targets, **options) for options in ({}, {}, CHANGED[what]))
    assert plain.definition_hash == same.definition_hash != changed.definition_hash
    assert plain.data_hash == changed.data_hash


@pytest.mark.parametrize("name", ["cam.left", "type", "training"])
def test_modalities_of_any_name_can_be_encoded(name: str) -> None:
    task = Task.from_arrays({name: torch.randn(20, 3)}, torch.arange(20) % 2)
    assert concat(task)(task.splits["test"].inputs).shape == (4, 2)


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


def test_one_hot_text_is_attacked_token_by_token() -> None:
    hot = torch.nn.functional.one_hot(torch.arange(100).reshape(20, 5) % 7, 7)
    valid = torch.arange(5).expand(20, 5) < 4
    inputs = {"text": hot, "padded": torch.where(valid[..., None], hot, 9), "soft": hot / 2.0, "features": hot}
    kinds = {"text": "text", "padded": "text", "soft": "text"}
    task = Task.from_arrays(inputs, torch.arange(20) % 2, kinds=kinds, valid={"padded": valid})
    assert [modality.ball.partition(":")[0] for modality in task.modalities] == ["tokens", "tokens", "linf", "linf"]
    batch = task.splits["test"]
    region = Region.of(batch.inputs, task.bounds(batch), "padded@tokens:1 + text@tokens:1")
    assert len(region) == len(batch)


def test_what_tokens_read_as_is_for_display_only() -> None:
    task = Task.from_arrays({"x": torch.eye(4).repeat(20, 1, 1)}, torch.arange(20) % 2, kinds={"x": "text"})
    named = replace(task, modalities=(replace(task.modalities[0], tokens=("", "a", "b", "c")),))
    assert named.definition_hash == task.definition_hash
    with pytest.raises(BadInput, match="1 tokens for 4 columns"):
        replace(task.modalities[0], tokens=("a",))
