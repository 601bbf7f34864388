"""One-hot text is read as words, also where its columns are candidates of a tokenizer."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from harness.engine.loading import load_task
from harness.reporting.images import text
from harness.tasks import Modality
from harness.tasks.readable import tokens

WORDS = ("", "how", "many", "red", "blue", "balls")


def test_candidates_are_decoded_and_the_template_is_left_out() -> None:
    problem = SimpleNamespace(decode=lambda tokens: " ".join(WORDS[token] for token in tokens))
    modality = Modality("question", (4, 3), "text", 0.0, 1.0, 0.0, "tokens:1")
    candidates = torch.tensor([[1, 1, 1], [0, 3, 4], [0, 5, 5], [1, 1, 1]])
    clean = torch.eye(3)[[1, 1, 1, 1]]
    inputs = {"question": clean, "question-candidates": candidates}
    task = SimpleNamespace(problem=problem)
    before = tokens(task, modality, inputs, clean)  # type: ignore[arg-type]
    assert before == [None, "red", "balls", None]
    now = tokens(task, modality, inputs, torch.eye(3)[[1, 2, 0, 1]])  # type: ignore[arg-type]
    assert now == [None, "blue", "", None]
    shown = text(modality, before, now)
    assert shown.count("background") == 2 and ">blue<" in shown and ">·<" in shown and "how" not in shown


def test_named_tokens_are_their_names() -> None:
    task = load_task("vqa-words")
    inputs = {name: x[0] for name, x in task.splits["test"].take([0]).inputs.items()}
    modality = task.modality("question")
    words = tokens(task, modality, inputs, inputs["question"])
    assert words == [modality.tokens[number] for number in inputs["question"].argmax(1).tolist()] and any(words)
