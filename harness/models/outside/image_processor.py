"""What an image processor of Hugging Face does to an image, as a differentiable module.

Padding to a square, resizing as Pillow does it, tiles, a crop, rescaling and normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.models.outside.readers import EIGHT_BITS, Pixels, normalisation
from harness.models.outside.resizing import Resize
from harness.tasks import Modality

TOLERANCE = 0.006  # the largest mean difference from the processor's own pixels, in units of the normalised ones
TILING = ("crop_to_patches", "do_pan_and_scan", "image_grid_pinpoints", "do_flip_channel_order")

Size = tuple[int, int]


class Processed(Pixels):
    """Raw pixels (B, 3, H, W) as an image processor makes them: padded to a square, resized,
    cut into tiles or cropped, rescaled and normalised where the processor does so.

    Radii are in raw units, at the size of the task's images.

    Args:
        modality: an image (3, H, W) from 0 to 255, or from 0 to 1.
        processor: a processor of images, or of images and texts.

    Raises:
        BadInput: it does something else, or the modality does not fit.
    """

    mean: Tensor
    std: Tensor
    rescale: Tensor

    def __init__(self, modality: Modality, processor: Any) -> None:
        processor = getattr(processor, "image_processor", None) or processor
        self.named = type(processor).__name__
        super().__init__(modality, *normalisation(processor))
        if modality.shape[0] != 3:
            raise BadInput(
                f"modality {modality.name!r} has {modality.shape[0]} channels: {self.named} takes 3 of colour"
            )
        self.tile = _of(getattr(processor, "max_image_size", None), "longest_edge")
        for option in TILING if self.tile else ("do_image_splitting", *TILING):
            if getattr(processor, option, None):
                raise BadInput(f"{self.named} has {option}, which is not repeated here: switch it off in the processor")
        self.top = float(torch.as_tensor(modality.high).max())
        height, width = modality.shape[1:]
        self.frame = self._frame(processor, (height, width))
        side = max(height, width)
        sizes = [(height, width) if self.frame is None else (side, side)]
        if getattr(processor, "do_resize", False):
            sizes.append(_new_size(processor, sizes[0]))
        if self.tile:
            sizes.append(_tiled_size(sizes[-1], self.tile, bool(getattr(processor, "do_image_splitting", False))))
        resample = int(getattr(processor, "resample", 2))
        self.resizes = nn.Sequential(*(Resize(a, b, resample) for a, b in pairwise(sizes) if a != b))
        several = self.tile and max(sizes[-1]) > self.tile
        self.whole = Resize(sizes[-1], (self.tile, self.tile), resample) if several else None
        crop = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
        self.crop = None if crop is None else (int(_of(crop, "height")), int(_of(crop, "width")))

    def _frame(self, processor: Any, size: Size) -> Tensor | None:
        """The colour of the margins of an image that is padded to a square, (3,), in eight bits."""
        if not getattr(processor, "do_pad", False) or size[0] == size[1] or self.tile:
            return None
        if not hasattr(processor, "pad_to_square"):
            raise BadInput(f"{self.named} has do_pad, which is not repeated here: switch it off in the processor")
        return torch.tensor([float(int(each * EIGHT_BITS)) for each in processor.image_mean])

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        return {self.keyword: self.pixels(inputs[self.name])}

    def pixels(self, x: Tensor) -> Tensor:
        """The network's pixels (B, 3, H', W') of raw ones (B, 3, H, W); of a processor that makes
        tiles (B, tiles, 3, H', W').
        """
        eight = x.double() * (EIGHT_BITS / self.top)
        if self.frame is not None:
            eight = self._squared(eight)
        eight = self.resizes(eight)
        if self.tile:
            eight = self._tiles(eight)
        if self.crop is not None:
            eight = _cropped(eight, self.crop)
        scaled = eight.to(x.dtype) * (self.rescale * self.top / EIGHT_BITS)
        found: Tensor = (scaled - self.mean) / self.std
        return found

    def _tiles(self, x: Tensor) -> Tensor:
        """The tiles row by row, and then the whole image."""
        if self.whole is None:
            return x[:, None]
        tiles = x.unfold(2, self.tile, self.tile).unfold(3, self.tile, self.tile)  # (B, 3, rows, columns, side, side)
        return torch.cat([tiles.flatten(2, 3).transpose(1, 2), self.whole(x)[:, None]], 1)

    def _squared(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        assert self.frame is not None
        colour = self.frame.to(x)[:, None, None]
        return F.pad(x - colour, (left, side - width - left, top, side - height - top)) + colour


def _cropped(x: Tensor, crop: tuple[int, int]) -> Tensor:
    """The middle of images, with zeros around smaller ones."""
    margins = [(new - old) for old, new in zip(x.shape[2:], crop, strict=True)]
    pads = [(math.ceil(max(each, 0) / 2), max(each, 0) // 2) for each in margins]
    x = F.pad(x, (*pads[1], *pads[0]))
    top, left = ((old - new) // 2 for old, new in zip(x.shape[2:], crop, strict=True))
    return x[:, :, top : top + crop[0], left : left + crop[1]]


def _of(size: Any, key: str) -> Any:
    return size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)


def _new_size(processor: Any, size: Size) -> Size:
    """The height and width of a resized image.

    Raises:
        BadInput: the processor chooses the size in another way.
    """
    wanted = processor.size
    shortest, longest = _of(wanted, "shortest_edge"), _of(wanted, "longest_edge")
    if _of(wanted, "height") and _of(wanted, "width"):
        return int(_of(wanted, "height")), int(_of(wanted, "width"))
    if shortest and not longest:
        return _with_edges(size, int(shortest), int(shortest * max(size) / min(size)))
    if longest and not shortest and hasattr(processor, "max_image_size"):
        short = _short(size, longest)
        return _with_edges(size, short + short % 2, int(longest))
    raise BadInput(
        f"{type(processor).__name__} resizes to {wanted}, which is not repeated here: give its size as height and"
        " width, or as shortest_edge"
    )


def _with_edges(size: Size, short: int, long: int) -> Size:
    """A height and width, the longer one where it was."""
    return (short, long) if size[0] <= size[1] else (long, short)


def _short(size: Size, long: int) -> int:
    """The shorter edge of an image whose longer one becomes `long`, with the rounding of Idefics3's
    processor.
    """
    ratio = size[1] / size[0]
    return int(long / ratio) if ratio >= 1 else int(long * ratio)


def _tiled_size(size: Size, tile: int, splits: bool) -> Size:
    """The size of an image of which Idefics3's processor makes tiles: multiples of a tile."""
    if not splits:
        return tile, tile
    long = math.ceil(max(size) / tile) * tile
    return _with_edges(size, math.ceil(_short(size, long) / tile) * tile, long)
