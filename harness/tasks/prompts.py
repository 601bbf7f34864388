"""Questions about images, as the processor of a vision-language network writes its prompts.

A prompt is what a chat template makes of a question: tokens that stand for the image, words of the
template, and the user's own words. Only these can be attacked or go missing. They are a text of
`harness.tasks.tokens`; the whole prompt stands beside it as the input ``<name>-prompt``, int64
(N, n), with -1 on the left of shorter prompts.

Models come from `harness.models.outside.huggingface.adapted`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attacks.errors import BadInput, shown
from harness.tasks.arguments import check_lists, check_text, check_texts, check_whole, joined
from harness.tasks.array_options import Array
from harness.tasks.choices import CHOICES, choice_tokens
from harness.tasks.judges import Judge
from harness.tasks.problems.free_answers import ANSWERS, FreeAnswers, tokens_of
from harness.tasks.problems.problem import Classification, Problem
from harness.tasks.task import Task
from harness.tasks.tensors import as_tensor
from harness.tasks.tokens import beside, nearest, token_task

PROMPT = "prompt"
MARK = "qzxv"  # stands for a question, to find where a template puts it
LENGTH = 1  # tokens more than the longest acceptable answer that may be decoded


@dataclass(frozen=True, eq=False)
class Decoded:
    """The text of tokens, without special ones."""

    tokenizer: Any

    def __call__(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()


def prompt_task(
    processor: Any,
    images: Array,
    questions: Sequence[str],
    right: Sequence[Sequence[str]],
    embedding: Tensor,
    *,
    template: str | None = None,
    before: str = "",
    replacements: int = 8,
    judge: str | Judge = "exact",
    length: int | None = None,
    ways: int = 1,
    choices: Sequence[Sequence[str]] | None = None,
    image: str = "image",
    text: str = "question",
    **options: Any,
) -> Task:
    """Make a task from images, questions and their acceptable answers.

    >>> prompt_task(processor, images, questions, answers, network.get_input_embeddings().weight)

    Args:
        processor: of images and texts, with a tokenizer.
        images: (N, 3, H, W), raw pixels from 0 to 255.
        questions: N texts.
        right: of each question the acceptable answers.
        embedding: the network's table (vocabulary, width); the nearest tokens replace a token.
        template: the prompt, with ``{question}`` where the question stands and the processor's own
            word for an image; None takes the processor's chat template, or, without one, the
            question alone.
        before: what stands between the prompt and an answer, as " ".
        replacements: how many tokens may replace each of the question's.
        judge, ways: see `FreeAnswers`.
        length: how many tokens are decoded at most; None takes one more than the longest answer.
        choices: of each question the texts to choose from, for multiple choice by likelihood. Then
            `right` names one of them, and `judge`, `length` and `ways` do not matter.
        image, text: the names of the modalities.
        options: of `Task.from_arrays`.

    Raises:
        BadInput: images of another shape or range, a question that is empty or that the prompt
            changes, lists of different lengths or of something else than texts, or no tokenizer.
    """
    tokenizer, pixels = tokenizer_of(processor), _pixels(images, questions, right)
    _check_words(embedding, template, before, replacements)
    prompts, own = _prompts(processor, template, questions, pixels)
    pad = int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
    asked, special = torch.where(own, prompts, pad), _special(processor)
    problem: Problem
    encode, targets = partial(ids_of, tokenizer, before=before), torch.arange(len(pixels))
    if choices is None:
        problem, tokens = spoken(tokenizer, encode, right, len(embedding), length, ways, judge)
    else:
        tokens, targets = choice_tokens(choices, right, encode)
        problem = Classification(tokens.shape[1])
    extra = {ANSWERS if choices is None else CHOICES: tokens, beside(text, PROMPT): prompts}
    by_name: dict[str, dict[str, Any]] = {"kinds": {image: "image"}, "ranges": {image: (0, 255)}, "extra_inputs": extra}
    return token_task(
        {"input_ids": asked, "attention_mask": own.long()},
        targets,
        nearest(embedding, asked, replacements, special),
        special=special,
        pad=pad,
        text=text,
        also={image: pixels},
        problem=problem,
        **joined(options, by_name, own=("problem", "also", "special", "pad")),
    )


def tokenizer_of(processor: Any) -> Any:
    """The tokenizer of a processor, which has an end token.

    Raises:
        BadInput: it has none.
    """
    found = getattr(processor, "tokenizer", None)
    if found is None or getattr(found, "eos_token_id", None) is None:
        raise BadInput(f"{type(processor).__name__} has no tokenizer with an end token: give the network's processor")
    return found


def _pixels(images: Array, questions: Sequence[str], right: Sequence[Sequence[str]]) -> Tensor:
    pixels = as_tensor("the array of images", images)
    check_texts("questions", questions)
    check_lists("answers", right)
    if not len(questions):
        raise BadInput("there is no question: give a list of them")
    if pixels.ndim != 4 or pixels.shape[1] != 3 or not len(pixels) == len(questions) == len(right):
        raise BadInput(
            f"images have shape {tuple(pixels.shape)}, for {len(questions)} questions and {len(right)} lists of"
            " answers: give images (N, 3, H, W) and as many of the others"
        )
    return pixels


def _prompts(processor: Any, template: str | None, questions: Sequence[str], pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens of all prompts (N, n), -1 on the left of shorter ones, and which are the
    questions', bool.
    """
    around = _around(processor, template)
    written = [_prompt(processor, around, question, x) for question, x in zip(questions, pixels, strict=True)]
    longest = max(len(ids) for ids, _ in written)
    prompts = torch.stack([_left(ids, longest, -1) for ids, _ in written])
    return prompts, torch.stack([_left(own, longest, 0) for _, own in written]).bool()


def _special(processor: Any) -> list[int]:
    """Tokens that no word is replaced by, and that of an image."""
    tokenizer, image = processor.tokenizer, getattr(processor, "image_token", None)
    written = {int(token) for token, each in tokenizer.added_tokens_decoder.items() if each.special}
    own = [getattr(processor, "image_token_id", None), image and tokenizer.convert_tokens_to_ids(str(image))]
    return sorted({*map(int, tokenizer.all_special_ids), *written, *(int(each) for each in own if each is not None)})


def ids_of(tokenizer: Any, text: str, before: str = "") -> list[int]:
    return [int(token) for token in tokenizer(before + text, add_special_tokens=False)["input_ids"]]


def spoken(
    tokenizer: Any,
    encode: Callable[[str], Sequence[int]],
    right: Sequence[Sequence[str]],
    vocabulary: int,
    length: int | None,
    ways: int,
    judge: str | Judge,
) -> tuple[FreeAnswers, Tensor]:
    """The problem of acceptable answers, one for each sample, and their tokens as the extra input
    `ANSWERS`; `length` is None for one token more than the longest answer.

    Raises:
        BadInput: as `FreeAnswers`.
    """
    tokens = tokens_of(right, encode, int(tokenizer.eos_token_id), ways)
    most = tokens.shape[2] + LENGTH if length is None else length
    return FreeAnswers(tuple(map(tuple, right)), Decoded(tokenizer), vocabulary, most, ways, judge), tokens


def _check_words(embedding: object, template: object, before: object, replacements: object) -> None:
    if not isinstance(embedding, Tensor) or embedding.ndim != 2:
        shape = getattr(embedding, "shape", type(embedding).__name__)
        raise BadInput(
            f"the embedding is {shape}, not a tensor of rows: give network.get_input_embeddings().weight,"
            " (vocabulary, width)"
        )
    if template is not None:
        check_text("the template", template)
    check_text("before", before)
    check_whole("replacements", replacements)


def _left(row: Sequence[int], longest: int, fill: int) -> Tensor:
    return torch.tensor([fill] * (longest - len(row)) + list(row))


def _around(processor: Any, template: str | None) -> tuple[str, str]:
    """What a prompt has before and after a question."""
    if template is None and getattr(processor, "chat_template", None):
        content = [{"type": "image"}, {"type": "text", "text": MARK}]
        messages = [{"role": "user", "content": content}]
        template = str(processor.apply_chat_template(messages, add_generation_prompt=True)).replace(MARK, "{question}")
    template = "{question}" if template is None else template
    if template.count("{question}") != 1:
        raise BadInput(f"the template {shown(template)} has no single {{question}}: write it where the question stands")
    first, last = template.split("{question}")
    return first, last


def _prompt(processor: Any, around: tuple[str, str], question: str, x: Tensor) -> tuple[list[int], list[bool]]:
    """The tokens of a prompt, and which of them are the question's.

    Raises:
        BadInput: the question is empty, or its tokens are not in the prompt.
    """
    first, last = around
    if not question.strip():
        raise BadInput("a question is empty: leave it out")
    whole = first + question + last
    picture = x.movedim(0, -1).round().clamp(0, 255).byte().numpy()
    begun = processor.tokenizer.bos_token  # a template may write it; the tokenizer may not write it again
    once = {"add_special_tokens": False} if begun and whole.startswith(begun) else {}
    try:
        ids = [int(token) for token in processor(images=[picture], text=[whole], **once)["input_ids"][0]]
    except (ValueError, IndexError) as error:
        raise BadInput(
            f"{type(processor).__name__} does not write the prompt {shown(whole)}: {str(error).splitlines()[0]}; write"
            " one image in the template, and none in a question"
        ) from None
    plain = processor.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    rows = [
        row
        for row, (start, end) in enumerate(plain["offset_mapping"])
        if start < len(first) + len(question) and end > len(first) and end > start
    ]
    inside = [int(plain["input_ids"][row]) for row in rows]
    places = _places(ids, inside)
    behind = [at for at in _places([int(token) for token in plain["input_ids"]], inside) if at > rows[0]]
    if not inside or len(places) <= len(behind):
        raise BadInput(f"the tokens of the question {shown(question)} are not in its prompt: write it another way")
    at = places[-1 - len(behind)]  # the words may stand again in the template
    return ids, [at <= place < at + len(inside) for place in range(len(ids))]


def _places(tokens: Sequence[int], inside: Sequence[int]) -> list[int]:
    """Where some tokens stand among others."""
    size = len(inside)
    return [at for at in range(len(tokens) - size + 1) if list(tokens[at : at + size]) == list(inside)] if size else []
