"""Perceiver (Jaegle et al., ICML 2021): a few latents that look again and again at one long list of
inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from einops.layers.torch import Rearrange
from torch import Tensor, nn

from harness.models.attention import CrossAttention, SelfAttention
from harness.models.encoders import MELS, channels_first
from harness.models.fused import Fused, without_missing
from harness.tasks import Modality, Task

LATENTS, WIDTH, HEADS = 32, 44, 4
REPEATS, BLOCKS = 2, 2  # cross-attentions, and self-attention blocks after each
BANDS = 6  # frequencies per axis of a position
PATCH, FRAMES = 4, 8  # pixels along an axis of an image (more where that leaves too many patches), and log-mel frames
MOST_PATCHES = 16  # along an axis of an image
EMBEDDING = 8  # channels of the modality embedding, at least
SPREAD = 0.02
UNSEEN = 0.3  # chance of a modality not to be seen in a training step; without it, the easiest is all that is learned


class Positioned(nn.Module):
    """Values (B, channels, ...) to tokens (B, n, width): the values, the Fourier features of their
    position, an embedding.

    The embedding is learned, one per modality, and fills the tokens of all modalities up to one
    width.
    """

    def __init__(self, channels: int, positions: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("positions", positions, persistent=False)
        self.embedding = nn.Parameter(SPREAD * torch.randn(width - channels - positions.shape[1]))

    def forward(self, values: Tensor) -> Tensor:
        tokens = values.flatten(2).transpose(1, 2)
        where = self.positions.expand(len(tokens), -1, -1)  # type: ignore[operator]
        return torch.cat([tokens, where, self.embedding.expand(*tokens.shape[:2], -1)], dim=2)


class Perceiver(nn.Module):
    """Latents (N, D) that attend to the tokens of all present modalities, then to themselves, in
    turn; their mean is read.

    All cross-attentions but the first share their weights, and so do all rounds of self-attention.
    A learned null token is always there, so that something is seen when everything is missing. In
    training, modalities go unseen at random.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, LATENTS, WIDTH), std=SPREAD))
        self.null = nn.Parameter(SPREAD * torch.randn(1, 1, width))
        self.first, self.again = CrossAttention(WIDTH, width), CrossAttention(WIDTH, width)
        self.blocks = nn.ModuleList(SelfAttention(WIDTH, HEADS) for _ in range(BLOCKS))
        self.norm, self.classifier = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, outputs)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        always = here.new_ones(len(here), 1)
        if self.training:
            here = here & (torch.rand(here.shape, device=here.device) >= UNSEEN)
        tokens = torch.cat([*without_missing(features, here), self.null.expand(len(here), -1, -1)], dim=1)
        counts = torch.tensor([x.shape[1] for x in features] + [1], device=here.device)
        seen = torch.cat([here, always], dim=1).repeat_interleave(counts, dim=1)[:, None]
        latents = self.latents.expand(len(here), -1, -1)
        for cross in (self.first, *[self.again] * (REPEATS - 1)):
            latents = cross(latents, tokens, seen)
            for block in self.blocks:
                latents = block(latents)
        answer: Tensor = self.classifier(self.norm(latents).mean(1))
        return answer


def fourier(sizes: tuple[int, ...], bands: int = BANDS) -> Tensor:
    """The features of every position of a grid, (n, axes · (2 · bands + 1)).

    Per axis they are the position in [-1, 1], and sin and cos of π f times it. The
    frequencies f are evenly spaced from 1 to half the number of positions along the axis.
    """
    axes = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in sizes), indexing="ij")
    columns = []
    for position, size in zip((axis.reshape(-1, 1) for axis in axes), sizes, strict=True):
        angles = math.pi * position * torch.linspace(1, size / 2, bands)
        columns += [position, angles.sin(), angles.cos()]
    return torch.cat(columns, dim=1)


def _values(modality: Modality) -> nn.Module:
    """Raw units to values (B, channels, *positions): pixels or patches, log-mel frames, characters,
    one vector of features.
    """
    values = channels_first(modality)
    if modality.kind == "features":
        return nn.Sequential(values, nn.Unflatten(1, (-1, 1)))
    if modality.kind == "text":
        return values
    if modality.kind == "audio":  # its loudness would drown the positions
        return nn.Sequential(values, nn.GroupNorm(1, MELS), *_patches(values, modality, (FRAMES,)))
    sides = [max(PATCH, math.ceil(size / MOST_PATCHES)) for size in modality.shape[-2:]]
    sides = [1, *sides] if modality.kind == "video" else sides  # each frame has its own
    return nn.Sequential(values, *_patches(values, modality, tuple(sides)))


def _patches(values: nn.Module, modality: Modality, sides: tuple[int, ...]) -> Iterator[nn.Module]:
    """Positions (B, channels, ...) to patches with so many along each axis, the last ones filled up
    with zeros.
    """
    with torch.no_grad():
        sizes = values(torch.zeros(1, *modality.shape)).shape[2:]
    if len(sides) == 1:
        yield nn.ZeroPad1d((0, -sizes[0] % sides[0]))
        yield Rearrange("batch channel (frame x) -> batch (channel x) frame", x=sides[0])
    elif len(sides) == 3:
        yield nn.ConstantPad3d((0, -sizes[2] % sides[2], 0, -sizes[1] % sides[1], 0, 0), 0.0)
        yield Rearrange(
            "batch channel frame (row y) (column x) -> batch (channel y x) frame row column", y=sides[1], x=sides[2]
        )
    else:
        yield nn.ZeroPad2d((0, -sizes[1] % sides[1], 0, -sizes[0] % sides[0]))
        yield Rearrange("batch channel (row y) (column x) -> batch (channel y x) row column", y=sides[0], x=sides[1])


def perceiver(task: Task) -> Fused:
    """Perceiver: latents cross-attend to the patches, frames and characters of all modalities, with
    Fourier positions.

    A token is a patch of 4 × 4 pixels, 8 log-mel frames, a character, or all features of a modality
    at once.
    """
    parts = {modality.name: _values(modality) for modality in task.modalities}
    with torch.no_grad():
        shapes = {each.name: parts[each.name](torch.zeros(1, *each.shape)).shape[1:] for each in task.modalities}
    positions = {name: fourier(tuple(shape[1:])) for name, shape in shapes.items()}
    width = EMBEDDING + max(shape[0] + positions[name].shape[1] for name, shape in shapes.items())
    tokens = {
        name: nn.Sequential(part, Positioned(shapes[name][0], positions[name], width)) for name, part in parts.items()
    }
    return Fused(task, tokens, Perceiver(width, task.width))
