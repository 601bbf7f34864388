"""Tasks that are answered in words, one argument of which is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.tasks import Task
from harness.tasks.prompts import prompt_task
from harness.tasks.transcripts import transcript_task
from tests.harness.models.outside import whisper_network
from tests.harness.models.outside.answering_networks import made

IMAGES, SOUNDS = np.zeros((2, 3, 8, 8), np.float32), np.zeros((2, 9), np.float32)
CHOSEN: dict[str, Any] = {"choices": [["red", "blue"], ["two", "no"]]}


def asked(**options: Any) -> Task:
    network, processor, _, _ = made("llava")
    given: dict[str, Any] = {"right": [["red"], ["two"]], "questions": ["how", "many"], "images": IMAGES}
    given |= {"embedding": network.get_input_embeddings().weight, "splits": "test", "name": "asked", **options}
    return prompt_task(processor, **given)


def heard(**options: Any) -> Task:
    processor = whisper_network.made()[1]
    return transcript_task(processor, **{"sounds": SOUNDS, "texts": ["a", "b"], "splits": "test", **options})


def raising(said: str, right: Sequence[str]) -> float:
    raise KeyError(said)
