"""Photographs from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import BadInput


def read_picture(path: Path, size: tuple[int, int]) -> NDArray[Any]:
    """A photograph as uint8 (3, H, W), red, green and blue, each pixel the mean of those it stands for.

    Args:
        size: H and W; the photograph is stretched to them.

    Raises:
        BadInput: the file is damaged, or no picture.
    """
    from PIL import Image  # only when photographs are read

    try:
        with Image.open(path) as file:
            pixels = np.asarray(file.convert("RGB").resize(size[::-1], Image.Resampling.BOX))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} cannot be read: {error}; fetch it again") from None
    return pixels.transpose(2, 0, 1)
