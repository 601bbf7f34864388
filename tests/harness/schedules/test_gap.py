"""A gap: contiguous, of the requested size, nested, in the chosen modality and nowhere else."""

import pytest
import torch

from harness.schedules import Gap, parse
from harness.schedules.gap import stretch
from harness.tasks import Task


def holes(task: Task, text: str, level: float, rows: range = range(40)) -> dict[str, torch.Tensor]:
    batch, gap = task.splits["test"].take(rows), parse(text, task.names)
    assert isinstance(gap, Gap)
    inputs, present = gap.applied(task, batch, level, 0, 0)
    assert bool(present.all()) and present.shape == (len(rows), len(task.names))
    for modality in task.modalities:
        x, touched = inputs[modality.name], inputs[modality.name] != batch.inputs[modality.name]
        assert torch.equal(x[touched], modality.stand_in(x)[touched])
    return inputs


def test_level_zero_is_clean_and_other_modalities_are_untouched(digits: Task) -> None:
    batch = digits.splits["test"].take(range(40))
    clean = holes(digits, "gap:0", 0.0)
    assert all(torch.equal(clean[name], batch.inputs[name]) for name in digits.names)
    gapped = holes(digits, "gap(audio):0.5", 0.5)
    assert [torch.equal(gapped[name], batch.inputs[name]) for name in digits.names] == [True, False, True]


def test_a_run_of_the_waveform_is_silent(digits: Task) -> None:
    silent = holes(digits, "gap(audio):0.25", 0.25)["audio"] == 0
    assert torch.equal(silent.unfold(1, 1000, 1).all(2).sum(1), torch.ones(40, dtype=torch.int64)), (
        "one place for a quarter of 4000"
    )


def test_everything_gone_is_the_stand_in(digits: Task) -> None:
    gone = holes(digits, "gap:1", 1.0)
    for modality in digits.modalities:
        assert torch.equal(gone[modality.name], modality.stand_in(gone[modality.name]))


def test_keyed_by_sample(digits: Task) -> None:
    few = holes(digits, "gap:0.4", 0.4, range(39, 0, -3))
    for name, x in holes(digits, "gap:0.4", 0.4).items():
        assert torch.equal(x[range(39, 0, -3)], few[name])


@pytest.mark.parametrize("sizes", [(11,), (8, 8), (5, 12)])
def test_gaps_are_nested_of_the_requested_size_and_in_one_piece(sizes: tuple[int, ...]) -> None:
    for seed in range(20):
        draws, count = torch.rand(len(sizes), generator=torch.Generator().manual_seed(seed)), torch.Size(sizes).numel()
        before = torch.zeros(sizes, dtype=torch.bool)
        for level in (0.1, 0.25, 0.5, 0.8, 1.0):
            hole = stretch(sizes, level, draws)
            assert int(hole.sum()) == round(level * count) and bool((hole >= before).all())
            places = hole.nonzero()
            box = places.amax(0) - places.amin(0) + 1  # the last ring of a block may be there in part
            assert (
                int((box - 2).clamp_min(0).prod() if len(sizes) > 1 else box.prod()) <= len(places) <= int(box.prod())
            )
            before = hole


def test_padding_takes_no_part() -> None:
    valid = torch.arange(10) < 6
    hole = stretch((10,), 0.5, torch.tensor([0.9]), valid)
    assert hole.tolist() == [False] * 3 + [True] * 3 + [False] * 4


def test_a_task_with_padding() -> None:
    words = torch.ones(40, 6, 3)
    valid = torch.arange(6) < torch.arange(40).remainder(4)[:, None] + 2
    inputs = {"words": words, "tone": torch.ones(40, 2)}
    task = Task.from_arrays(inputs, torch.arange(40) % 2, valid={"words": valid}, absent={"words": 9.0})
    batch = task.splits["test"]
    gapped, _ = parse("gap(words):0.5", task.names).applied(task, batch, 0.5, 0, 0)
    gone = (gapped["words"] == 9).all(2) & batch.valid["words"]
    assert gone.sum(1).tolist() == [round(0.5 * count) for count in batch.valid["words"].sum(1).tolist()]
