"""The keys and values that a decoder keeps of what it has read, with gradients.

They are tensors (B, heads, positions, width) by name, ``keys 0``, ``values 0``, … for each layer.
So a prompt is read once for all its answers, and what stands before an image once for all prompts.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

ARGUMENTS = ("cache", "past_key_values")  # of a network, in newer and older versions of transformers
KINDS = ("keys", "values")
KINDS_OF_TOKENS = "token_type_ids"  # an argument: tokens marked 0 see each other, those marked 1 only the ones before

Kept = Mapping[str, Tensor]


def keeps(network: nn.Module) -> bool:
    """Whether a decoder takes keys and values, and each token of an answer sees all those before
    it.
    """
    config: Any = network.config
    taken = inspect.signature(network.forward).parameters
    slides = getattr(config.get_text_config(), "sliding_window", None)
    return not slides and any(name in taken for name in ARGUMENTS)


def positions(network: Any, attended: Tensor) -> Tensor:
    """The positions (B, n) of tokens; PaliGemma counts from 1."""
    return (attended.cumsum(1) - 1).clamp_min(0) + int(network.config.model_type == "paligemma")


def read(network: nn.Module, embedded: Tensor, attended: Tensor, before: Kept, answers: int) -> tuple[Tensor, Kept]:
    """Read embeddings (B, n, width) behind what was read before.

    Args:
        attended: bool (B, m + n), also of the m positions before.
        answers: how many of the last positions get logits.

    Returns:
        the logits (B, answers, vocabulary), and the keys and values of all positions.
    """
    taken = inspect.signature(network.forward).parameters
    argument = next(name for name in ARGUMENTS if name in taken)
    begins = KINDS_OF_TOKENS in taken and not before
    alike = {KINDS_OF_TOKENS: torch.zeros_like(attended, dtype=torch.int64)} if begins else {}
    answer = network(
        inputs_embeds=embedded,
        attention_mask=attended.long(),
        position_ids=positions(network, attended)[:, -embedded.shape[1] :],
        logits_to_keep=answers,
        use_cache=True,
        **{argument: _cache(before)},
        **alike,
    )
    layers = enumerate(getattr(answer, argument).layers)
    return answer.logits, {f"{kind} {number}": getattr(layer, kind) for number, layer in layers for kind in KINDS}


def _cache(before: Kept) -> Any:
    from transformers import DynamicCache

    cache = DynamicCache()
    for number in range(len(before) // len(KINDS)):
        keys, values = (before[f"{kind} {number}"] for kind in KINDS)
        cache.update(keys, values, number)
    return cache
