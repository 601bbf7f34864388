"""Generative vision-language networks of Hugging Face: an image and a question, answered in words.

LLaVA (Liu et al., NeurIPS 2023), PaliGemma (Beyer et al., 2024), BLIP-2 (Li et al., ICML 2023) with
a decoder, and Idefics3 (Laurençon et al., 2024) are read so: features of the image take the places
of the prompt's image tokens, and one language model reads all of it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.norms import per_sample
from attacks.region import Inputs
from harness.models.outside.decoding import Ends, refuse_processors
from harness.models.outside.image_processor import TOLERANCE, Processed
from harness.models.outside.key_values import KINDS_OF_TOKENS, Kept, keeps, positions, read
from harness.models.outside.readers import chosen_embeddings
from harness.models.words.choosing import Choosing, choosing
from harness.models.words.speaking import Prompt, Speaking, check_free_answers, greedy
from harness.tasks import Modality, Task
from harness.tasks.choices import CHOICES
from harness.tasks.prompts import PROMPT, tokenizer_of
from harness.tasks.tokens import CANDIDATES, beside

NEXT = "next"  # of a prompt: the logits of the token behind it
AHEAD = "ahead"  # of a prompt: which of its places hold the template's tokens before the image


class Generative(nn.Module):
    """A network of Hugging Face with the three methods of a speaker. It reads a prompt together
    with an answer.

    In place of a missing image the network sees the image that stands in for it; the words of a
    missing question are left out of the prompt.

    Args:
        network: takes `inputs_embeds`, and gives the features of images by `get_image_features`.
        task: of `harness.tasks.prompts`, with one image and one text.
        processor: of the network.

    Raises:
        BadInput: another task, a network or processor that does something else, or options of
            generation that change the logits.
    """

    def __init__(self, network: nn.Module, task: Task, processor: Any) -> None:
        super().__init__()
        self.network, self.task_name = network, task.name
        image, text = _modalities(task)
        self.image, self.text, self.stand_in = image.name, text.name, image.stand_in
        self.columns = [task.names.index(name) for name in (image.name, text.name)]
        _refuse_others(network)
        refuse_processors(_continuing(network))
        self.ends = Ends.of(_continuing(network), tokenizer_of(processor))
        self.pixels = Processed(image, processor)
        config: Any = network.config
        self.image_token = int(config.image_token_id)
        self.typed = KINDS_OF_TOKENS in inspect.signature(network.forward).parameters
        self.eval()

    def embed_prompt(self, inputs: Inputs, present: Tensor | None) -> Prompt:
        """The embedded prompt (B, n, width), and which of its places are attended to (B, n)."""
        ids = inputs[beside(self.text, PROMPT)]
        pictured = ids == self.image_token
        choices, candidates, own = inputs[self.text], inputs[beside(self.text, CANDIDATES)], self._own(inputs)
        embedded = self._embedded(ids.masked_fill((ids < 0) | pictured, 0))
        embedded = torch.where(own[..., None], chosen_embeddings(self.network, choices, candidates), embedded)
        attended, images = (ids >= 0) & ~(own & (choices[..., 0] >= 0.5)), inputs[self.image]
        if present is not None:
            pictures, words = present[:, self.columns].unbind(1)
            images = torch.where(per_sample(pictures, images), images, self.stand_in(images))
            attended = attended & (words[:, None] | ~own)
        embedded = embedded.masked_scatter(pictured[..., None], self._seen(images, pictured, embedded))
        return _at_the_end({"embedded": embedded, "attended": attended, AHEAD: self._ahead(inputs)})

    def _own(self, inputs: Inputs) -> Tensor:
        """Which places (B, n) hold the user's words."""
        candidates = inputs[beside(self.text, CANDIDATES)]
        return candidates[..., 1] != candidates[..., 0]

    def _ahead(self, inputs: Inputs) -> Tensor:
        """Which places (B, n) hold the template's tokens before the image, if all prompts have the
        same, and none of them sees what comes behind it; else none.
        """
        ids = inputs[beside(self.text, PROMPT)]
        ahead = ((ids == self.image_token).cumsum(1) == 0) & (ids >= 0)
        first = ids[0][ahead[0]]
        alike = bool((ahead.sum(1) == len(first)).all()) and bool((ids[ahead].view(len(ids), -1) == first).all())
        fixed = alike and not self.typed and not bool((ahead & self._own(inputs)).any())
        return ahead if fixed else torch.zeros_like(ahead)

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        """The logits (B, n + 1, vocabulary) of an answer's tokens, and of one behind them."""
        embedded = torch.cat([prompt["embedded"], self._embedded(tokens).to(prompt["embedded"].dtype)], 1)
        attended = F.pad(prompt["attended"], (0, tokens.shape[1]), value=True)
        said: Any = _continuing(self.network)(
            inputs_embeds=embedded,
            attention_mask=attended.long(),
            position_ids=positions(self.network, attended),
            logits_to_keep=tokens.shape[1] + 1,
            use_cache=False,
            **self._types(attended, tokens.shape[1]),
        )
        return self.ends.joined(said.logits)

    def generate(self, prompt: Prompt, length: int) -> Tensor:
        """The tokens of greedy decoding, (B, length)."""
        return greedy(self, prompt, length)

    def _types(self, attended: Tensor, answered: int) -> dict[str, Tensor]:
        """Marks the answer, whose tokens alone do not see what comes behind them."""
        if not self.typed:
            return {}
        places = torch.arange(attended.shape[1], device=attended.device)
        return {KINDS_OF_TOKENS: (places >= len(places) - answered).long().expand(len(attended), -1)}

    def _embedded(self, ids: Tensor) -> Tensor:
        network: Any = self.network
        found: Tensor = network.get_input_embeddings()(ids)
        return found

    def _seen(self, images: Tensor, pictured: Tensor, like: Tensor) -> Tensor:
        """The features of images in the order of the prompts' image tokens, (tokens, width)."""
        network: Any = self.network
        answer = network.get_image_features(self.pixels.pixels(images).to(like.dtype))
        found = getattr(answer, "pooler_output", answer)
        features: Tensor = torch.cat(list(found)) if isinstance(found, list | tuple) else found.flatten(0, 1)
        if len(features) != int(pictured.sum()):
            raise BadInput(
                f"{type(self.network).__name__} has {len(features)} features for {int(pictured.sum())} image tokens"
                f" of task {self.task_name!r}: make the task with the network's own processor"
            )
        return features.to(like.dtype)


class Keeping(Generative):
    """The same of a network that keeps what it has read: it reads a prompt once for all answers,
    and what stands before the image once for all prompts of a batch, if that does not see the
    image.
    """

    def embed_prompt(self, inputs: Inputs, present: Tensor | None) -> Prompt:
        """The keys and values of the prompt, which of its places are attended to (B, n), and the
        logits of the token behind it (B, vocabulary).
        """
        prompt, network = super().embed_prompt(inputs, present), _continuing(self.network)
        ahead = prompt[AHEAD]
        rows, length = len(ahead), int(ahead[0].sum())
        embedded, attended = (prompt[name] for name in ("embedded", "attended"))
        before = self._before(embedded[0][ahead[0]]) if length else {}
        attended = F.pad(attended[~ahead].reshape(rows, -1), (length, 0), value=True)
        rest = embedded[~ahead].reshape(rows, -1, embedded.shape[2])
        behind, kept = read(
            network, rest, attended, {name: x.expand(rows, -1, -1, -1) for name, x in before.items()}, 1
        )
        return {**kept, "attended": attended, NEXT: self.ends.joined(behind[:, 0])}

    def logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        """The logits (B, n + 1, vocabulary) of an answer's tokens, and of one behind them."""
        first = prompt[NEXT][:, None]
        return torch.cat([first, self._behind(prompt, tokens)[0]], 1) if tokens.shape[1] else first

    @torch.no_grad()
    def generate(self, prompt: Prompt, length: int) -> Tensor:
        """The tokens of greedy decoding, (B, length)."""
        said = [prompt[NEXT].argmax(1)]
        while len(said) < length:
            logits, prompt = self._behind(prompt, said[-1][:, None])
            said.append(logits[:, 0].argmax(1))
        return torch.stack(said, 1)

    def _behind(self, prompt: Prompt, tokens: Tensor) -> tuple[Tensor, Prompt]:
        """The logits of tokens (B, n) behind a prompt, and the longer prompt."""
        attended = F.pad(prompt["attended"], (0, tokens.shape[1]), value=True)
        kept = {name: x for name, x in prompt.items() if name not in ("attended", NEXT)}
        logits, longer = read(_continuing(self.network), self._embedded(tokens), attended, kept, tokens.shape[1])
        return self.ends.joined(logits), {**longer, "attended": attended}

    def _before(self, embedded: Tensor) -> Kept:
        """The keys and values of the tokens before the image, embedded (m, width)."""
        attended = torch.ones(1, len(embedded), dtype=torch.bool, device=embedded.device)
        return read(_continuing(self.network), embedded[None], attended, {}, 1)[1]


def generative(network: nn.Module, task: Task, processor: Any, checkpointing: bool = False) -> Speaking | Choosing:
    """A generative vision-language network as a model of a task with free answers, or with choices.

    Decoding is greedy: sampling and beams are switched off. The pixels are computed from raw ones
    inside the model, and compared with the processor's own here.

    Args:
        checkpointing: its layers are computed again for gradients; they would keep keys and values
            twice.

    Raises:
        BadInput: as `Generative`; or the pixels are not the processor's, or the task has none.
    """
    if CHOICES not in task.extra_inputs:
        check_free_answers(task)
    once = not checkpointing and hasattr(network, "config") and keeps(_continuing(network))
    speaker = (Keeping if once else Generative)(network, task, processor)
    end = int(tokenizer_of(processor).eos_token_id)
    _refuse_other_pixels(speaker, task, processor)
    return choosing(speaker, task) if CHOICES in task.extra_inputs else Speaking(speaker, task, end).eval()


def _modalities(task: Task) -> tuple[Modality, Modality]:
    images = [each for each in task.modalities if each.kind == "image"]
    texts = [each for each in task.modalities if beside(each.name, PROMPT) in task.extra_inputs]
    if len(images) != 1 or len(texts) != 1 or len(task.modalities) != 2:
        raise BadInput(
            f"task {task.name!r} is not one image and one question of harness.tasks.prompts.prompt_task: make it with"
            " the network's processor"
        )
    return images[0], texts[0]


def _continuing(network: Any) -> Any:
    """What continues an embedded prompt: the network, or its language model if the network itself
    gives logits only for all of a prompt, as BLIP-2.
    """
    taken = inspect.signature(network.forward).parameters
    return network if "logits_to_keep" in taken else getattr(network, "language_model", network)


def _at_the_end(prompt: Prompt) -> Prompt:
    """A prompt whose places that are attended to stand behind the others, so that an answer follows
    on one of them.
    """
    order = prompt["attended"].long().argsort(dim=1, stable=True)
    return {name: x.gather(1, order[..., None].expand_as(x) if x.ndim == 3 else order) for name, x in prompt.items()}


def _refuse_others(network: Any) -> None:
    for need in ("get_image_features", "generation_config", "get_input_embeddings"):
        if not hasattr(network, need):
            raise BadInput(
                f"{type(network).__name__} has no {need}: give a network as LlavaForConditionalGeneration or"
                " PaliGemmaForConditionalGeneration, or write one with the methods of Speaker"
            )
    for place in ("image_grid_thw", "image_sizes"):
        if place in inspect.signature(network.get_image_features).parameters:
            raise BadInput(
                f"{type(network).__name__} reads an image with its {place}, which is not supported here: take LLaVA,"
                " PaliGemma, BLIP-2, Idefics3 or SmolVLM, or write one with the methods of Speaker"
            )
    if getattr(_continuing(network).config, "is_encoder_decoder", False):
        raise BadInput(
            f"the language model of {type(network).__name__} has an encoder of its own, which is not read here: take"
            " one with a decoder alone, as blip2-opt-2.7b, or write one with the methods of Speaker"
        )


def _refuse_other_pixels(speaker: Generative, task: Task, processor: Any) -> None:
    """Check the pixels of the first sample against the processor's own."""
    own = getattr(processor, "image_processor", None) or processor
    raw = task.splits["test"].take([0]).inputs[speaker.image].float()
    eight = (raw[0] * (255.0 / speaker.pixels.top)).round().byte().movedim(0, -1).numpy()
    wanted = torch.as_tensor(own(images=[eight], return_tensors="pt")["pixel_values"])
    with torch.no_grad():
        found = speaker.pixels.pixels(
            torch.from_numpy(eight).movedim(-1, 0)[None].float() * (speaker.pixels.top / 255.0)
        )
    if found.shape != wanted.shape or float((found - wanted).abs().mean()) > TOLERANCE:
        what = (
            f"have shape {tuple(wanted.shape)}, not {tuple(found.shape)}"
            if found.shape != wanted.shape
            else f"differ by {float((found - wanted).abs().mean()):.3g} on average"
        )
        raise BadInput(
            f"the pixels of {type(own).__name__} {what}: it does more than to resize, crop and normalise; switch that"
            " off, or write a network with the methods of Speaker"
        )
