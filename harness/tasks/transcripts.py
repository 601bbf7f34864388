"""Sounds and what is spoken in them, as a network that transcribes reads and writes them.

Models come from `harness.models.outside.huggingface.adapted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attacks.errors import BadInput
from harness.tasks.arguments import check_texts, joined
from harness.tasks.array_options import Array
from harness.tasks.judges import Judge
from harness.tasks.problems.free_answers import ANSWERS
from harness.tasks.prompts import ids_of, spoken, tokenizer_of
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
    tokenizer, waves = tokenizer_of(processor), _waves(sounds, texts)
    rate = getattr(getattr(processor, "feature_extractor", None), "sampling_rate", None)
    if rate is None:
        raise BadInput(f"{type(processor).__name__} has no feature extractor with a sampling_rate: give Whisper's")
    size = len(tokenizer) if vocabulary is None else vocabulary
    problem, tokens = spoken(tokenizer, partial(ids_of, tokenizer), [(each,) for each in texts], size, length, 1, judge)
    by_name: dict[str, dict[str, Any]] = {
        "kinds": {audio: "audio"},
        "ranges": {audio: (-1.0, 1.0)},
        "extra_inputs": {ANSWERS: tokens},
    }
    given = {"sample_rate": int(rate), **joined(options, by_name, own=("problem",))}
    return Task.from_arrays({audio: waves}, torch.arange(len(waves)), problem=problem, **given)


def _waves(sounds: Array, texts: Sequence[str]) -> Tensor:
    waves = as_tensor("the array of sounds", sounds)
    check_texts("transcripts", texts)
    if waves.ndim != 2 or len(waves) != len(texts):
        raise BadInput(
            f"sounds have shape {tuple(waves.shape)}, for {len(texts)} transcripts: give sounds ({len(texts)}, T)"
        )
    if not all(text.strip() for text in texts):
        raise BadInput("a transcript is empty: leave its sound out")
    return waves
