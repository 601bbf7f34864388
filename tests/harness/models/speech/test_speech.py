"""Models of speech: spectra and back, masks, two heads, and what a missing modality may not do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.engine.loading import build_model
from harness.models.fused import Fused
from harness.models.fusion.mmtm import MMTM
from harness.models.speech.avdcnn import Hearing
from harness.models.speech.spectra import Spectrum
from harness.references.registry import names
from harness.tasks import Batch, Enhancement, Modality, Task
from harness.training.train import recipe_of

LENGTH, SAMPLES = 4_000, 4
SPEECH = [name for name, place in names("model").items() if place.startswith("harness.models.speech.")]
SEEING = [name for name in SPEECH if name != "speech-audio"]


def small() -> Task:
    generator = torch.Generator().manual_seed(0)
    modalities = (
        Modality("audio", (LENGTH,), "audio", -1.0, 1.0, 0.0, sample_rate=8_000),
        Modality("video", (1, 12, 16, 24), "video", 0.0, 1.0, 0.5),
    )
    clean = 0.3 * torch.randn(SAMPLES, LENGTH, generator=generator).clamp(-1, 1)
    noisy = (clean + 0.2 * torch.randn(SAMPLES, LENGTH, generator=generator)).clamp(-1, 1)
    inputs = {"audio": noisy, "video": torch.rand(SAMPLES, 1, 12, 16, 24, generator=generator)}
    targets = torch.stack([clean, noisy], 1)
    splits = {
        split: Batch(tuple(f"{split}{row}" for row in range(SAMPLES)), inputs, targets, ("all",) * SAMPLES)
        for split in ("train", "val", "test")
    }
    return Task("small", modalities, Enhancement(LENGTH), splits, duplicates="allowed")


TASK = small()
INPUTS: Inputs = TASK.splits["test"].inputs


def net(name: str) -> Fused:
    torch.manual_seed(0)
    model = build_model(name, TASK).eval()
    assert isinstance(model, Fused)
    return model


def same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_a_spectrum_goes_back_to_its_wave() -> None:
    spectrum = Spectrum()
    same(spectrum.back(spectrum(INPUTS["audio"]), LENGTH), INPUTS["audio"])


@pytest.mark.parametrize("name", ["speech-audio", "speech-mmtm"])
def test_a_mask_of_ones_returns_the_input(name: str) -> None:
    model = net(name)
    nn.init.zeros_(model.fusion.mask.weight)
    nn.init.constant_(model.fusion.mask.bias, 40.0)
    same(model(INPUTS), INPUTS["audio"])


@pytest.mark.parametrize("name", SPEECH)
def test_silence_stays_silent(name: str) -> None:
    assert not net(name)({**INPUTS, "audio": torch.zeros_like(INPUTS["audio"])}).any()


@pytest.mark.parametrize("name", SPEECH)
def test_a_sample_is_answered_alone_as_in_a_batch(name: str) -> None:
    model = net(name)
    whole = model(INPUTS)
    assert whole.shape == (SAMPLES, LENGTH)
    same(torch.cat([model({key: x[row : row + 1] for key, x in INPUTS.items()}) for row in range(SAMPLES)]), whole)


@pytest.mark.parametrize("missing", ["audio", "video"])
@pytest.mark.parametrize("name", SPEECH)
def test_what_is_missing_has_no_influence(name: str, missing: str) -> None:
    model, present = net(name), torch.ones(SAMPLES, 2, dtype=torch.bool)
    present[::2, TASK.names.index(missing)] = False
    changed = {**INPUTS, missing: INPUTS[missing].clone()}
    changed[missing][::2] = 0.9
    answer = model(INPUTS, present)
    same(model(changed, present), answer)
    assert missing == "video" or not answer[::2].any(), "without the sound there is silence"


@pytest.mark.parametrize("name", SEEING)
def test_the_mouth_is_seen(name: str) -> None:
    model = net(name)
    assert not torch.allclose(model({**INPUTS, "video": INPUTS["video"].roll(1, 0)}), model(INPUTS), atol=1e-6)


def test_without_weights_mmtm_hears_alone() -> None:
    gated, alone = net("speech-mmtm"), net("speech-audio")
    for part in gated.modules():
        if isinstance(part, MMTM):
            for parameter in part.parameters():
                nn.init.zeros_(parameter)
    alone.fusion.load_state_dict({key: gated.fusion.state_dict()[key] for key in alone.fusion.state_dict()})
    same(gated(INPUTS), alone(INPUTS))


def test_gates_per_frame_know_when_the_mouth_opens() -> None:
    """The same frames in another order: gates of all frames alike change the answer as a whole."""
    late = {**INPUTS, "video": INPUTS["video"].clone()}
    late["video"][:, :, 8:] = 0.0
    change = (net("speech-mmtm")(late) - net("speech-mmtm")(INPUTS)).abs()
    assert change[:, 3_500:].mean() > 3 * change[:, :500].mean()


def test_a_frame_is_heard_from_the_five_around_it() -> None:
    """The whole spectrum is convolved once; each window of five frames alone gives the same."""
    hearing, spectra = Hearing(), Spectrum()(INPUTS["audio"])
    heard = hearing(spectra)
    for frame in (2, 7, 11):
        window = spectra[..., frame - 2 : frame + 3]
        torch.testing.assert_close(hearing(window)[:, 2], heard[:, frame])


@pytest.mark.parametrize("mu", [0.0, 1.0])
def test_the_mouth_s_head_learns_by_its_weight_alone(mu: float) -> None:
    recipe, model = recipe_of(f"avdcnn?mu={mu:g}"), net("avdcnn").train()
    stage = recipe.setup(model, TASK, 1)[0]
    recipe.step(TASK.splits["train"], stage).backward()
    learns = any(parameter.grad is not None and parameter.grad.any() for parameter in model.fusion.mouth.parameters())
    assert learns == (mu > 0)
    assert any(parameter.grad.any() for parameter in model.fusion.sound.parameters())


@pytest.mark.parametrize("name", SPEECH)
def test_every_modality_that_is_read_can_be_attacked(name: str) -> None:
    model, leaves = net(name), {key: x.clone().requires_grad_() for key, x in INPUTS.items()}
    TASK.problem.loss(model(leaves), TASK.splits["test"].targets).sum().backward()
    for key in model.encoded:
        assert leaves[key].grad is not None and bool(leaves[key].grad.any())


@pytest.mark.parametrize("name", SPEECH)
def test_other_tasks_are_refused(name: str, digits: Task) -> None:
    with pytest.raises(BadInput, match=r"takes the noise out of a sound .* which task 'digits' does not have"):
        build_model(name, digits)


def test_models_without_two_heads_are_refused() -> None:
    with pytest.raises(BadInput, match="recipe 'avdcnn' trains a head for the sound and one for the mouth"):
        recipe_of("avdcnn").setup(net("speech-audio"), TASK, 1)
