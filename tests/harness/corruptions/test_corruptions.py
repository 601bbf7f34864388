"""The contract of every registered corruption, parametrised over the registry."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from attacks.errors import BadInput
from attacks.randomness import keyed_generator
from harness.analysis.curves import corruption_curves, missing_curves
from harness.corruptions import audio
from harness.corruptions.corruption import SEVERITIES, Corruption, parse_all
from harness.corruptions.scale import span
from harness.engine.loading import Loaded
from harness.engine.sweep import sweep_rows
from harness.references.registry import names
from harness.run.schema import SWEEP
from harness.schedules import Schedule, parse
from harness.tasks import Batch, Modality, Task

SAMPLES = 64
VIDEO = 4  # axes


BLANK = torch.eye(9)[0]


SHAPES = {
    "image": [(3, 9, 8), (12, 12)],
    "video": [(2, 60, 4, 3)],
    "audio": [(900,)],
    "text": [(10, 9)],
    "features": [(12,), (5, 4)],
}
SMALL = ("image/occlusion", "image/shift")  # sides of a small image round to the same


CASES = [
    pytest.param(name, shape, bounded, padded, id=f"{name}-{'x'.join(map(str, shape))}-{bounded}-{padded}")
    for name in names("corruption")
    for shape in SHAPES[name.split("/")[0]]
    for bounded in ("bounded", "unbounded")
    for padded in ("padded", "whole")
    if not (padded == "padded" and shape[0] < 5)
]


def smooth(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random walks in [0, 1]: the further one moves, blurs or filters them, the more they
    differ.
    """
    steps = torch.randn(SAMPLES, *shape, generator=generator)
    for axis in range(-min(len(shape), 3 if len(shape) == VIDEO else 2), 0):
        steps = steps.cumsum(axis)
    flat = steps.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low)).reshape(steps.shape)


def toy(kind: str, shape: tuple[int, ...], bounded: bool = True, padded: bool = False) -> Task:
    generator = torch.Generator().manual_seed(0)
    x = smooth(shape, generator) if bounded else 500 * smooth(shape, generator) - 250
    if kind == "audio":
        x = x - x.mean(1, keepdim=True)
    if kind == "text":
        x = torch.eye(9)[torch.randint(1, 9, (SAMPLES, shape[0]), generator=generator)]
    limits = (-1.0, 1.0) if kind == "audio" else (0.0, 1.0)
    lengths = torch.randint(shape[0] // 2, shape[0], (SAMPLES,), generator=generator)
    return Task.from_arrays(
        {"x": x},
        torch.arange(SAMPLES) % 2,
        kinds={"x": kind},
        ranges={"x": limits} if bounded else {},
        absent={"x": BLANK if kind == "text" else 0.25},
        valid={"x": torch.arange(shape[0]) < lengths[:, None]} if padded else {},
        splits=["train", "val"] + ["test"] * (SAMPLES - 2),
    )


def corrupted(task: Task, name: str, severity: int, batch: Batch | None = None, repeat: int = 0) -> Tensor:
    corruption = Corruption("x", name.split("/")[1], SEVERITIES)
    return corruption.applied(task, batch or task.splits["test"], severity, repeat, 0)[0]["x"]


@pytest.mark.parametrize(("name", "shape", "bounded", "padded"), CASES)
def test_a_corruption_keeps_the_contract(name: str, shape: tuple[int, ...], bounded: str, padded: str) -> None:
    task = toy(name.split("/")[0], shape, bounded == "bounded", padded == "padded")
    batch = task.splits["test"]
    x, before = batch.inputs["x"], batch.inputs["x"].clone()
    results = [corrupted(task, name, severity) for severity in SEVERITIES]
    assert results[0] is x, "severity 0 is the input itself"
    assert torch.equal(x, before)
    for result in results:
        task.modality("x").check(result)
        assert result.dtype == x.dtype
        if padded == "padded":
            assert torch.equal(result[~batch.valid["x"]], x[~batch.valid["x"]])
        if name.startswith("text"):
            assert bool(((result == 0) | (result == 1)).all()) and bool((result.sum(2) == 1).all())
    distances = [float((result - x).abs().flatten(1).mean()) for result in results]
    assert distances == sorted(distances) and distances[1] > 0
    if name not in SMALL:
        assert len(set(distances)) == len(SEVERITIES)


@pytest.mark.parametrize("name", names("corruption"))
def test_a_result_does_not_depend_on_the_batch(name: str) -> None:
    task = toy(name.split("/")[0], SHAPES[name.split("/")[0]][0])
    batch = task.splits["test"]
    whole = corrupted(task, name, 4)
    assert torch.equal(corrupted(task, name, 4), whole)
    for rows in ([7], [11, 3, 5], list(range(20, 0, -1))):
        assert torch.equal(corrupted(task, name, 4, batch.take(rows)), whole[rows])


def test_padding_of_any_shape_stays() -> None:
    task = toy("image", (12, 12))
    batch = task.splits["test"]
    real = torch.ones(len(batch), 12, 12, dtype=torch.bool).tril()
    x, result = batch.inputs["x"], corrupted(task, "image/noise", 5, replace(batch, valid={"x": real}))
    assert torch.equal(result[~real], x[~real]) and not torch.equal(result[real], x[real])


def test_a_sample_that_is_all_padding_stays() -> None:
    task = toy("audio", (900,))
    batch = task.splits["test"].take([0])
    nothing = replace(batch, valid={"x": torch.zeros(1, 900, dtype=torch.bool)})
    assert torch.equal(corrupted(task, "audio/clipping", 5, nothing), batch.inputs["x"])


def test_repeats_seeds_and_samples_draw_anew() -> None:
    task = toy("features", (12,))
    batch = task.splits["test"]
    corruption = Corruption("x", "noise", (3,))
    draws = [
        corruption.applied(task, batch, 3, repeat, seed)[0]["x"] - batch.inputs["x"]
        for repeat, seed in [(0, 0), (1, 0), (0, 1)]
    ]
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0][0], draws[0][1])


def test_draws_are_the_same_at_each_severity() -> None:
    task = toy("features", (12,), bounded=False)
    x = task.splits["test"].inputs["x"]
    weak, strong = ((corrupted(task, "features/noise", severity) - x) for severity in (1, 5))
    torch.testing.assert_close(weak / 0.04, strong / 0.26, rtol=1e-3, atol=0.05)
    lost = [corrupted(task, "features/dropout", severity) != x for severity in SEVERITIES]
    assert all(bool((more | ~less).all()) for less, more in pairwise(lost))


@pytest.mark.parametrize("severity", SEVERITIES[1:])
@pytest.mark.parametrize("padded", [False, True])
def test_the_signal_to_noise_ratio_is_reached(severity: int, padded: bool) -> None:
    task = toy("audio", (900,), bounded=False, padded=padded)
    batch = task.splits["test"]
    noisy = corrupted(task, "audio/noise", severity)
    for row, x in enumerate(batch.inputs["x"]):
        real = batch.valid["x"][row] if padded else torch.ones(900, dtype=torch.bool)
        power, noise = x[real].square().mean(), (noisy[row] - x)[real].square().mean()
        assert 10 * float((power / noise).log10()) == pytest.approx(audio.SNR[severity - 1], abs=0.1)


def test_a_silent_clip_stays_silent() -> None:
    silent = torch.zeros(100)
    assert torch.equal(audio.noise(silent, 5, Modality("x", (100,), "audio"), keyed_generator(0)), silent)


def test_low_pass_keeps_what_is_low() -> None:
    time, modality = torch.arange(800) / 8000, Modality("x", (800,), "audio", sample_rate=8000)
    low, high = torch.sin(2 * torch.pi * 100 * time), torch.sin(2 * torch.pi * 2000 * time)
    heard = audio.low_pass(low + high, 5, modality, keyed_generator(0))
    assert float((heard - low).abs().max()) < 0.05


def frames(name: str, severity: int) -> list[list[int]]:
    """For each sample, the number of the frame that is shown at each time; -1: the absent value."""
    task = toy("video", (2, 60, 4, 3))
    batch = task.splits["test"].take(range(10))
    result = corrupted(task, name, severity, batch)
    shown = (result[:, :, :, None] == batch.inputs["x"][:, :, None]).all(-1).all(-1).all(1)  # (B, T, T)
    lost = (result == 0.25).all(-1).all(-1).all(1)
    return torch.where(lost, -1, shown.int().argmax(2)).tolist()


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_frames_go_where_the_docstring_says(severity: int) -> None:
    every = list(range(60))
    for shown in frames("video/drop", severity):
        assert all(frame in (time, -1) for time, frame in enumerate(shown))
    for shown in frames("video/freeze", severity):
        assert shown[0] == 0 and all(now in (before, time + 1) for time, (before, now) in enumerate(pairwise(shown)))
    for shown in frames("video/repeat", severity):
        assert shown == sorted(shown) and len(set(shown)) < 60 and shown[0] == 0
    for name in ("video/reorder", "video/swap"):
        assert all(sorted(shown) == every for shown in frames(name, severity))
    for shown in frames("video/gap", severity):
        lost = [time for time, frame in enumerate(shown) if frame == -1]
        assert len(lost) == [6, 0, 18, 0, 42][severity - 1] and lost == list(range(lost[0], lost[-1] + 1))
    for shown in frames("video/shift", severity):
        step = [1, 0, 6, 0, 18][severity - 1]
        assert shown in ([-1] * step + every[:-step], every[step:] + [-1] * step)


def test_an_image_shifts_as_a_whole() -> None:
    task = toy("image", (12, 12))
    x, moved = task.splits["test"].inputs["x"], corrupted(task, "image/shift", 3)
    there = [
        torch.equal(
            new[down : 12 + down - 2, right : 12 + right - 2], old[2 - down : 12 - down, 2 - right : 12 - right]
        )
        for new, old in zip(moved, x, strict=True)
        for down in (0, 2)
        for right in (0, 2)
    ]
    assert sum(there) == len(x), "each moves by two pixels on both axes, one of four ways"


def test_deletion_moves_the_rest_up() -> None:
    task = toy("text", (10, 9))
    for x, result in zip(
        task.splits["test"].inputs["x"].argmax(2), corrupted(task, "text/deletion", 3).argmax(2), strict=True
    ):
        rest = iter(x.tolist())
        left = [letter for letter in result.tolist() if letter]
        assert all(letter in rest for letter in left), "what is left stands in its order"
        assert result[len(left) :].sum() == 0


def test_blanks_are_no_letters() -> None:
    task = toy("text", (10, 9))
    batch = task.splits["test"].take(range(30))
    blanked = batch.inputs["x"].clone()
    blanked[:, 4:] = BLANK
    for name in ("text/typos", "text/deletion", "text/swap"):
        result = corrupted(task, name, 5, replace(batch, inputs={"x": blanked}))
        assert torch.equal(result[:, 4:], blanked[:, 4:])
        if name == "text/typos":
            assert not bool(result[:, :4, 0].any()), "a typo is a letter"
        if name == "text/swap":
            assert torch.equal(result.sum(1), blanked.sum(1))


@pytest.mark.parametrize(
    ("values", "low", "high", "expected"),
    [
        ([0.0, 1.0], 0.0, 16.0, [16.0, 16.0]),
        ([-1.0, 1.0], float("-inf"), float("inf"), [4.0, 4.0]),
        ([-1.0, 1.0], torch.tensor([-1.0, 0.0]), torch.tensor([1.0, float("inf")]), [2.0, 4.0]),
        ([3.0], float("-inf"), float("inf"), [3.0]),
        ([0.0, 0.0], float("-inf"), float("inf"), [0.0, 0.0]),
    ],
)
def test_span_is_the_range_or_the_samples_own(values: list[float], low: Any, high: Any, expected: list[float]) -> None:
    assert span(torch.tensor(values), Modality("x", (len(values),), low=low, high=high)).tolist() == expected


def test_severity_zero_is_clean(system: Loaded, digits: Task) -> None:
    batch = digits.splits["test"].take(range(12))
    with torch.no_grad():
        scores = digits.problem.score(system.module(batch.inputs, None), batch.targets).tolist()
    corruptions = parse_all(["image@noise:0", "audio@shift:0", "text@typos:0"], digits)
    rows = list(
        sweep_rows(
            system.module,
            digits,
            batch,
            corruptions,
            1,
            0,
            on_error=lambda where, error: pytest.fail(f"{where}: {error}"),
        )
    )
    assert [row["score"] for row in rows] == scores * 3
    assert {row["present"] for row in rows} == {"111"}


def test_curves_keep_missing_and_corrupted_apart() -> None:
    shared = {**dict.fromkeys(SWEEP.names), "model": "m", "sample": "1", "repeat": 0, "present": "11", "status": "ok"}
    scores = [("mcar", 0.5, 1.0), ("image@noise", 5.0, 0.25), ("image@noise", 0.0, 1.0), ("image@noise", 3.0, 0.5)]
    sweep = pa.Table.from_pylist(
        [
            {**shared, "kind": "corruption" if "@" in s else "schedule", "name": s, "level": level, "score": score}
            for s, level, score in scores
        ],
        SWEEP,
    )
    assert set(missing_curves(sweep)) == {("mcar", "m")}
    assert set(corruption_curves(sweep)) == {("image@noise", "m")}
    points = corruption_curves(sweep)["image@noise", "m"]
    assert [(point.at, point.share.value) for point in points] == [(0.0, 1.0), (3.0, 0.5), (5.0, 0.25)]


def test_typos_need_letters() -> None:
    task = toy("text", (10, 9))
    soft = replace(task.splits["test"], inputs={"x": task.splits["test"].inputs["x"] * 0.5})
    with pytest.raises(BadInput, match="typos need one letter per position"):
        corrupted(task, "text/typos", 1, soft)


def test_a_schedule_leaves_the_inputs(digits: Task) -> None:
    batch = digits.splits["test"].take(range(4))
    schedule = parse("mcar:0.5", digits.names)
    assert isinstance(schedule, Schedule)
    inputs, present = schedule.applied(digits, batch, 0.5, 0, 0)
    assert inputs is batch.inputs
    assert torch.equal(present, schedule.present(digits, batch.samples, 0.5, 0, 0))
