"""Sounds of several channels go through a whole run: attacks, schedules, corruptions, pages."""

from __future__ import annotations

import io

import pytest
import soundfile
import torch

import harness
from attacks.errors import BadInput
from harness.engine.loading import build_model
from harness.references.registry import MODALITY, names
from harness.reporting.images import combine_single_modality, playable
from harness.tasks import Task
from tests.harness.registered import names_in

COUNT, LENGTH = 60, 400


def stereo() -> Task:
    """Whether the left or the right channel is louder, and lights that show the same."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(COUNT) % 2
    loud = torch.stack([1.0 - 0.5 * labels, 0.5 + 0.5 * labels], 1)
    sound = (0.4 * loud[:, :, None] * torch.randn(COUNT, 2, LENGTH, generator=draws)).clamp(-1, 1)
    light = labels[:, None] + 0.3 * torch.randn(COUNT, 3, generator=draws)
    return Task.from_arrays(
        {"sound": sound, "light": light},
        labels,
        name="stereo",
        kinds={"sound": "audio"},
        ranges={"sound": (-1, 1)},
        sample_rate=8000,
    )


class Balance(torch.nn.Module):
    def forward(self, inputs: dict[str, torch.Tensor], present: object = None) -> torch.Tensor:
        power = inputs["sound"].square().mean(2)
        evidence = 8 * (power[:, 1] - power[:, 0]) + inputs["light"].mean(1) - 0.5
        return torch.stack([-evidence, evidence], 1)


def test_a_run_on_two_channels() -> None:
    kinds = [name.partition("/")[2] for name in names("corruption") if name.startswith("audio/")]
    both = "light@l2:0.2 + sound@linf:0.02"
    run = harness.evaluate(
        stereo(),
        {"balance": Balance()},
        samples="all",
        search="fast",
        trust=False,
        scenarios=[both, "sound@l2:0.5", "sound@shift:40", "sound@air:0.02"],
        schedule=["gap(sound):0,0.5"],
        corruptions=[f"sound@{kind}:0,3" for kind in kinds],
    )
    assert set(run.ledger.status) == {"ok"} and set(run.sweep.status) == {"ok"}
    attacked = run.ledger[run.ledger.scenario == both]
    assert ((attacked.strength > 0) & (attacked.strength < 8)).any()
    untouched = run.sweep[(run.sweep.kind == "corruption") & (run.sweep.level == 0)]
    assert len(untouched) and untouched.groupby("name").score.mean().nunique() == 1


def test_both_channels_are_played_and_drawn() -> None:
    modality, sound = stereo().modality("sound"), stereo().splits["test"].inputs["sound"][0]
    heard, rate = soundfile.read(io.BytesIO(playable(modality, sound)))
    assert rate == 8000 and heard.shape == (LENGTH, 2)
    assert torch.allclose(torch.from_numpy(heard.T).float(), sound, atol=1e-4)
    figure = combine_single_modality(modality, sound, sound + 0.01, 2.0)
    assert torch.allclose(torch.tensor(figure.data[0].y).float(), sound.mean(0), atol=1e-6)


FUSIONS = [
    name for folder in ("harness.models.fusion", "defenses") for name in names_in(folder) if MODALITY not in name
]


@pytest.mark.parametrize("model", FUSIONS)
def test_models_of_the_house_hear_it(model: str) -> None:
    task = stereo()
    batch = task.splits["test"].take(range(8))
    try:
        module = build_model(model, task).eval()
    except BadInput as refused:
        pytest.skip(str(refused))
    with torch.no_grad():
        heard = module(batch.inputs, task.present(batch))
        mute = module({**batch.inputs, "sound": 0.5 * batch.inputs["sound"]}, task.present(batch))
    assert heard.shape == (8, 2) and bool(heard.isfinite().all()) and not torch.equal(heard, mute)
