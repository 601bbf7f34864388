"""Attention bottlenecks for multimodal fusion, MBT (Nagrani et al., NeurIPS 2021), and fusion by
full attention beside it.

Every modality has a transformer of its own. Its first layers see one modality; in the others,
modalities meet: through a few bottleneck tokens, or each token seeing all tokens of all modalities.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.models.attention import SelfAttention
from harness.models.encoders import tokenizer
from harness.models.fused import Fused, without_missing
from harness.models.fusion.mean import mean_of_present
from harness.models.option_types import OneOrMore, ZeroOrMore
from harness.tasks import Modality, Task

WIDTH, HEADS, DEPTH = 32, 4, 4
MIDDLE = DEPTH // 2  # the fusion layer L_f of the plain names
BOTTLENECK = 4  # tokens
SPREAD = 0.02  # standard deviation of learned tokens as they begin


class Tokens(nn.Module):
    """A modality in raw units to its class token and its tokens, (B, 1 + n, width), with learned
    positions.
    """

    def __init__(self, modality: Modality, width: int) -> None:
        super().__init__()
        self.tokenizer = tokenizer(modality, width)
        with torch.no_grad():
            count = self.tokenizer(torch.zeros(1, *modality.shape)).shape[1]
        self.summary = nn.Parameter(SPREAD * torch.randn(1, 1, width))
        self.positions = nn.Parameter(SPREAD * torch.randn(1, 1 + count, width))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokenizer(x)
        return torch.cat([self.summary.expand(len(tokens), -1, -1), tokens], dim=1) + self.positions


class ReadOut(nn.Module):
    """One linear classifier, shared, on each modality's class token; the mean of the logits of
    those present.
    """

    def __init__(self, width: int, modalities: int, outputs: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(modalities))
        self.classifier = nn.Linear(width, outputs)

    def forward(self, tokens: list[Tensor], here: Tensor) -> Tensor:
        logits = [self.classifier(norm(x[:, 0])) for norm, x in zip(self.norms, tokens, strict=True)]
        return mean_of_present(logits, here)


class BottleneckLayer(nn.Module):
    """One layer of every modality on [its tokens; the bottleneck], then the mean of the bottlenecks
    that the present ones return.
    """

    def __init__(self, width: int, modalities: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SelfAttention(width, HEADS) for _ in range(modalities))

    def forward(self, tokens: list[Tensor], bottleneck: Tensor, here: Tensor) -> tuple[list[Tensor], Tensor]:
        both = [block(torch.cat([x, bottleneck], dim=1)) for block, x in zip(self.blocks, tokens, strict=True)]
        kept = [y[:, : x.shape[1]] for x, y in zip(tokens, both, strict=True)]
        returned = [y[:, x.shape[1] :] for x, y in zip(tokens, both, strict=True)]
        return kept, mean_of_present(returned, here)


class FullLayer(nn.Module):
    """One layer of every modality on [its tokens; those of the others]; a missing one sees itself,
    but nobody sees it.
    """

    def __init__(self, width: int, modalities: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(SelfAttention(width, HEADS) for _ in range(modalities))

    def forward(self, tokens: list[Tensor], here: Tensor) -> list[Tensor]:
        return [block(*_ordered(tokens, here, own), tokens[own].shape[1]) for own, block in enumerate(self.blocks)]


class Bottleneck(nn.Module):
    """Layers in which each modality sees itself and the bottleneck, and then the read-out.

    The bottleneck of the next layer is the mean of what the present modalities return: what one
    modality says in a layer, another hears in the next. One layer exchanges nothing.
    """

    def __init__(self, width: int, layers: int, modalities: int, outputs: int, bottleneck: int = BOTTLENECK) -> None:
        super().__init__()
        self.bottleneck = nn.Parameter(SPREAD * torch.randn(1, bottleneck, width))
        self.layers = nn.ModuleList(BottleneckLayer(width, modalities) for _ in range(layers))
        self.read_out = ReadOut(width, modalities, outputs)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        tokens, bottleneck = features, self.bottleneck.expand(len(here), -1, -1)
        for layer in self.layers:
            tokens, bottleneck = layer(tokens, bottleneck, here)
        logits: Tensor = self.read_out(tokens, here)
        return logits


class FullAttention(nn.Module):
    """Layers in which each token of each modality sees all tokens of the present ones, and then the
    read-out.
    """

    def __init__(self, width: int, layers: int, modalities: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FullLayer(width, modalities) for _ in range(layers))
        self.read_out = ReadOut(width, modalities, outputs)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        tokens = without_missing(features, here)
        for layer in self.layers:
            tokens = layer(tokens, here)
        logits: Tensor = self.read_out(tokens, here)
        return logits


def _ordered(tokens: list[Tensor], here: Tensor, own: int) -> tuple[Tensor, Tensor]:
    """All tokens (B, N, width), the own ones first, and which of them that modality sees, bool (B,
    1, N).
    """
    order = [own, *(other for other in range(len(tokens)) if other != own)]
    counts = torch.tensor([tokens[each].shape[1] for each in order], device=here.device)
    visible = here[:, order] | (torch.arange(len(order), device=here.device) == 0)
    return torch.cat([tokens[each] for each in order], dim=1), visible.repeat_interleave(counts, dim=1)[:, None]


def unimodal(task: Task, layers: int) -> dict[str, nn.Module]:
    """Per modality, its tokens and so many layers of its own transformer."""
    return {
        each.name: nn.Sequential(Tokens(each, WIDTH), *(SelfAttention(WIDTH, HEADS) for _ in range(layers)))
        for each in task.modalities
    }


def mbt(task: Task, fusion_layer: ZeroOrMore = MIDDLE, bottleneck: OneOrMore = BOTTLENECK) -> Fused:
    """Attention bottleneck (MBT), mid fusion: modalities meet in a few tokens, from the middle
    layer on.
    """
    shared = Bottleneck(WIDTH, DEPTH - fusion_layer, len(task.modalities), task.width, bottleneck)
    return Fused(task, unimodal(task, fusion_layer), shared)


def mbt_early(task: Task) -> Fused:
    """Attention bottleneck (MBT), early fusion: modalities meet in a few tokens from the first
    layer on.
    """
    return mbt(task, fusion_layer=0)


def mbt_late(task: Task) -> Fused:
    """MBT's late fusion: a transformer per modality, no exchange, the mean of their logits."""
    return Fused(task, unimodal(task, DEPTH), ReadOut(WIDTH, len(task.modalities), task.width))


def attention(task: Task, fusion_layer: ZeroOrMore = MIDDLE) -> Fused:
    """MBT without the bottleneck, mid fusion: every token sees all modalities, from the middle
    layer on.
    """
    shared = FullAttention(WIDTH, DEPTH - fusion_layer, len(task.modalities), task.width)
    return Fused(task, unimodal(task, fusion_layer), shared)


def attention_early(task: Task) -> Fused:
    """MBT without the bottleneck, early fusion: every token sees all modalities from the first
    layer on.
    """
    return attention(task, fusion_layer=0)
