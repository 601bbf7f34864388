"""What generative networks of Hugging Face keep, and what they read once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

from harness.models.outside import generative
from harness.models.outside.generative import Generative
from harness.models.outside.huggingface import adapted
from harness.models.outside.key_values import read
from harness.models.outside.memory import checkpointed
from harness.tasks import Task
from tests.harness.models.outside.answering_networks import LENGTH, made
from tests.harness.models.outside.generative_networks import NETWORKS


def kept_bytes(model: Any, task: Task) -> tuple[int, Tensor]:
    """How much a forward pass keeps for the backward pass, and the gradient of the image."""
    batch, held = task.splits["test"].take(range(8)), {}

    def packed(x: Tensor) -> Tensor:
        held[x.data_ptr()] = x.nbytes
        return x

    image = batch.inputs["image"].clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(packed, lambda x: x):
        loss = task.problem.loss(model({**batch.inputs, "image": image}), batch.targets).sum()
    return sum(held.values()), torch.autograd.grad(loss, image)[0]


@pytest.mark.parametrize("family", NETWORKS)
def test_layers_that_are_computed_again_keep_less_and_give_the_same_gradient(family: str) -> None:
    network, processor, task, _ = made(family)
    plain, wanted = kept_bytes(adapted(network, task, processor).requires_grad_(False), task)
    again = adapted(checkpointed(copy.deepcopy(network)), task, processor).requires_grad_(False)
    less, found = kept_bytes(again, task)
    torch.testing.assert_close(found, wanted)
    assert less < 0.8 * plain


@pytest.mark.parametrize("family", NETWORKS)
def test_half_precision_answers_in_the_task_s_units(family: str) -> None:
    network, processor, task, _ = made(family)
    half = adapted(copy.deepcopy(network).to(torch.bfloat16), task, processor)
    inputs = task.splits["test"].take(range(16)).inputs
    with torch.no_grad():
        found, wanted = half(inputs), adapted(network, task, processor)(inputs)
    assert found.dtype == torch.float32
    leads = slice(0, LENGTH)
    assert (found[:, leads] - wanted[:, leads]).abs().mean() < 0.1 * wanted[:, leads].abs().mean()


def test_what_stands_before_the_image_is_read_once_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    network, processor, task, _ = made("llava")
    speaker, inputs = adapted(network, task, processor).network, task.splits["test"].take(range(8)).inputs
    sizes: list[tuple[int, ...]] = []

    def noted(network: Any, embedded: Tensor, *rest: Any) -> Any:
        sizes.append(tuple(embedded.shape[:2]))
        return read(network, embedded, *rest)

    monkeypatch.setattr(generative, "read", noted)
    ids = inputs["question-prompt"]
    with torch.no_grad():
        prompt = speaker.embed_prompt(inputs, None)
        first = int((ids[0] == speaker.image_token).int().argmax()) - int((ids[0] < 0).sum())
        assert sizes == [(1, first), (8, ids.shape[1] - first)] and first > 0
        plain, answer = Generative.embed_prompt(speaker, inputs, None), torch.full((8, 2), 7)
        wanted = speaker.logits(prompt, answer)
        torch.testing.assert_close(wanted, Generative.logits(speaker, plain, answer), rtol=1e-4, atol=1e-4)
        checkpointed(other := copy.deepcopy(speaker))
        again = other.logits(other.embed_prompt(inputs, None), answer)
        torch.testing.assert_close(again, wanted, rtol=1e-4, atol=1e-4)
