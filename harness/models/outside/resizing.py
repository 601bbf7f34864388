"""Pillow's resizing, as a differentiable module.

A horizontal and a vertical pass, each with weights in fixed point and a result rounded to eight
bits (https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c). Which pass comes
first differs between versions and sizes, so Pillow itself is tried. Rounding passes its gradient
on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from harness.models.outside.readers import EIGHT_BITS

BITS = 22  # of Pillow's weights, behind the point


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
"""The filter and the support of Lanczos, bilinear, bicubic and box resampling, by Pillow's
numbers.
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


class Resize(nn.Module):
    """Images (..., H, W) in eight bits, float64, resized as Pillow does it.

    Args:
        size, new: heights and widths.
        resample: Pillow's number of the filter.

    Raises:
        BadInput: Pillow has another filter, or resizes in another way.
    """

    rows: Tensor | None
    columns: Tensor | None

    def __init__(self, size: Sequence[int], new: Sequence[int], resample: int) -> None:
        super().__init__()
        if resample not in FILTERS:
            raise BadInput(f"a processor resizes with resample={resample}: take 1, 2, 3 or 4 (Lanczos to box)")
        for name, before, after in zip(("rows", "columns"), size, new, strict=True):
            self.register_buffer(name, None if before == after else weights(before, after, resample), persistent=False)
        self.rows_first = False
        if self.rows is not None and self.columns is not None:
            self.rows_first = self._as_pillow(tuple(size), tuple(new), resample)

    def forward(self, x: Tensor) -> Tensor:
        return self._passed(x, self.rows_first)

    def _passed(self, x: Tensor, rows_first: bool) -> Tensor:
        for vertical in (rows_first, not rows_first):
            if vertical and self.rows is not None:
                x = eight_bits(self.rows @ x)
            if not vertical and self.columns is not None:
                x = eight_bits(x @ self.columns.T)
        return x

    def _as_pillow(self, size: tuple[int, ...], new: tuple[int, ...], resample: int) -> bool:
        """Whether Pillow resizes the rows before the columns."""
        from PIL import Image

        noise = torch.randint(256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        own = Image.fromarray(noise.numpy()).resize((new[1], new[0]), resample=resample)
        wanted = torch.from_numpy(np.array(own)).double()
        for order in (False, True):
            if torch.equal(self._passed(noise.double(), order), wanted):
                return order
        raise BadInput(
            f"this version of Pillow resizes {size} to {new} in a way that is not repeated here: give images of the"
            " size that the network takes"
        )


def eight_bits(x: Tensor) -> Tensor:
    """Rounded to whole numbers from 0 to 255; the gradient is that of `x`."""
    return x + ((x + 0.5).floor().clamp(0, EIGHT_BITS) - x).detach()
