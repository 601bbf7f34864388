"""Tiny generative networks with their processors, and tasks of noise for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
from harness.models.outside.huggingface import adapted
from harness.tasks import Task
from harness.tasks.prompts import prompt_task
from tests.harness.models.outside.generative_networks import NETWORKS, WORDS

COUNT, LENGTH = 64, 4


@cache
def network_of(family: str) -> tuple[Any, Any, str | None]:
    return NETWORKS[family]()


def asked(family: str, rows: Sequence[int], right: Sequence[Sequence[str]] | None = None, **options: Any) -> Task:
    """A task of random images and questions, those of these rows."""
    network, processor, template = network_of(family)
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (COUNT, 3, 20, 24)).astype(np.float32)[list(rows)]
    questions = [" ".join(draws.choice(WORDS, draws.integers(2, 6))) for _ in range(COUNT)]
    right = [[str(each)] for each in draws.choice(WORDS, COUNT)] if right is None else right
    given = {"template": template, "splits": "test", "name": "asked", "length": LENGTH, **options}
    table = network.get_input_embeddings().weight
    return prompt_task(processor, images, [questions[row] for row in rows], right, table, **given)


@cache
def made(family: str) -> tuple[Any, Any, Task, str | None]:
    """A network, its processor, a task and the template of its prompts."""
    network, processor, template = network_of(family)
    return network, processor, asked(family, range(COUNT)), template


def answered(family: str, count: int) -> Task:
    """The first questions to each of which the network says something: the right answer is its
    first word.
    """
    network, processor, task, _ = made(family)
    with torch.no_grad():
        outputs = adapted(network, task, processor)(task.splits["test"].take(range(COUNT)).inputs)
    said = task.problem.texts(task.problem.predictions(outputs))  # type: ignore[attr-defined]
    rows = [row for row, text in enumerate(said) if text][:count]
    return asked(family, rows, [[said[row].split()[0]] for row in rows], judge="contains")
