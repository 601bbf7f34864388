"""The attacked modalities of a sample as one image in [0, 1], for libraries that attack such
images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.errors import BadInput
from attacks.region import Inputs, Region


@dataclass(frozen=True, eq=False)
class UnitImage:
    """The attacked modalities of one sample as one image u in [0, 1]: x' = x + (u - u_clean) ·
    scale.

    One modality with finite ranges is *scaled*: u = (x' - low) / max(high - low) over its features,
    so that eps has one meaning for all of them. Otherwise, if all balls are L∞, u in [0, 1] is the
    ball itself, the clean input at 0.5. Where u in [0, 1] leaves a narrower range, it is clipped
    before the model sees it.

    Attributes:
        region: of the one sample.
        clean: u of the untouched sample, float32 (1, C, H, W).
        scale: raw units per unit of u, by modality.
        eps: the radius in units of u.
    """

    region: Region
    clean: Tensor
    scale: dict[str, float]
    eps: float

    @staticmethod
    def of(region: Region, strength: float) -> UnitImage:
        """The unit_image of one sample at one strength.

        Raises:
            BadInput: neither all balls are L∞, nor is it one modality with finite ranges.
        """
        balls = region.scenario.attacked
        finite = all(
            bool((end.isfinite()).all())
            for r in region.ranges.values()
            for end in map(torch.as_tensor, (r.low, r.high))
        )
        if len(balls) == 1 and finite:
            return UnitImage._scaled(region, strength)
        if any(ball.norm_name != "linf" for ball in balls):
            raise BadInput(
                f"torchattacks cannot attack '{region.scenario}': outside linf it takes one modality with a finite"
                " range; attack each modality alone, declare its range, or use pgd"
            )
        return UnitImage._ball(region, strength)

    @staticmethod
    def _scaled(region: Region, strength: float) -> UnitImage:
        (ball,) = region.scenario.attacked
        x, valid = region.inputs[ball.modality], region.ranges[ball.modality]
        low, high = torch.as_tensor(valid.low), torch.as_tensor(valid.high)
        scale = float((high - low).max()) or 1.0  # 1: nothing may move
        image = ((x - low) / scale).float().reshape(1, *image_shape(x.shape[1:]))
        return UnitImage(region, image, {ball.modality: scale}, strength * ball.radius / scale)

    @staticmethod
    def _ball(region: Region, strength: float) -> UnitImage:
        shapes = [x.shape[1:] for x in region.clean.values()]
        shape = image_shape(shapes[0]) if len(shapes) == 1 else (1, 1, sum(each.numel() for each in shapes))
        image = torch.full((1, *shape), 0.5, device=next(iter(region.clean.values())).device)
        return UnitImage(
            region, image, {ball.modality: 2 * strength * ball.radius for ball in region.scenario.attacked}, 0.5
        )

    def raw(self, image: Tensor) -> Inputs:
        """The attacked modalities (n, ...) in raw units, in range.

        Values that are not finite do not move.

        The gradient passes the clip: a value that a random start put outside its range can come
        back.
        """
        clean = self.region.clean
        change = torch.where(image.isfinite(), image - self.clean, 0.0).flatten(1)
        parts = change.split([x[0].numel() for x in clean.values()], dim=1)
        raw = {}
        for (name, x), part in zip(clean.items(), parts, strict=True):
            moved = x + self.scale[name] * part.reshape(-1, *x.shape[1:]).to(x.dtype)
            raw[name] = self.region.ranges[name].clamp(moved.detach()) + (moved - moved.detach())
        return raw


def image_shape(shape: torch.Size) -> tuple[int, int, int]:
    """The channels, height and width a sample of any shape is shown with; three axes are an image
    already.
    """
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, shape[:-1].numel(), shape[-1] if len(shape) else 1
