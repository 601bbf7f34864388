"""What generative networks of Hugging Face keep, and what they read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

import harness
from attacks.errors import BadInput
from harness.models.outside import generative
from harness.models.outside.generative import Generative
from harness.models.outside.huggingface import adapted
from harness.models.outside.key_values import read
from harness.tasks import Task
from tests.commandline import run
from tests.harness.models.outside import whisper_network
from tests.harness.models.outside.answering_networks import LENGTH, made
from tests.harness.models.outside.generative_networks import NETWORKS
from tests.tinynetworks import PROCESSOR, seen, vit

FEW = ("--samples", "4", "--search", "fast", "--schedule", "none", "--no-trust", "--witnesses", "all")
FILE = """
from harness.models.outside.huggingface import adapted
from tests.harness.models.outside.answering_networks import answered, made

network, processor, _, _ = made("llava")


def Questions():
    return answered("llava", 8)


def build(task, checkpointing: bool = False, precision: str = "own"):
    return adapted(network, task, processor, checkpointing=checkpointing, precision=precision)
"""


def kept_bytes(model: Any, task: Task) -> tuple[int, Tensor]:
    """How much a forward pass keeps for the backward pass beside the weights, and the gradient of
    the image.
    """
    batch, weights = task.splits["test"].take(range(8)), {x.data_ptr() for x in model.parameters()}
    held: dict[int, Tensor] = {}

    def packed(x: Tensor) -> Tensor:
        if x.data_ptr() not in weights:
            held[x.data_ptr()] = x
        return x

    image = batch.inputs["image"].clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(packed, lambda x: x):
        loss = task.problem.loss(model({**batch.inputs, "image": image}), batch.targets).sum()
    return sum(x.nbytes for x in held.values()), torch.autograd.grad(loss, image)[0]


@pytest.mark.parametrize("family", NETWORKS)
def test_layers_that_are_computed_again_keep_less_and_give_the_same_gradient(family: str) -> None:
    network, processor, task, _ = made(family)
    plain, wanted = kept_bytes(adapted(network, task, processor).requires_grad_(False), task)
    again = adapted(network, task, processor, checkpointing=True).requires_grad_(False)
    less, found = kept_bytes(again, task)
    torch.testing.assert_close(found, wanted)
    assert less < 0.8 * plain
    assert kept_bytes(adapted(network, task, processor), task)[0] == plain, "the network is as it was"
    shared = {x.data_ptr() for x in network.parameters()}
    assert {x.data_ptr() for x in again.network.network.parameters()} == shared


@pytest.mark.parametrize("family", NETWORKS)
def test_half_precision_answers_in_the_task_s_units(family: str) -> None:
    network, processor, task, _ = made(family)
    half = adapted(network, task, processor, precision="bf16")
    inputs = task.splits["test"].take(range(16)).inputs
    with torch.no_grad():
        found, wanted = half(inputs), adapted(network, task, processor)(inputs)
    assert found.dtype == torch.float32
    assert {x.dtype for x in half.network.network.parameters()} == {torch.bfloat16}
    assert {x.dtype for x in network.parameters()} == {torch.float32}
    leads = slice(0, LENGTH)
    assert (found[:, leads] - wanted[:, leads]).abs().mean() < 0.1 * wanted[:, leads].abs().mean()


@pytest.mark.parametrize("options", [{"checkpointing": True}, {"precision": "bf16"}])
def test_classifiers_and_whisper_take_both(options: dict[str, Any]) -> None:
    network = vit()
    hears, ears, heard = whisper_network.made()
    for model, task, inputs in (
        (adapted(network, pixels := seen(network), PROCESSOR, **options), pixels, {"image"}),
        (adapted(hears, heard, ears, **options), heard, {"audio"}),
    ):
        batch = task.splits["test"].take(range(4))
        moved = {name: x.clone().requires_grad_() for name, x in batch.inputs.items() if name in inputs}
        loss = task.problem.loss(model({**batch.inputs, **moved}), batch.targets).sum()
        assert all(bool((each != 0).any()) for each in torch.autograd.grad(loss, list(moved.values())))


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


@pytest.mark.parametrize("options", ["checkpointing=true", "precision=bf16"])
def test_a_user_s_file_takes_both_from_the_command_line(
    options: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "vlm.py").write_text(FILE)
    model = f"vlm.py:build?{options}"
    words = (*FEW, "--scenario", "image@linf:8", "--out", "run")
    assert run(monkeypatch, "evaluate", "--task", "vlm.py:Questions", "--model", model, *words) == 0
    found = harness.load("run")
    assert found.status == "complete" and set(found.ledger.status) == {"ok"}
    assert found.ledger.strength.between(0, 1, inclusive="neither").any()
    assert run(monkeypatch, "verify", "run", "--code", "vlm.py") == 0


def test_a_search_in_half_precision_is_verified_in_single(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "vlm.py").write_text(FILE)
    words = (*FEW, "--scenario", "image@linf:8")
    named = ("evaluate", "--task", "vlm.py:Questions", "--model", "vlm.py:build", *words)
    assert run(monkeypatch, *named, "--precision", "bf16", "--out", "half") == 0
    assert run(monkeypatch, *named, "--out", "whole") == 0
    half, whole = (harness.load(each).directory.table("samples").to_pandas() for each in ("half", "whole"))
    assert half.drop(columns="run").equals(whole.drop(columns="run")), "untouched answers are in float32"
    assert (
        set(harness.load("half").ledger.status) == {"ok"}
        and run(monkeypatch, "verify", "half", "--code", "vlm.py") == 0
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"precision": 16}, "unknown precision '16'"),
        ({"checkpointing": "yes"}, "checkpointing is 'yes': give True or False"),
    ],
)
def test_other_values_are_one_sentence(options: dict[str, Any], why: str) -> None:
    network, processor, task, _ = made("llava")
    with pytest.raises(BadInput, match=why):
        adapted(network, task, processor, **options)


def test_a_network_without_layers_of_transformers_is_not_checkpointed() -> None:
    _, processor, task, _ = made("llava")
    with pytest.raises(BadInput, match="Linear has no layers that can be computed again"):
        adapted(torch.nn.Linear(2, 2), task, processor, checkpointing=True)
