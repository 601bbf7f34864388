"""A tiny Whisper with its processor, and a task of noise for it."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from harness.tasks import Task
from harness.tasks.transcripts import transcript_task
from tests.harness.models.outside.generative_networks import louder

COUNT, LENGTH, RATE = 64, 4, 16_000


LETTERS = "abcdefghij"


MARKS = [
    "<|startoftranscript|>",
    "<|en|>",
    "<|transcribe|>",
    "<|translate|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]


@cache
def made() -> tuple[Any, Any, Task]:
    """A tiny random network that hears a fifth of a second, its processor, and a task of noise."""
    torch.manual_seed(0)
    vocabulary = {letter: number for number, letter in enumerate([*LETTERS, "Ġ"])}
    tokenizer = WhisperTokenizer(
        vocab=vocabulary, merges=[], language="en", task="transcribe", additional_special_tokens=MARKS
    )
    ears = WhisperFeatureExtractor(feature_size=16, chunk_length=1, sampling_rate=RATE)
    processor = WhisperProcessor(ears, tokenizer)
    sizes = {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        max_source_positions=50,
        max_target_positions=24,
        decoder_start_token_id=tokenizer.prefix_tokens[0],
        **sizes,
        **dict.fromkeys(("eos_token_id", "pad_token_id", "bos_token_id"), tokenizer.eos_token_id),
    )
    network = louder(WhisperForConditionalGeneration(config))
    with torch.no_grad():  # so that the text depends on the sound
        network.model.encoder.embed_positions.weight.zero_()
        for layer in network.model.decoder.layers:
            for weights in layer.encoder_attn.parameters():
                weights.mul_(4)
    plain = network.generation_config
    plain.suppress_tokens = plain.begin_suppress_tokens = None
    plain.is_multilingual, plain.lang_to_id = True, {"<|en|>": tokenizer.prefix_tokens[1]}
    plain.task_to_id = {"transcribe": tokenizer.prefix_tokens[2]}
    plain.no_timestamps_token_id = tokenizer.prefix_tokens[3]
    draws = np.random.default_rng(0)
    loud = draws.random((COUNT, 1)) * np.sin(np.arange(RATE // 5) * draws.random((COUNT, 1)))
    texts = ["".join(draws.choice(list(LETTERS), 3)) for _ in range(COUNT)]
    task = transcript_task(processor, loud.astype(np.float32), texts, splits="test", name="heard", length=LENGTH)
    return network, processor, task
