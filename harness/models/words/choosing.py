"""Networks that answer in words, as models of multiple choice: the likelihood of each choice."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.models.words.speaking import Speaker
from harness.tasks import Classification, Task
from harness.tasks.choices import CHOICES


class Choosing(nn.Module):
    """A network that answers in words as a classifier of choices: the mean log-likelihood of the
    tokens of each. Nothing is decoded.

    Raises:
        BadInput: the network has no `embed_prompt` or `logits`, or the task has no choices.
    """

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        if not isinstance(network, Speaker):
            raise BadInput(f"{type(network).__name__} does not answer in words: give it the methods of Speaker")
        if CHOICES not in task.extra_inputs or not isinstance(task.problem, Classification):
            raise BadInput(
                f"task {task.name!r} has no choices: give it problem=Classification(choices) and the extra input"
                f" {CHOICES!r}, see harness.tasks.choices.choice_tokens"
            )
        self.network = network

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """The mean log-likelihoods (B, K); -inf where a sample has fewer choices."""
        prompt = self.network.embed_prompt({name: x for name, x in inputs.items() if name != CHOICES}, present)
        found = []
        for tokens in inputs[CHOICES].unbind(1):
            there, known = tokens >= 0, tokens.clamp_min(0)
            logits = self.network.logits(prompt, known[:, :-1]).float().log_softmax(2)
            likely = (logits.gather(2, known[..., None]).squeeze(2) * there).sum(1) / there.sum(1).clamp_min(1)
            found.append(torch.where(there.any(1), likely, float("-inf")))
        return torch.stack(found, 1)


def choosing(network: nn.Module, task: Task) -> Choosing:
    """A network that answers in words as a model of multiple choice; see `Choosing`."""
    return Choosing(network, task).eval()
