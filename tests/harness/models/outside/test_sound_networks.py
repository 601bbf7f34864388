"""Networks of sound and video: their features are those of their extractors, and have gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import harness
from attacks.errors import BadInput
from harness.models.outside.huggingface import adapted
from harness.models.outside.sounds import sound_reader
from harness.tasks import Classification, Modality, Task
from tests.tinynetworks import LABELS, PROCESSOR, SMALL

RATE, LENGTH, COUNT = 16_000, 4_000, 6
pytest.importorskip("transformers")


def wav2vec2_extractor(**options: Any) -> Any:
    from transformers import Wav2Vec2FeatureExtractor

    return Wav2Vec2FeatureExtractor(**{"do_normalize": True, **options})


def whisper_extractor() -> Any:
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=16, chunk_length=1)


def ast_extractor() -> Any:
    from transformers import ASTFeatureExtractor

    return ASTFeatureExtractor(num_mel_bins=16, max_length=40)


EXTRACTORS: dict[str, tuple[Callable[[], Any], str]] = {
    "wav2vec2": (wav2vec2_extractor, "input_values"),
    "wav2vec2, plain": (lambda: wav2vec2_extractor(do_normalize=False), "input_values"),
    "whisper": (whisper_extractor, "input_features"),
    "ast": (ast_extractor, "input_values"),
}


def sounds() -> torch.Tensor:
    return 0.3 * torch.randn(COUNT, LENGTH, generator=torch.Generator().manual_seed(0)).clamp(-3, 3)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_features_are_those_of_the_extractor(name: str) -> None:
    make, key = EXTRACTORS[name]
    extractor, x = make(), sounds().requires_grad_()
    found = sound_reader(Modality("sound", (LENGTH,), "audio", -1.0, 1.0, sample_rate=RATE), extractor)(
        nn.Identity(), {"sound": x}, None
    )[key]
    expected = extractor([each.numpy() for each in x.detach()], sampling_rate=RATE, return_tensors="np")[key]
    np.testing.assert_allclose(found.detach().numpy(), np.stack(list(expected)), atol=2e-3)
    (slope,) = torch.autograd.grad(found.sum(), x)
    assert slope.isfinite().all() and (slope.abs().amax(1) > 0).all()


CONVOLVED: dict[str, Any] = {
    **SMALL,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 8),
    "conv_stride": (10, 8),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
    "apply_spec_augment": False,
    "num_labels": LABELS,
}


def wav2vec2() -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    return Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**CONVOLVED))


def hubert() -> nn.Module:
    from transformers import HubertConfig, HubertForSequenceClassification

    return HubertForSequenceClassification(HubertConfig(**CONVOLVED))


def whisper() -> nn.Module:
    from transformers import WhisperConfig, WhisperForAudioClassification

    config = WhisperConfig(
        num_mel_bins=16, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=50, num_labels=LABELS,
        classifier_proj_size=8, vocab_size=30, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return WhisperForAudioClassification(config)


def ast() -> nn.Module:
    from transformers import ASTConfig, ASTForAudioClassification

    return ASTForAudioClassification(
        ASTConfig(
            **SMALL, num_mel_bins=16, max_length=40, patch_size=8, frequency_stride=8, time_stride=8, num_labels=LABELS
        )
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "wav2vec2": (wav2vec2, wav2vec2_extractor),
    "hubert": (hubert, wav2vec2_extractor),
    "whisper": (whisper, whisper_extractor),
    "ast": (ast, ast_extractor),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_sounds_is_evaluated(name: str) -> None:
    torch.manual_seed(0)
    network, extractor = (make() for make in NETWORKS[name])
    task = Task.from_arrays(
        {"sound": sounds().clamp(-1, 1)}, torch.arange(COUNT) % LABELS, kinds={"sound": "audio"},
        ranges={"sound": (-1, 1)}, sample_rate=RATE, problem=Classification(LABELS), splits="test",
    )  # fmt: skip
    found = harness.evaluate(
        task, {name: adapted(network.eval(), task, extractor)}, scenarios=["sound@linf:0.01"], search="none",
        attacks=["pgd?steps=3"], schedules=["none"], trust=False,
    )  # fmt: skip
    assert found.status == "complete" and not found.errors


def test_a_network_of_videos_is_evaluated() -> None:
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    torch.manual_seed(0)
    config = VideoMAEConfig(**SMALL, image_size=8, patch_size=4, num_frames=4, tubelet_size=2, num_labels=LABELS)
    films = torch.rand(COUNT, 3, 4, 8, 8)
    task = Task.from_arrays(
        {"film": films}, torch.arange(COUNT) % LABELS, kinds={"film": "video"}, ranges={"film": (0, 1)},
        problem=Classification(LABELS), splits="test",
    )  # fmt: skip
    network = VideoMAEForVideoClassification(config).eval()
    model = adapted(network, task, PROCESSOR)
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (PROCESSOR.image_mean, PROCESSOR.image_std))
    expected = network(pixel_values=(films.transpose(1, 2) - mean) / std).logits
    torch.testing.assert_close(model({"film": films}), expected)


@pytest.mark.parametrize(
    ("extractor", "rate", "why"),
    [
        (None, RATE, "is a sound: pass the network's feature extractor"),
        (wav2vec2_extractor(), 8_000, "has 8000 samples a second, and Wav2Vec2FeatureExtractor reads 16000: resample"),
        (SimpleNamespace(sampling_rate=RATE, mel_filters=[]), RATE, "computes features that are not read here"),
    ],
)
def test_what_is_not_read_is_refused(extractor: Any, rate: int, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        sound_reader(Modality("sound", (LENGTH,), "audio", -1.0, 1.0, sample_rate=rate), extractor)
