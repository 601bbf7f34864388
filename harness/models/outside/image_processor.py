"""What an image processor of Hugging Face does to an image, as a differentiable module.

Resizing repeats the arithmetic of Pillow: a horizontal and a vertical pass, each with weights in
fixed point and a result rounded to eight bits
(https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c). Which pass comes
first differs between versions and sizes, so Pillow itself is tried. Rounding passes its gradient
on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.models.outside.readers import EIGHT_BITS, Pixels, normalisation
from harness.tasks import Modality

BITS = 22  # of Pillow's weights, behind the point
TOLERANCE = 0.006  # the largest mean difference from the processor's own pixels, in units of the normalised ones
TILING = ("do_image_splitting", "crop_to_patches", "do_pan_and_scan", "image_grid_pinpoints", "do_flip_channel_order")


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)


def _cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


FILTERS: dict[int, tuple[Callable[[float], float], float]] = {
    1: (lambda x: _sinc(x) * _sinc(x / 3) if -3 <= x < 3 else 0.0, 3.0),
    2: (lambda x: max(0.0, 1 - abs(x)), 1.0),
    3: (_cubic, 2.0),
    4: (lambda x: 1.0 if -0.5 < x <= 0.5 else 0.0, 0.5),
}
"""Of Lanczos, bilinear, bicubic and box resampling, by Pillow's numbers: the filter and its
support.
"""


def weights(size: int, new: int, resample: int) -> Tensor:
    """The weights (new, size) with which Pillow makes `new` pixels of `size`, float64.

    >>> weights(4, 2, 4)
    tensor([[0.5000, 0.5000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    kernel, support = FILTERS[resample]
    scale = size / new
    stretch = max(scale, 1.0)
    found: Tensor = torch.zeros(new, size, dtype=torch.float64)
    for row in range(new):  # as Pillow does it, to the last bit
        center = (row + 0.5) * scale
        first = max(int(center - support * stretch + 0.5), 0)
        last = min(int(center + support * stretch + 0.5), size)
        own = [kernel((place - center + 0.5) / stretch) for place in range(first, last)]
        found[row, first:last] = torch.tensor(own, dtype=torch.float64) / sum(own)
    fixed: Tensor = (found * 2**BITS + 0.5 * found.sign()).trunc() / 2**BITS
    return fixed


Passes = tuple[Tensor | None, Tensor | None]
"""The weights of rows (H', H) and of columns (W', W); None where a size stays."""


def passes_of(size: Sequence[int], new: Sequence[int], resample: int) -> Passes:
    """The passes from a height and width to new ones."""
    rows, columns = (None if a == b else weights(a, b, resample) for a, b in zip(size, new, strict=True))
    return rows, columns


def resized(x: Tensor, passes: Passes, rows_first: bool) -> Tensor:
    """Images (..., H, W) in eight bits, float64, as (..., H', W')."""
    rows, columns = passes
    for vertical in (rows_first, not rows_first):
        if vertical and rows is not None:
            x = _eight_bits(rows.to(x.device) @ x)
        if not vertical and columns is not None:
            x = _eight_bits(x @ columns.to(x.device).T)
    return x


def rows_first(passes: Passes, size: Sequence[int], new: Sequence[int], resample: int) -> bool:
    """Whether Pillow resizes the rows before the columns.

    Raises:
        BadInput: neither order gives the pixels of Pillow.
    """
    if None in passes:
        return False
    from PIL import Image

    noise = torch.randint(256, tuple(size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    own = Image.fromarray(noise.numpy()).resize((new[1], new[0]), resample=resample)
    wanted = torch.from_numpy(np.array(own)).double()
    for order in (False, True):
        if torch.equal(resized(noise.double(), passes, order), wanted):
            return order
    raise BadInput(
        f"this version of Pillow resizes {tuple(size)} to {tuple(new)} in a way that is not repeated here: give images"
        " of the size that the network takes"
    )


class Processed(Pixels):
    """Raw pixels (B, 3, H, W) as an image processor makes them: padded to a square, resized,
    cropped, rescaled and normalised where the processor does so.

    Radii are in raw units, at the size of the task's images.

    Args:
        modality: an image (3, H, W) from 0 to 255, or from 0 to 1.
        processor: a processor of images, or of images and texts.

    Raises:
        BadInput: it does something else, or the modality does not fit.
    """

    rows: Tensor | None
    columns: Tensor | None
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
        for option in TILING:
            if getattr(processor, option, None):
                raise BadInput(f"{self.named} has {option}, which is not repeated here: switch it off in the processor")
        self.top = float(torch.as_tensor(modality.high).max())
        size = tuple(modality.shape[1:])
        self.frame = self._frame(processor, size)
        size = size if self.frame is None else (max(size), max(size))
        self.size = _new_size(processor, size) if getattr(processor, "do_resize", False) else size
        passes = (None, None) if size == self.size else passes_of(size, self.size, self._resample(processor))
        self.register_buffer("rows", passes[0], persistent=False)
        self.register_buffer("columns", passes[1], persistent=False)
        self.first_rows = size != self.size and rows_first(passes, size, self.size, self._resample(processor))
        crop = getattr(processor, "crop_size", None) if getattr(processor, "do_center_crop", False) else None
        self.crop = None if crop is None else (int(_of(crop, "height")), int(_of(crop, "width")))

    def _resample(self, processor: Any) -> int:
        resample = int(getattr(processor, "resample", 2))
        if resample not in FILTERS:
            raise BadInput(f"{self.named} resizes with resample={resample}: take 1, 2, 3 or 4 (Lanczos to box)")
        return resample

    def _frame(self, processor: Any, size: tuple[int, ...]) -> Tensor | None:
        """The colour of the margins of an image that is padded to a square, (3,), in eight bits."""
        if not getattr(processor, "do_pad", False) or size[0] == size[1]:
            return None
        if not hasattr(processor, "pad_to_square"):
            raise BadInput(f"{self.named} has do_pad, which is not repeated here: switch it off in the processor")
        return torch.tensor([float(int(each * EIGHT_BITS)) for each in processor.image_mean])

    def forward(self, network: nn.Module, inputs: Inputs, here: Tensor | None) -> Inputs:
        return {self.keyword: self.pixels(inputs[self.name])}

    def pixels(self, x: Tensor) -> Tensor:
        """The network's pixels (B, 3, H', W') of raw ones (B, 3, H, W)."""
        eight = x.double() * (EIGHT_BITS / self.top)
        if self.frame is not None:
            eight = self._squared(eight)
        eight = resized(eight, (self.rows, self.columns), self.first_rows)
        if self.crop is not None:
            eight = _cropped(eight, self.crop)
        scaled = eight.to(x.dtype) * (self.rescale * self.top / EIGHT_BITS)
        found: Tensor = (scaled - self.mean) / self.std
        return found

    def _squared(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        assert self.frame is not None
        colour = self.frame.to(x)[:, None, None]
        return F.pad(x - colour, (left, side - width - left, top, side - height - top)) + colour


def _eight_bits(x: Tensor) -> Tensor:
    """Rounded to whole numbers from 0 to 255; the gradient is that of `x`."""
    return x + ((x + 0.5).floor().clamp(0, EIGHT_BITS) - x).detach()


def _cropped(x: Tensor, crop: tuple[int, int]) -> Tensor:
    """The middle of images, with zeros around smaller ones."""
    margins = [(new - old) for old, new in zip(x.shape[2:], crop, strict=True)]
    pads = [(math.ceil(max(each, 0) / 2), max(each, 0) // 2) for each in margins]
    x = F.pad(x, (*pads[1], *pads[0]))
    top, left = ((old - new) // 2 for old, new in zip(x.shape[2:], crop, strict=True))
    return x[:, :, top : top + crop[0], left : left + crop[1]]


def _of(size: Any, key: str) -> Any:
    return size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)


def _new_size(processor: Any, size: tuple[int, ...]) -> tuple[int, int]:
    """The height and width of a resized image.

    Raises:
        BadInput: the processor chooses the size in another way.
    """
    wanted = processor.size
    short, longest = _of(wanted, "shortest_edge"), _of(wanted, "longest_edge")
    if _of(wanted, "height") and _of(wanted, "width"):
        return int(_of(wanted, "height")), int(_of(wanted, "width"))
    if short and not longest:
        least, most = min(size), max(size)
        long = int(short * most / least)
        return (int(short), long) if size[0] <= size[1] else (long, int(short))
    raise BadInput(
        f"{type(processor).__name__} resizes to {wanted}, which is not repeated here: give its size as height and"
        " width, or as shortest_edge"
    )
