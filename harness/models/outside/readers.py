"""From a modality in the task's units to the keyword arguments of a network: normalised pixels,
embedded tokens, a mask.

A reader is a module of (network, inputs, here): `here` (B,) marks in which samples its modality is
present; None means all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.tasks import Modality
from harness.tasks.tokens import ATTENTION, CANDIDATES, IDS, TYPES, beside

EIGHT_BITS = 255.0


class Pixels(nn.Module):
    """Pixels (B, C, H, W) from 0 to the modality's `high`, rescaled and normalised as the network
    was trained.

    The normalisation is part of the model, so that radii are in the task's own units. Nothing is
    resized: the task holds images of the size that the network takes, and a radius is in the pixels
    that it sees.

    Args:
        modality: an image (C, H, W) with the range 0 to 255, or 0 to 1.
        mean, std: per channel, or one for all.
        rescale: the factor for eight-bit pixels before; 1/255 is the field's custom.
        keyword: the network's name for its pixels.

    Raises:
        BadInput: the range starts elsewhere or is infinite, or mean and std do not fit the
            channels.
    """

    def __init__(
        self,
        modality: Modality,
        mean: Sequence[float],
        std: Sequence[float],
        rescale: float,
        keyword: str = "pixel_values",
    ) -> None:
        super().__init__()
        self.name, self.keyword = modality.name, keyword
        low, high = (torch.as_tensor(end, dtype=torch.float32) for end in (modality.low, modality.high))
        top = float(high.max())
        if bool((low != 0).any()) or bool((high != top).any()) or top not in (1.0, EIGHT_BITS):
            raise BadInput(
                f"modality {modality.name!r} spans {float(low.min()):g} to {top:g}: give raw pixels with "
                f"ranges={{{modality.name!r}: (0, 255)}} or (0, 1), the adapter normalises them"
            )
        channels = modality.shape[0] if len(modality.shape) == 3 else 0
        if not channels or {len(mean), len(std)} - {1, channels}:
            raise BadInput(
                f"modality {modality.name!r} has shape {modality.shape}, the network's pixels have {len(mean)}"
                " channels: give (C, H, W)"
            )
        # persistent: part of the weights' hash
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("rescale", torch.tensor(rescale * EIGHT_BITS / top, dtype=torch.float32))

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        return {self.keyword: (inputs[self.name] * self.rescale - self.mean) / self.std}  # type: ignore[operator]


def normalisation(processor: Any) -> tuple[list[float], list[float], float]:
    """Mean, standard deviation and rescale factor of an image processor, or of any object with its
    attributes.

    Raises:
        BadInput: it has no such values, or it adds an offset when it rescales.
    """
    if getattr(processor, "image_processor", None) is not None:
        processor = processor.image_processor  # of a processor of images and texts
    if getattr(processor, "rescale_offset", None):
        raise BadInput(
            f"{type(processor).__name__} has a rescale_offset, which is not read here: normalise in a model of your own"
        )
    rescale = getattr(processor, "rescale_factor", None) if getattr(processor, "do_rescale", True) else 1.0
    mean, std = (
        ([0.0], [1.0])
        if not getattr(processor, "do_normalize", True)
        else (_numbers(processor, f"image_{n}") for n in ("mean", "std"))
    )
    if not isinstance(rescale, float | int):
        raise BadInput(f"{type(processor).__name__} has no rescale_factor: pass the network's image processor")
    return mean, std, float(rescale)


def _numbers(processor: Any, name: str) -> list[float]:
    found = getattr(processor, name, None)
    if found is None:
        raise BadInput(f"{type(processor).__name__} has no {name}: pass the network's image processor")
    return [float(found)] if isinstance(found, float | int) else [float(each) for each in found]


def chosen_embeddings(network: nn.Module, choice: Tensor, candidates: Tensor) -> Tensor:
    """A network's embeddings Σ_k choice_k · E[candidate_k] (B, n, width) of a choice (B, n, K).

    Candidates are int64 of the same shape. Differentiable in the choice.
    """
    table: Any = network.get_input_embeddings()  # type: ignore[operator]
    weights = choice.flatten(0, 1).to(table.weight.dtype)
    found = F.embedding_bag(candidates.flatten(0, 1), table.weight, per_sample_weights=weights, mode="sum")
    scale = torch.as_tensor(getattr(table, "embed_scale", 1.0)).to(found)  # of Gemma's
    chosen: Tensor = found.unflatten(0, choice.shape[:2]) * scale
    return chosen


class Choices(nn.Module):
    """The choices of a `token_task` (B, n, K) as embeddings (B, n, width); a choice of nothing is
    masked.

    Nothing larger than the embeddings is held. A missing text is padding throughout.
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.name, self.ids = modality.name, beside(modality.name, CANDIDATES)

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        choice, candidates = inputs[self.name], inputs[self.ids]
        embedded = chosen_embeddings(network, choice, candidates)
        return _text(embedded, choice[..., 0] < 0.5, inputs.get(beside(self.name, TYPES)))

    def tokens(self, inputs: Inputs) -> Tensor:
        """The ids (B, n) of the chosen tokens."""
        best = inputs[self.name].argmax(-1, keepdim=True)
        return inputs[self.ids].gather(-1, best).squeeze(-1)


class Embeddings(nn.Module):
    """The embeddings of an `embedding_task` (B, n, width) with the attention mask that is given; a
    missing text is zeros.
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.name, self.ids = modality.name, beside(modality.name, IDS)

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        attended = inputs[beside(self.name, ATTENTION)]
        attended = attended if here is None else attended & here[:, None]
        return _text(inputs[self.name], attended, inputs.get(beside(self.name, TYPES)))

    def tokens(self, inputs: Inputs) -> Tensor:
        """The ids (B, n) of the untouched text."""
        return inputs[self.ids]


def _text(embedded: Tensor, attended: Tensor, types: Tensor | None) -> Inputs:
    """Arguments of a text; where nothing is attended its first position is, since a softmax over
    nothing is not defined.
    """
    first = torch.arange(attended.shape[1], device=attended.device) == 0
    mask = attended | (first & ~attended.any(1, keepdim=True))
    said = {"inputs_embeds": embedded, "attention_mask": mask.long()}
    return said if types is None else {**said, TYPES: torch.where(attended, types, 0)}
