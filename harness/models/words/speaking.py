"""Networks that answer in words, as models of a task with the problem `FreeAnswers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.norms import per_sample
from attacks.region import Inputs
from harness.tasks import Task
from harness.tasks.batch import PAD
from harness.tasks.problems.free_answers import ANSWERS, FreeAnswers, Spoken

DOUBT = 1e-3  # of a lead: where the best answer leads by less, decoding decides what is said

Prompt = Mapping[str, Tensor]
"""What a network has read before it speaks: tensors (B, ...) by name."""


@runtime_checkable
class Speaker(Protocol):
    """A network that answers in words."""

    def embed_prompt(self, inputs: Inputs, present: Tensor | None) -> Prompt:
        """All that is read before the answer, from inputs (B, ...) in the task's units and bool
        `present` (B, M); missing modalities have no influence.
        """

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        """The logits (B, n + 1, vocabulary) of each token of an answer, given the tokens before it:
        those of the first, ..., of the last, and of the one behind it. Tokens are int64 (B, n).
        """

    def generate(self, prompt: Prompt, length: int) -> Tensor:
        """What the network says, by greedy decoding, int64 (B, length); `greedy` does it."""


@torch.no_grad()
def greedy(network: Speaker, prompt: Prompt, length: int) -> Tensor:
    """Greedy decoding, one token after another, int64 (B, length)."""
    count = len(next(iter(prompt.values())))
    said = torch.zeros(count, 0, dtype=torch.int64, device=next(iter(prompt.values())).device)
    for _ in range(length):
        said = torch.cat([said, network.logits(prompt, said)[:, -1].argmax(1)[:, None]], 1)
    return said


def check_free_answers(task: Task) -> FreeAnswers:
    """The problem of a task with free answers.

    Raises:
        BadInput: the task has another problem, lacks the answers' tokens, or has longer answers
            than may be said.
    """
    problem = task.problem
    if not isinstance(problem, FreeAnswers) or ANSWERS not in task.extra_inputs:
        raise BadInput(
            f"task {task.name!r} has no free answers: give it problem=FreeAnswers(...) and the extra input"
            f" {ANSWERS!r}, see harness.tasks.problems.free_answers.tokens_of"
        )
    longest = task.splits["test"].take([0]).inputs[ANSWERS].shape[2]
    if longest > problem.length:
        raise BadInput(
            f"an acceptable answer of task {task.name!r} has {longest} tokens, and FreeAnswers(length={problem.length})"
            f" says fewer: give a length of at least {longest}"
        )
    return problem


class Speaking(nn.Module):
    """A network that answers in words as a model: the leads of the acceptable answers, and what is
    said (see `Spoken`).

    The network decodes only where no acceptable answer leads at each of its positions by more than
    `DOUBT`: elsewhere it says that answer. In training nothing is decoded.

    Args:
        end: the token that ends an answer.

    Raises:
        BadInput: the network lacks a method of `Speaker`, or the task has no free answers.
    """

    def __init__(self, network: nn.Module, task: Task, end: int) -> None:
        super().__init__()
        if not isinstance(network, Speaker):
            lacking = [name for name in ("embed_prompt", "logits", "generate") if not hasattr(network, name)]
            raise BadInput(f"{type(network).__name__} has no {', '.join(lacking)}: a network that speaks has these")
        problem = check_free_answers(task)
        self.network, self.problem, self.end = network, problem, end

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, *shape) of the task's problem."""
        answers = F.pad(inputs[ANSWERS], (0, self.problem.length - inputs[ANSWERS].shape[2]), value=-1)
        prompt = self.network.embed_prompt({name: x for name, x in inputs.items() if name != ANSWERS}, present)
        found = [self._led(prompt, way) for way in answers.unbind(1)]
        leads, likelihoods = (torch.stack(each, 1) for each in zip(*found, strict=True))
        best, ways = leads.amin(2).max(1)
        said = answers[torch.arange(len(best), device=best.device), ways]
        unsure = (best <= DOUBT).nonzero().squeeze(1)
        if self.training:
            said = torch.full_like(said, -1)
        elif len(unsure):
            said, best = self._spoken(prompt, unsure, said, best)
        return Spoken(leads, likelihoods, best, said).packed(self.problem.vocabulary)

    def _spoken(self, prompt: Prompt, rows: Tensor, said: Tensor, lead: Tensor) -> tuple[Tensor, Tensor]:
        """What the network says in these rows, and its smallest lead there."""
        filled = torch.cat([rows, rows[-1:].expand(-len(rows) % PAD)])
        some = {name: x[filled] for name, x in prompt.items()}
        with torch.no_grad():
            tokens = self._ended(self.network.generate(some, self.problem.length))
        leads = self._led(some, tokens)[0].amin(1)
        return said.index_copy(0, rows, tokens[: len(rows)]), lead.index_copy(0, rows, leads[: len(rows)])

    def _ended(self, tokens: Tensor) -> Tensor:
        """The tokens (B, length) up to the first end, -1 behind it."""
        ended = (tokens == self.end).cumsum(1) - (tokens == self.end).long() > 0
        return tokens.masked_fill(ended, -1)

    def _led(self, prompt: Prompt, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The leads (B, n · rivals) of tokens (B, n), and their mean log-likelihood (B,); -1 is no
        token.
        """
        there = tokens >= 0
        known = tokens.clamp_min(0)[..., None]
        logits = self.network.logits(prompt, known[:, :-1, 0]).float()
        own = logits.gather(2, known)
        others = logits.scatter(2, known, float("-inf"))
        leads = own - (others if self.problem.rivals > 1 else others.amax(2, keepdim=True))
        nothing = ~there[..., None] | leads.isinf()
        most = leads.masked_fill(nothing, float("-inf")).flatten(1).amax(1)
        leads = torch.where(nothing, per_sample(most, leads), leads)
        likely = own.squeeze(2) - logits.logsumexp(2)
        return leads.flatten(1), (likely * there).sum(1) / there.sum(1)


def speaking(network: nn.Module, task: Task, *, end: int) -> Speaking:
    """A network that answers in words as a model of a task with free answers; see `Speaking`."""
    return Speaking(network, task, end).eval()
