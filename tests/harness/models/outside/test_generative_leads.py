"""The leads of an answer and what is decoded agree, on random prompts and on attacked ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

from attacks.norms import per_sample
from attacks.presets import FAST
from attacks.search import search
from harness.engine.objective import TaskObjective
from harness.models.outside.huggingface import adapted
from harness.tasks import Task
from tests.harness.models.outside.answering_networks import COUNT, LENGTH, asked, made
from tests.harness.models.outside.generative_networks import NETWORKS, WORDS

CLEAR, NEAR, FEW, TURNS = 1e-3, 0.25, 8, -(-1000 // COUNT)
SEARCHED = "image@linf:4 + question@tokens:1"


def disturbed(task: Task, turn: int) -> dict[str, Tensor]:
    """Other images and words within what an attack may reach."""
    inputs = dict(task.splits["test"].take(range(COUNT)).inputs)
    draws = torch.Generator().manual_seed(turn)
    noise = 64 * torch.rand(inputs["image"].shape, generator=draws) - 32
    inputs["image"] = (inputs["image"] + noise).clamp(0, 255)
    free = task.bounds(task.splits["test"].take(range(COUNT)))["question"].ends[1]
    chance = torch.rand(inputs["question"].shape, generator=draws) * free.expand_as(inputs["question"])
    changed = torch.nn.functional.one_hot(chance.argmax(-1), chance.shape[-1]).float()
    moves = (chance.amax(-1) > 0) & (torch.rand(chance.shape[:2], generator=draws) < 0.3)
    inputs["question"] = torch.where(moves[..., None], changed, inputs["question"])
    return inputs


def begins(said: str, right: Sequence[str]) -> float:
    return float(said.startswith(right[0]))


def searched(model: Any, family: str, task: Task, said: Tensor) -> dict[str, Tensor]:
    """The first prompts as the harness's own search changes them, so that answers begin with other
    words.
    """
    texts = [[text or "yes"] for text in task.problem.texts(said[:FEW])]  # type: ignore[attr-defined]
    own = asked(family, range(FEW), texts, length=LENGTH + 1, judge=begins)
    batch, network = own.splits["test"].take(range(FEW)), adapted(model.network.network, own, made(family)[1])
    objective = TaskObjective(network, own, batch.targets, own.present(batch), {})
    found = search(objective, batch.inputs, own.bounds(batch), SEARCHED, algorithm=FAST)
    assert int((found.strength.isfinite() & (found.strength > 0)).sum()) > FEW / 2
    inputs = dict(task.splits["test"].take(range(COUNT)).inputs)
    rest = inputs["question"].shape[1] - found.witness["question"].shape[1]  # of longer prompts than these
    moved = {
        "image": found.witness["image"],
        "question": torch.cat([inputs["question"][:FEW, :rest], found.witness["question"]], 1),
    }
    return inputs | {name: torch.cat([x, inputs[name][FEW:]]) for name, x in moved.items()}


def at_the_edge(model: Any, inputs: dict[str, Tensor], answer: Tensor) -> dict[str, Tensor]:
    """Images along the gradient to where the answer's smallest lead is near 0."""
    image = inputs["image"]
    for _ in range(4):
        x = image.clone().requires_grad_()
        lead = model._led(model.network.embed_prompt({**inputs, "image": x}, None), answer)[0].amin(1)
        (slope,) = torch.autograd.grad(lead.sum(), x)
        steps = (lead / slope.flatten(1).square().sum(1).clamp_min(1e-12)).detach()
        image = (image - per_sample(steps, slope) * slope).clamp(0, 255)
    return {**inputs, "image": image}


@torch.no_grad()
def decoded(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    said: Tensor = model._ended(model.network.generate(model.network.embed_prompt(inputs, None), LENGTH))
    return said


@torch.no_grad()
def second(model: Any, inputs: dict[str, Tensor], said: Tensor) -> Tensor:
    """The answer that is nearest to what is decoded: the next token where its lead is smallest, and
    what the network writes behind it.
    """
    prompt, places = model.network.embed_prompt(inputs, None), torch.arange(LENGTH)
    most = model.network.logits(prompt, said.clamp_min(0)[:, :-1]).topk(2, 2)
    at = (most.values[..., 0] - most.values[..., 1]).masked_fill(said < 0, float("inf")).argmin(1)[:, None]
    found = torch.where(places == at, most.indices[..., 1], said.clamp_min(0))
    for place in range(1, LENGTH):
        best = model.network.logits(prompt, found[:, :place])[:, -1].argmax(1)
        found[:, place] = torch.where(at[:, 0] < place, best, found[:, place])
    ended: Tensor = model._ended(found)
    return ended


@torch.no_grad()
def agreeing(model: Any, inputs: dict[str, Tensor], answers: list[Tensor]) -> Tensor:
    """The smallest leads of answers (answers, B), once they agree with what is decoded."""
    prompt, said = model.network.embed_prompt(inputs, None), decoded(model, inputs)
    leads = torch.stack([model._led(prompt, answer)[0].amin(1) for answer in answers])
    same = torch.stack([(answer == said).all(1) for answer in answers])
    assert torch.equal((leads > 0)[leads.abs() > CLEAR], same[leads.abs() > CLEAR])
    return leads


@pytest.mark.parametrize("family", NETWORKS)
def test_leads_agree_with_decoding_on_a_thousand_prompts(family: str) -> None:
    """On what is decoded, on an answer with another token, on the nearest one, and on what was
    decoded before an attack. A fifth of the prompts are attacked: by gradients towards a lead of
    0, or by the harness's own search for pixels and words.
    """
    network, processor, task, _ = made(family)
    model, leads = adapted(network, task, processor), []
    for turn in range(TURNS):
        inputs = disturbed(task, turn)
        before = [decoded(model, inputs)] if turn % 5 == 4 else []
        if before:
            inputs = at_the_edge(model, inputs, before[0])
        if turn == TURNS - 1:
            before = [decoded(model, task.splits["test"].take(range(COUNT)).inputs)]
            inputs = searched(model, family, task, before[0])
        said = decoded(model, inputs)
        other = said.clone()
        other[:, 0] = torch.randint(5, 5 + len(WORDS), (COUNT,), generator=torch.Generator().manual_seed(turn))
        nearest = [second(model, inputs, said)] if turn % 2 or before else []
        leads.append(agreeing(model, inputs, [said, other, *nearest, *before]))
    found = torch.cat([each.flatten() for each in leads])
    near = found[(found.abs() > CLEAR) & (found.abs() < NEAR)]
    assert TURNS * COUNT >= 1000 and int((found.abs() > CLEAR).sum()) > 2 * 1000
    assert int((near > 0).sum()) > 30 and int((near < 0).sum()) > 30, "margins near zero, on both sides"
    assert bool((leads[-1][3, :FEW] < 0).sum() > FEW / 2), "the search changes what is said"
