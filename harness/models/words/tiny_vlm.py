"""A small network that looks at an image, reads a question, and spells its answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.counting.backbone import CHANNELS, STATE, Grid, Question, image_and_question
from harness.models.counting.movie import Counter
from harness.models.counting.mutan import FUSED, RANK_WITH_ATTENTION, Glimpse, Mutan
from harness.models.fused import without_missing
from harness.models.words.speaking import Prompt, Speaking, check_free_answers, greedy, speaking
from harness.tasks import Task
from harness.tasks.datasets.vqa_words import END

LETTER, SPOKEN = 24, 128  # widths of a letter's embedding, and of the state of the decoder


class TinyVLM(nn.Module):
    """MoVie inside a question-answering model, as `movie-vqa`, with a GRU that spells the answer.

    What is read before the answer becomes the first state of the GRU.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        image, question = image_and_question(task)
        self.names = image.name, question.name
        self.columns = [task.names.index(name) for name in self.names]
        self.grid, self.question = Grid(image), Question(question)
        self.glimpse, self.fuse = Glimpse(), Mutan(CHANNELS, STATE, FUSED, RANK_WITH_ATTENTION)
        self.counter, self.widen, self.asked = Counter(), nn.Linear(CHANNELS, FUSED), nn.Linear(STATE, FUSED)
        self.begin = nn.Sequential(nn.LayerNorm(FUSED), nn.Linear(FUSED, SPOKEN), nn.Tanh())
        vocabulary = check_free_answers(task).vocabulary
        self.letters = nn.Embedding(vocabulary, LETTER)
        self.spell = nn.GRU(LETTER, SPOKEN, batch_first=True)
        self.say = nn.Linear(SPOKEN, vocabulary)

    def embed_prompt(self, inputs: dict[str, Tensor], present: Tensor | None) -> Prompt:
        """The first state of the decoder, (B, 128)."""
        image, question = (inputs[name] for name in self.names)
        every = torch.ones(len(image), len(self.names), dtype=torch.bool, device=image.device)
        here = every if present is None else present[:, self.columns]
        grid, state = without_missing([self.grid(image), self.question(question)], here)
        looked = self.fuse(self.glimpse(grid, state), state) + self.widen(self.counter(grid, state))
        return {"state": self.begin(self.asked(state) + looked)}

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        """The logits of each letter (B, n + 1, vocabulary) behind those before it."""
        start = tokens.new_zeros(len(tokens), 1)
        steps, _ = self.spell(self.letters(torch.cat([start, tokens], 1)), prompt["state"][None].contiguous())
        said: Tensor = self.say(steps)
        return said

    def generate(self, prompt: Prompt, length: int) -> Tensor:
        """The letters of the answer, (B, length)."""
        return greedy(self, prompt, length)


def tiny_vlm(task: Task) -> Speaking:
    """A small vision-language model: an image and a question, answered letter by letter.

    It is for `vqa-words`, and trained by recipe counting.

    Raises:
        BadInput: the task has no image, no question or no free answers.
    """
    return speaking(TinyVLM(task), task, end=END)
