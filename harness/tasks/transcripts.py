"""Sounds and what is spoken in them, as a network that transcribes reads and writes them.

Models come from `harness.models.outside.huggingface.adapted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from attacks.errors import BadInput
from harness.tasks.array_options import Array
from harness.tasks.judges import Judge
from harness.tasks.problems.free_answers import ANSWERS, FreeAnswers, tokens_of
from harness.tasks.prompts import LENGTH, Decoded, ids_of, tokenizer_of
from harness.tasks.task import Task
from harness.tasks.tensors import as_tensor


def transcript_task(
    processor: Any,
    sounds: Array,
    texts: Sequence[str],
    *,
    judge: str | Judge = "transcript",
    length: int | None = None,
    vocabulary: int | None = None,
    audio: str = "audio",
    **options: Any,
) -> Task:
    """Make a task from sounds and their transcripts.

    >>> transcript_task(processor, sounds, texts)

    Args:
        processor: of sounds and texts: its feature extractor names the sample rate, and its
            tokenizer writes the transcripts.
        sounds: (N, T) from -1 to 1, at that sample rate.
        texts: N transcripts, as the network writes them: Whisper begins with a space.
        judge: see `FreeAnswers`.
        length: how many tokens are decoded at most; None takes one more than the longest text.
        vocabulary: how many tokens the network writes; None takes those of the tokenizer.
        audio: the name of the modality.
        options: of `Task.from_arrays`.

    Raises:
        BadInput: sounds of another shape, another number of texts, an empty text, or a processor
            without a tokenizer or a feature extractor.
    """
    tokenizer, waves = tokenizer_of(processor), as_tensor("the array of sounds", sounds)
    rate = getattr(getattr(processor, "feature_extractor", None), "sampling_rate", None)
    if rate is None:
        raise BadInput(f"{type(processor).__name__} has no feature extractor with a sampling_rate: give Whisper's")
    if waves.ndim != 2 or len(waves) != len(texts):
        raise BadInput(
            f"sounds have shape {tuple(waves.shape)}, for {len(texts)} transcripts: give sounds ({len(texts)}, T)"
        )
    if not all(text.strip() for text in texts):
        raise BadInput("a transcript is empty: leave its sound out")
    right = tuple((text,) for text in texts)
    tokens = tokens_of(right, lambda text: ids_of(tokenizer, text), int(tokenizer.eos_token_id), 1)
    most = tokens.shape[2] + LENGTH if length is None else length
    by_name: dict[str, dict[str, Any]] = {
        "kinds": {audio: "audio"},
        "ranges": {audio: (-1.0, 1.0)},
        "extra_inputs": {ANSWERS: tokens},
    }
    problem = FreeAnswers(right, Decoded(tokenizer), vocabulary or len(tokenizer), most, judge=judge)
    merged = {name: {**each, **(options.get(name) or {})} for name, each in by_name.items()}
    return Task.from_arrays(
        {audio: waves}, torch.arange(len(waves)), problem=problem, **{"sample_rate": int(rate), **options, **merged}
    )
