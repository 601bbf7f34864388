"""Large networks of Hugging Face in less memory: half precision, and layers whose inner values are
computed again in the backward pass (Chen et al., 2016, https://arxiv.org/abs/1604.06174).
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from attacks.errors import BadInput, unknown

LAYER = "GradientCheckpointingLayer"  # the class of transformers for layers that may be computed again
OWN = "own"  # the precision that a network came with
PRECISIONS = {OWN: None, "bf16": torch.bfloat16}


def in_less_memory(network: nn.Module, *, checkpointing: bool = False, precision: str = OWN) -> nn.Module:
    """The network, or a copy that shares its weights, or holds them in half precision. The network
    itself stays as it is.

    Args:
        checkpointing: layers keep only their inputs for the backward pass. The network's own
            `gradient_checkpointing_enable` works in training mode only.
        precision: "bf16", or "own" for that of the network. Buffers that are not saved with it, as
            the frequencies of positions, keep theirs.

    Raises:
        BadInput: no such precision, or the network has no layers of transformers.
    """
    if not isinstance(checkpointing, bool):
        raise BadInput(f"checkpointing is {checkpointing!r}: give True or False")
    if precision not in PRECISIONS:
        raise unknown("precision", str(precision), PRECISIONS)
    if not checkpointing and precision == OWN:
        return network
    copied = _sharing(network, PRECISIONS[precision])
    return _checkpointed(copied) if checkpointing else copied


def _sharing(network: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """A copy with the same tensors; those that are saved with the network in another precision."""
    kept: dict[int, Any] = {id(x): x for x in (*network.parameters(), *network.buffers())}
    for x in network.state_dict(keep_vars=True).values() if dtype else ():
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            half = x.detach().to(dtype)
            kept[id(x)] = nn.Parameter(half, x.requires_grad) if isinstance(x, nn.Parameter) else half
    return copy.deepcopy(network, kept)


def _checkpointed(network: nn.Module) -> nn.Module:
    layers: list[Any] = [
        module for module in network.modules() if any(each.__name__ == LAYER for each in type(module).__mro__)
    ]
    if not layers:
        raise BadInput(
            f"{type(network).__name__} has no layers that can be computed again: give a network of transformers"
        )
    for layer in layers:
        layer.forward = partial(_again, layer.forward)
    return network


def _again(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
