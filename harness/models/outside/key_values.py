"""The keys and values that a decoder keeps of what it has read, with gradients.

They are tensors (B, heads, positions, width) by name, ``keys 0``, ``values 0``, … for each layer.
So a prompt is read once for all its answers, and what stands before an image once for all prompts.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

ARGUMENTS = ("cache", "past_key_values")  # of a network, in newer and older versions of transformers
KINDS = ("keys", "values")

Kept = Mapping[str, Tensor]


def keeps(network: nn.Module) -> bool:
    """Whether a decoder takes keys and values, and each token sees all those before it and no
    other. Layers that are computed again for gradients would keep theirs twice.
    """
    config: Any = network.config
    taken = inspect.signature(network.forward).parameters
    again = any("forward" in vars(module) for module in network.modules())
    slides = getattr(config.get_text_config(), "sliding_window", None)
    return not (again or slides or "token_type_ids" in taken) and any(name in taken for name in ARGUMENTS)


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
    answer = network(
        inputs_embeds=embedded,
        attention_mask=attended.long(),
        position_ids=(attended.cumsum(1) - 1).clamp_min(0)[:, -embedded.shape[1] :],
        logits_to_keep=answers,
        use_cache=True,
        **{argument: _cache(before)},
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
