"""Multiple choice by likelihood: the likelihoods are those of the network, and a run is a
classifier's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import harness
from attacks.errors import BadInput
from harness.engine.loading import load_task
from harness.models.outside.huggingface import adapted
from harness.models.words.choosing import choosing
from harness.tasks import Task
from harness.tasks.choices import CHOICES, choice_tokens
from harness.tasks.prompts import prompt_task
from tests.harness.models.outside.generative_networks import NETWORKS

COUNT = 8
TEXTS = [["red", "two red balls", "blue"], ["yes", "no"]]


@cache
def made(family: str) -> tuple[Any, Any, Task, str | None]:
    network, processor, template = NETWORKS[family]()
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 20, 24)).astype(np.float32)
    choices = [TEXTS[row % 2] for row in range(COUNT)]
    task = prompt_task(
        processor,
        images,
        ["what colour", "are there cubes"] * (COUNT // 2),
        [[texts[row % len(texts)]] for row, texts in enumerate(choices)],
        network.get_input_embeddings().weight,
        choices=choices,
        template=template,
        splits="test",
        name="chosen",
    )
    return network, processor, task, template


@pytest.mark.parametrize("family", ["llava", "paligemma"])
def test_likelihoods_are_those_of_a_pass_over_prompt_and_choice(family: str) -> None:
    """Of two networks, one of which reads the prompt anew for each choice."""
    network, processor, task, _ = made(family)
    model, inputs = adapted(network, task, processor), task.splits["test"].take(range(COUNT)).inputs
    with torch.no_grad():
        found = model(inputs)
        for row in range(COUNT):
            ids = inputs["question-prompt"][row]
            ids = ids[ids >= 0]
            picture = inputs["image"][row].byte().movedim(0, -1).numpy()
            pixels = torch.as_tensor(processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"])
            for place, text in enumerate(TEXTS[row % 2]):
                tokens = torch.tensor(processor.tokenizer(text, add_special_tokens=False)["input_ids"])
                whole = torch.cat([ids, tokens])[None]
                kinds = {}
                if family == "paligemma":
                    kinds = {"token_type_ids": (torch.arange(whole.shape[1]) >= len(ids)).long()[None]}
                logits = network(input_ids=whole, pixel_values=pixels, **kinds).logits[0].log_softmax(1)
                wanted = logits[len(ids) - 1 : -1].gather(1, tokens[:, None]).mean()
                torch.testing.assert_close(found[row, place], wanted, rtol=1e-3, atol=1e-3)
    assert bool(found[1::2, 2].isneginf().all()), "a question of two choices has no third"


def test_a_run_attacks_the_choice() -> None:
    network, processor, task, _ = made("llava")
    model = adapted(network, task, processor)
    run = harness.evaluate(
        task, {"net": model}, scenarios=["image@linf:32 + question@tokens:1"], search="fast", trust=False
    )
    assert run.status == "complete" and set(run.ledger["status"]) == {"ok"}
    moved = run.ledger[run.ledger["strength"].between(0, float("inf"), inclusive="neither")]
    assert len(moved) and bool((moved["score"] == 0).all())


@pytest.mark.parametrize(
    ("choices", "right", "words"),
    [
        ([["a", "b"]], [["a"], ["b"]], "1 lists of choices for 2 questions: give one for each"),
        ([["a"]], [["a"]], r"sample 0 has the choices \['a'\]: give two or more different texts, in a list"),
        (["ab"], [["a"]], "sample 0 has the choices 'ab': give two or more different texts, in a list"),
        ([["a", "a"]], [["a"]], "give two or more different texts"),
        ([["a", "b"]], [["c"]], r"sample 0 has the right answers \['c'\]: give one of its choices, in a list"),
        ([["a", "b"]], [["a", "b"]], "give one of its choices, in a list"),
    ],
)
def test_bad_choices_are_one_sentence(choices: Any, right: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        choice_tokens(choices, right, lambda text: [ord(letter) for letter in text])


def test_tasks_without_choices_and_networks_without_words_are_refused() -> None:
    network, processor, task, _ = made("llava")
    speaker = adapted(network, task, processor).network
    with pytest.raises(BadInput, match=f"task 'digits' has no choices: .* the extra input '{CHOICES}'"):
        choosing(speaker, load_task("digits"))
    with pytest.raises(BadInput, match="Linear does not answer in words"):
        choosing(torch.nn.Linear(2, 2), task)
