"""Two views of a sample: changes that keep its class, for each kind of modality.

Raw units in, raw units out.

Drawn from torch's global generator, which `train` seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from harness.tasks import Modality

Augmentation = Callable[[Tensor], Tensor]


def augmentation(modality: Modality) -> Augmentation:
    """Fit for the modality's kind: a view (B, *shape) of inputs (B, *shape)."""
    views = {"image": _image, "video": _video, "audio": _audio, "text": _text, "features": _features}
    return views[modality.kind](modality)


def _image(modality: Modality) -> Augmentation:
    """Random resized crop of 40 % to all of the area, brightness and contrast, blur of every second
    one; SimCLR's without flips.

    A flipped digit is another sign, so nothing is flipped; colours become grey in a fifth.
    """

    def view(x: Tensor) -> Tensor:
        pixels = x if x.ndim == 4 else x[:, None]
        seen = jittered(_cropped(pixels))
        blurred = F.avg_pool2d(F.pad(seen, (1, 1, 1, 1), mode="replicate"), 3, 1)
        seen = torch.where(_chosen(seen, 0.5), blurred, seen)
        if pixels.shape[1] == 3:
            seen = torch.where(_chosen(seen, 0.2), seen.mean(1, keepdim=True), seen)
        return modality.valid.over(x).clamp(seen.view_as(x))

    return view


def _video(modality: Modality) -> Augmentation:
    """The same random resized crop, brightness and contrast for all frames."""

    def view(x: Tensor) -> Tensor:
        return modality.valid.over(x).clamp(jittered(_cropped(x.flatten(1, 2))).view_as(x))

    return view


def _cropped(pixels: Tensor, least: float = 0.4) -> Tensor:
    """A random window of each image (B, C, H, W), with an area between `least` and 1 and sides as
    3:4 to 4:3, at full size.
    """
    count = len(pixels)
    area, skew = _uniform(pixels, least, 1.0), _uniform(pixels, 0.75**0.5, (4 / 3) ** 0.5)
    size = torch.stack([(area.sqrt() * skew).clamp(max=1), (area.sqrt() / skew).clamp(max=1)], 1)
    place = (1 - size) * (2 * torch.rand(count, 2, device=pixels.device) - 1)
    warp = torch.diag_embed(size)
    grid = F.affine_grid(torch.cat([warp, place[:, :, None]], 2), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def jittered(pixels: Tensor, strength: float = 0.4) -> Tensor:
    """Brightness scaled and contrast about the mean scaled, each by 1 ± strength."""
    gain, contrast = (_uniform(pixels, 1 - strength, 1 + strength)[:, None, None, None] for _ in range(2))
    mean = pixels.mean((1, 2, 3), keepdim=True)
    return gain * (mean + contrast * (pixels - mean))


def _audio(modality: Modality) -> Augmentation:
    """A shift by up to a tenth of the length, a gain of ± 6 dB, noise at 10 to 30 dB, and a
    twentieth to a fifth silenced.
    """

    def view(x: Tensor) -> Tensor:
        length = x.shape[-1]
        one = (-1, *[1] * (x.ndim - 1))  # a number for each sample
        shift = (_uniform(x, -0.1, 0.1) * length).long()
        places = torch.arange(length, device=x.device)
        moved = x.gather(-1, ((places - shift.view(one)) % length).expand_as(x))
        loud = moved * 10 ** (_uniform(x, -6, 6).view(one) / 20)
        level = loud.square().mean(-1, keepdim=True).sqrt() * 10 ** (-_uniform(x, 10, 30).view(one) / 20)
        noisy = loud + level * torch.randn_like(loud)
        start, span = _uniform(x, 0, 1).view(one) * length, _uniform(x, 0.05, 0.2).view(one) * length
        silent = ((places - start) % length) < span
        return modality.valid.over(x).clamp(noisy.masked_fill(silent, 0.0))

    return view


def _text(modality: Modality) -> Augmentation:
    """A tenth of the tokens replaced by any, and, in every second text, one position moved left;
    one-hot stays one-hot.
    """

    def view(x: Tensor) -> Tensor:
        batch, length, vocabulary = x.shape
        anew = F.one_hot(torch.randint(vocabulary, (batch, length), device=x.device), vocabulary).to(x.dtype)
        replaced = torch.where((torch.rand(batch, length, device=x.device) < 0.1)[..., None], anew, x)
        return torch.where(_chosen(x, 0.5), replaced.roll(-1, 1), replaced)

    return view


def _features(modality: Modality) -> Augmentation:
    """Noise of a tenth of each feature's spread over the batch, and a fifth of the features at
    their mean.
    """

    def view(x: Tensor) -> Tensor:
        mean, spread = x.mean(0), x.std(0, unbiased=False)
        noisy = x + 0.1 * spread * torch.randn_like(x)
        return modality.valid.over(x).clamp(torch.where(torch.rand_like(x) < 0.2, mean, noisy))

    return view


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    """One number per sample, (B,)."""
    return low + (high - low) * torch.rand(len(x), device=x.device)


def _chosen(x: Tensor, share: float) -> Tensor:
    """A random choice of this share of the samples, bool, shaped to broadcast with x."""
    return (torch.rand(len(x), device=x.device) < share).view(-1, *[1] * (x.ndim - 1))
