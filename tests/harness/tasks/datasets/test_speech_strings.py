"""Strings of digits in noise, and mouths that speak them."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from harness.tasks import Task
from harness.tasks.datasets.speech.mixing import FILMED, LENGTH, RATE, coloured, mixed, mouths, trimmed
from harness.tasks.datasets.speech.strings import SIZES, speech
from harness.tasks.problems.enhancement import si_sdr


@cache
def task() -> Task:
    return speech()


def test_noise_has_the_ratio_that_the_group_states() -> None:
    batch = task().splits["test"]
    clean, noisy = batch.targets.unbind(1)
    power = 10 * torch.log10(clean.square().mean(1) / (noisy - clean).square().mean(1))
    stated = torch.tensor([float(group.split()[0]) for group in batch.groups])
    unclipped = noisy.abs().amax(1) < 1
    assert unclipped.float().mean() > 0.5
    torch.testing.assert_close(power[unclipped], stated[unclipped], rtol=0, atol=0.1)


def test_the_model_is_given_the_noisy_sound() -> None:
    for split, batch in task().splits.items():
        assert torch.equal(batch.inputs["audio"], batch.targets[:, 1]) and len(batch) == SIZES[split]


def test_no_voice_is_in_two_splits() -> None:
    train, val, test = (set(task().splits[split].sources) for split in ("train", "val", "test"))
    assert not train & val and not train & test and not val & test


def test_strings_are_long_enough_for_stoi() -> None:
    """It needs .4 s after silence is taken out."""
    clean = task().splits["test"].targets[:, 0]
    loud = clean.unfold(1, 256, 256).square().mean(2).sqrt()
    seconds = (loud > 0.01 * loud.amax(1, keepdim=True)).sum(1) * 256 / RATE
    assert float(seconds.min()) > 0.4


def test_a_mouth_opens_with_the_loudness() -> None:
    clean = np.zeros((1, LENGTH))
    clean[0, : LENGTH // 2] = 0.5 * np.sin(np.arange(LENGTH // 2))
    dark = (mouths(clean, np.random.RandomState(0)) < 0.3).mean((0, 1, 3, 4))
    assert dark[: FILMED // 2].min() > 3 * dark[FILMED // 2 :].max()


def test_coloured_noise_is_louder_at_low_frequencies() -> None:
    power = np.abs(np.fft.rfft(coloured(64, np.random.RandomState(0)))) ** 2
    assert power[:, 1:100].mean() > 4 * power[:, -800:].mean()


def test_speech_at_a_ratio_has_that_si_sdr() -> None:
    rng = np.random.RandomState(0)
    clean, noise = 0.1 * rng.randn(3, LENGTH), rng.randn(3, LENGTH)
    found = mixed(clean, noise, np.array([0, 5, 10]))
    ratio = si_sdr(torch.tensor(found), torch.tensor(clean))
    torch.testing.assert_close(ratio, torch.tensor([0.0, 5.0, 10.0], dtype=ratio.dtype), rtol=0, atol=0.3)


def test_silence_at_the_ends_is_cut() -> None:
    assert trimmed(np.array([0.0, 0.001, 1.0, 0.0, 0.5, 0.01])).tolist() == [1.0, 0.0, 0.5]
