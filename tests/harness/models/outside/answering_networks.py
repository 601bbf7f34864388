"""Tiny generative networks with their processors, and tasks of noise for them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")
from harness.tasks import Task
from harness.tasks.prompts import prompt_task
from tests.harness.models.outside.generative_networks import NETWORKS, WORDS

COUNT, LENGTH = 64, 4


@cache
def made(family: str, **options: Any) -> tuple[Any, Any, Task, str | None]:
    """A network, its processor, and a task of random images and questions."""
    network, processor, template = NETWORKS[family]()
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (COUNT, 3, 20, 24)).astype(np.float32)
    questions = [" ".join(draws.choice(WORDS, draws.integers(2, 6))) for _ in range(COUNT)]
    right = [[str(each)] for each in draws.choice(WORDS, COUNT)]
    table = network.get_input_embeddings().weight
    given = {"template": template, "splits": "test", "name": "asked", "length": LENGTH, **options}
    return network, processor, prompt_task(processor, images, questions, right, table, **given), template
