"""Schedules: their grammar, the fractions that they reach, and nested, keyed masks."""

from functools import partial
from itertools import pairwise

import pytest
import torch

from attacks.errors import BadInput
from harness.schedules import Schedule, parse
from harness.schedules.masks import growing
from harness.schedules.ranks import energy_rank, midranks, target_rank
from harness.tasks import Task

NAMES = ("image", "audio", "text")
WRITTEN = (
    "mcar:0.5",
    "mcar-keep-one:0.5",
    "fixed(audio+text):0.5",
    "imbalanced(audio:0.9+text:0.3):0.5",
    "exclusive:0.5",
    "mnar:0.5",
    "mnar(audio):0.5",
    "mnar-label(image):0.5",
    "gap:0.5",
    "gap(image+audio):0.5",
)
RATES = (0.0, 0.1, 0.3, 0.5, 0.8, 1.0)


def masks(task: Task, text: str, rate: float, samples: tuple[str, ...] | None = None) -> torch.Tensor:
    schedule = parse(text, NAMES)
    assert isinstance(schedule, Schedule)
    return schedule.present(task, samples or task.splits["test"].samples, rate, 0, 0)


@pytest.mark.parametrize("text", WRITTEN)
def test_a_schedule_reads_what_it_writes(text: str) -> None:
    schedule = parse(text, NAMES)
    assert f"{schedule}:0.5" == text
    assert parse(f" {text.replace('+', ' + ')} ", NAMES) == schedule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("imbalanced(audio):1", "a rate behind each modality"),
        ("imbalanced(audio:2):1", "the rate 2 is not between 0 and 1"),
        ("imbalanced:1", "imbalanced(text:0.9):1"),
        ("fixed(audio:0.5):1", "imbalanced(audio:0.9):1"),
        ("fixed:1", "fixed(text):1"),
        ("exclusive(audio):1", "write exclusive:0.5, or fixed(audio):0.5"),
        ("mnar(audio+audio):1", "named twice"),
        ("mnar(smell):1", "unknown modality 'smell'"),
        ("gap(audio)", "does not parse"),
        ("gap(audio):many", "'many' is not a rate"),
        ("mnr(audio):1", "did you mean mnar"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse(text, NAMES)
    assert said in str(refused.value)


@pytest.mark.parametrize("text", [text for text in WRITTEN if not text.startswith("gap")])
def test_masks_are_nested_and_keyed_by_sample(digits: Task, text: str) -> None:
    by_rate = [masks(digits, text, rate) for rate in RATES]
    assert bool(by_rate[0].all())
    assert all(bool((higher <= lower).all()) for lower, higher in pairwise(by_rate))
    samples = digits.splits["test"].samples
    assert torch.equal(
        masks(digits, text, 0.5, samples[::-7]), masks(digits, text, 0.5)[range(len(samples) - 1, -1, -7)]
    )


def missing(task: Task, text: str, rate: float) -> list[float]:
    return (1 - masks(task, text, rate).double().mean(0)).tolist()


@pytest.mark.parametrize("rate", [0.3, 0.8, 1.0])
def test_each_reaches_its_rate(digits: Task, rate: float) -> None:
    near = {"abs": 0.07}  # 500 samples, three standard deviations
    assert missing(digits, "imbalanced(audio:0.9+text:0.3):1", rate) == pytest.approx(
        [0, 0.9 * rate, 0.3 * rate], **near
    )
    assert missing(digits, "exclusive:1", rate) == pytest.approx([rate * 2 / 3] * 3, **near)
    assert missing(digits, "mnar:1", rate) == pytest.approx([rate] * 3, **near)
    assert missing(digits, "mnar(text):1", rate) == pytest.approx([0, 0, rate], **near)
    assert missing(digits, "mnar-label(image):1", rate) == pytest.approx([rate, 0, 0], **near)


def test_exclusive_leaves_exactly_one(digits: Task) -> None:
    counts = masks(digits, "exclusive:1", 0.5).sum(1)
    assert set(counts.tolist()) == {1, 3}
    assert set(masks(digits, "exclusive:1", 1.0).sum(1).tolist()) == {1}


def test_not_at_random(digits: Task) -> None:
    split = digits.splits["test"]
    energy = split.inputs["audio"].square().sum(1)
    gone = ~masks(digits, "mnar(audio):1", 0.5)[:, 1]
    assert float(energy[gone].mean()) > 1.05 * float(energy[~gone].mean())
    gone = ~masks(digits, "mnar-label(audio):1", 0.5)[:, 1]
    assert float(split.targets[gone].double().mean()) > 5 > 4 > float(split.targets[~gone].double().mean())


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.7, 1.0])
def test_chances_grow_with_the_rank_and_average_to_the_rate(rate: float) -> None:
    chances = growing(midranks(torch.randn(77, dtype=torch.float64)).sort().values, rate)
    assert float(chances.mean()) == pytest.approx(rate)
    assert bool((chances.diff() >= 0).all()) and 0 <= float(chances.min()) <= float(chances.max()) <= 1


def test_ranks_are_of_the_whole_split_and_ties_share_theirs(digits: Task) -> None:
    assert midranks(torch.tensor([5.0, 1.0, 5.0, 9.0])).tolist() == [0.5, 0.125, 0.5, 0.875]
    for split in digits.splits.values():
        for rank in (partial(target_rank, digits), partial(energy_rank, digits, "text")):
            assert float(torch.stack([rank(sample) for sample in split.samples]).mean()) == pytest.approx(0.5)
