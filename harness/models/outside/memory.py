"""Large networks of Hugging Face in less memory, for more time: layers whose inner values are
computed again in the backward pass (Chen et al., 2016, https://arxiv.org/abs/1604.06174).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from attacks.errors import BadInput

LAYER = "GradientCheckpointingLayer"  # the class of transformers for layers that may be computed again


def checkpointed(network: nn.Module) -> nn.Module:
    """The same network, whose layers keep only their inputs for the backward pass.

    >>> adapted(checkpointed(network), task, processor)

    The network's own `gradient_checkpointing_enable` has no effect here, because it works in
    training mode only, and a model is evaluated in evaluation mode.

    Raises:
        BadInput: it has no layers of transformers.
    """
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
