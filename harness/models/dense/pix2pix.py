"""pix2pix: an image from an image by a U-Net (Isola et al., CVPR 2017).

Convolutions of 4×4 and stride 2 halve the size, transposed ones double it, and every size has a
skip connection. Norms are of one sample each, with statistics of its own in training and in
evaluation. Dropout is off in evaluation: published code draws noise there, and a model that answers
twice must answer alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.models.dense.convnet import check_image
from harness.models.encoders import centred
from harness.models.fused import without_missing
from harness.models.option_types import OneOrMore, TwoOrMore
from harness.tasks import Images, Task
from harness.tasks.axes import channels

KERNEL, STRIDE, PADDING = 4, 2, 1  # halves a size, transposed it doubles it
WIDEST = 8  # times the width of the first convolution
SLOPE = 0.2  # of the encoder's ReLU below 0
SPREAD = 0.02  # standard deviation of the first weights
DROPPED, UNDROPPED = 0.5, 5  # dropout behind the innermost convolutions, of all but so many sizes


def widths(width: int, levels: int) -> list[int]:
    """Channels at a half of the size, a quarter, …: 64, 128, 256, 512, 512, … as published."""
    return [min(width << level, WIDEST * width) for level in range(levels)]


def normed(wide: int) -> nn.InstanceNorm2d:
    """A norm of each sample and channel alone, with learnt scale γ and shift β."""
    return nn.InstanceNorm2d(wide, affine=True)


class Encoder(nn.Module):
    """Maps of an image at ever smaller sizes.

    Args:
        wide: channels of the input and of each map.
        first: how often the input was halved before.
        ends: whether the last map is the smallest one, which has no norm, as the first one.
        branches: with norms of their own; they share the convolutions.
    """

    def __init__(self, wide: Sequence[int], *, first: int = 0, ends: bool = True, branches: int = 1) -> None:
        super().__init__()
        self.first = first
        self.convolutions = nn.ModuleList(
            nn.Conv2d(narrow, wider, KERNEL, STRIDE, PADDING) for narrow, wider in pairwise(wide)
        )
        last = first + len(self.convolutions) - ends
        kinds = [normed if 0 < level < last else _unchanged for level in range(first, first + len(self.convolutions))]
        self.norms = nn.ModuleList(
            nn.ModuleList(kind(wider) for kind, wider in zip(kinds, wide[1:], strict=True)) for _ in range(branches)
        )

    def forward(self, x: Tensor, branch: int = 0) -> list[Tensor]:
        maps = [x]
        for level in range(len(self.convolutions)):
            maps.append(self.halved(maps[-1], level, branch))
        return maps[1:]

    def halved(self, x: Tensor, level: int, branch: int = 0) -> Tensor:
        """The map of a level from the one before it, which a leaky ReLU rectifies."""
        rectified = F.leaky_relu(x, SLOPE) if self.first + level else x
        made: Tensor = self.norms[branch][level](self.convolutions[level](rectified))  # type: ignore[index]
        return made


def _unchanged(_: int) -> nn.Identity:
    return nn.Identity()


class Decoder(nn.Module):
    """An image (B, C, H, W) in [-1, 1] from the maps of an encoder.

    Args:
        wide: channels of the maps.
        answered: C.
        branches: with norms of their own; they share the convolutions.
    """

    def __init__(self, wide: Sequence[int], answered: int, branches: int = 1) -> None:
        super().__init__()
        made = [*wide[-2::-1], answered]
        taken = [wide[-1], *(2 * each for each in made[:-1])]
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(narrow, wider, KERNEL, STRIDE, PADDING)
            for narrow, wider in zip(taken, made, strict=True)
        )
        self.norms = nn.ModuleList(nn.ModuleList(normed(each) for each in made[:-1]) for _ in range(branches))
        dropped = len(wide) - UNDROPPED
        self.dropouts = nn.ModuleList(nn.Dropout(DROPPED if level < dropped else 0.0) for level in range(len(made) - 1))

    def forward(self, maps: Sequence[Tensor], branch: int = 0) -> Tensor:
        x, norms = maps[-1], self.norms[branch]
        for level, beside in enumerate(maps[-2::-1]):
            larger = norms[level](self.convolutions[level](F.relu(x)))  # type: ignore[index]
            x = torch.cat([self.dropouts[level](larger), beside], 1)
        image: Tensor = self.convolutions[-1](F.relu(x)).tanh()
        return image


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a recipe learns from a batch.

    Attributes:
        conditions: what a discriminator sees beside each branch, (B, C, H, W).
        branches: images in [-1, 1]: each is to be right and to look real.
        ensemble: an image that is to be right only.
        penalty: a scalar that the loss has besides.
    """

    conditions: list[Tensor]
    branches: list[Tensor]
    ensemble: Tensor | None = None
    penalty: Tensor | float = 0.0


class Translator(nn.Module):
    """What all translations between images share: centred inputs, and the range of the answer.

    Attributes:
        encoded: the modalities that are read.
    """

    def __init__(self, task: Task, names: Sequence[str], levels: int) -> None:
        super().__init__()
        low, high = translated(task, names, levels).span
        self.centre, self.reach = (low + high) / 2, (high - low) / 2
        self.encoded = tuple(names)
        self.columns = [task.names.index(name) for name in names]
        self.centred = nn.ModuleList(centred(task.modality(name)) for name in names)

    def here(self, images: Sequence[Tensor], present: Tensor | None) -> Tensor:
        """Which images are present, bool (B, M)."""
        if present is None:
            return torch.ones(len(images[0]), len(images), dtype=torch.bool, device=images[0].device)
        return present[:, self.columns]

    def read(self, inputs: Inputs, present: Tensor | None = None) -> list[Tensor]:
        """The images (B, C, H, W) in [-1, 1], 0 where one is missing."""
        images = [centre(inputs[name]) for name, centre in zip(self.encoded, self.centred, strict=True)]
        return without_missing(images, self.here(images, present))

    def scaled(self, image: Tensor) -> Tensor:
        """From [-1, 1] to the range of the answer's values."""
        return self.centre + self.reach * image

    def unscaled(self, image: Tensor) -> Tensor:
        """From the range of the answer's values to [-1, 1]."""
        return (image - self.centre) / self.reach

    def lesson(self, inputs: Inputs) -> Lesson:
        """One branch, the answer, seen beside all images."""
        return Lesson([torch.cat(self.read(inputs), 1)], [self.unscaled(self(inputs))])

    def measured(self) -> dict[str, float]:
        """What a checkpoint's card reports of the model itself."""
        return {}


class UNet(Translator):
    """The generator of pix2pix; several images are stacked as channels."""

    def __init__(self, task: Task, names: Sequence[str], width: int, levels: int) -> None:
        super().__init__(task, names, levels)
        stacked = sum(channels(task.modality(name).shape) for name in names)
        wide = widths(width, levels)
        self.encoder, self.decoder = Encoder([stacked, *wide]), Decoder(wide, task.problem.shape[0])
        started(self)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        return self.scaled(self.decoder(self.encoder(torch.cat(self.read(inputs, present), 1))))


def pix2pix(task: Task, width: OneOrMore = 16, levels: TwoOrMore = 4) -> UNet:
    """pix2pix: a U-Net from all images of the input, stacked as channels, to one image.

    As published: width=64&levels=8.

    Args:
        width: channels of the first convolution.
        levels: how often the size is halved.

    Raises:
        BadInput: the task asks for no image, or an image cannot be halved so often.
    """
    return UNet(task, task.names, width, levels)


def pix2pix_of(task: Task, modality: str, width: OneOrMore = 16, levels: TwoOrMore = 4) -> UNet:
    """pix2pix from one image alone.

    Raises:
        BadInput: as `pix2pix`.
    """
    return UNet(task, [task.modality(modality).name], width, levels)


def started(model: nn.Module) -> None:
    """Weights of convolutions from N(0, 0.02), as published; biases 0."""
    for part in model.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, SPREAD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def translated(task: Task, names: Sequence[str], levels: int) -> Images:
    """The problem of a task that asks for an image of the size of those that are read.

    Raises:
        BadInput: it asks for something else, or an image cannot be halved so often.
    """
    problem = task.problem
    if not isinstance(problem, Images):
        raise BadInput(
            f"task {task.name!r} asks for answers of shape {tuple(problem.shape)}, and this model answers images"
            " (harness.tasks.Images): choose another model"
        )
    size = problem.size[1:]
    if any(side % (1 << levels) for side in size):
        raise BadInput(
            f"task {task.name!r} asks for images of {size[0]}×{size[1]} pixels, which cannot be halved {levels} times:"
            " write fewer levels behind the model's name, as ?levels=3"
        )
    for name in names:
        check_image(task, task.modality(name), size)
    return problem
