"""Distances between two sets of images by their features: FID (Heusel et al., NeurIPS 2017) and
KID (Bińkowski et al., ICLR 2018).

Both depend on the extractor of the features, on the number of images and on the protocol. Published
values come from Inception and cannot be compared with those of another extractor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from attacks.errors import BadInput

DEGREE = 3  # of KID's polynomial kernel


@runtime_checkable
class Extractor(Protocol):
    """Features of images, by a fixed network; `name` becomes part of the metrics' names."""

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, width) of images (B, C, H, W)."""


def fid(ours: Tensor, theirs: Tensor) -> float:
    """Fréchet distance of two normal distributions with the moments of features (N, D) and (M, D).

    It needs more images than features: with fewer, the covariances are singular.
    """
    ours, theirs = ours.double(), theirs.double()
    one, other = ours.T.cov(), theirs.T.cov()
    root = _root(one)
    shared = torch.linalg.eigvalsh(root @ other @ root).clamp_min(0).sqrt().sum()
    apart = (ours.mean(0) - theirs.mean(0)).square().sum()
    return float(apart + one.trace() + other.trace() - 2 * shared)


def kid(ours: Tensor, theirs: Tensor) -> float:
    """Unbiased squared MMD of features (N, D) and (M, D), with the kernel (x·y / D + 1)³.

    It is below 0 half of the time where both sets are of the same distribution.
    """
    ours, theirs = ours.double(), theirs.double()
    return float(_within(ours) + _within(theirs) - 2 * _kernel(ours, theirs).mean())


def floor(distance: Callable[[Tensor, Tensor], float], real: Tensor) -> float:
    """The distance between the two halves of the real images, by their features (N, D): no model
    can be expected below it.

    >>> floor(kid, features)

    The halves are the first and the second in the order of the images, which must be random; of an
    odd number the last is left out. FID falls with the number of images, so that of the halves is
    larger than that of two sets of N. KID does not depend on it.

    Raises:
        BadInput: there are fewer than four images, or for FID no more in a half than features.
    """
    half = len(real) // 2
    least = real.shape[1] + 1 if distance is fid else 2
    if half < least:
        raise BadInput(
            f"{len(real)} images have halves of {half}, but the distance needs {least} or more in each half: give at"
            " least"
            f" {2 * least} images"
        )
    return distance(real[:half], real[half : 2 * half])


def _within(x: Tensor) -> Tensor:
    """The mean of the kernel over pairs of different images."""
    found = _kernel(x, x)
    return (found.sum() - found.trace()) / (len(x) * (len(x) - 1))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    kernel: Tensor = (x @ y.T / x.shape[1] + 1) ** DEGREE
    return kernel


def _root(symmetric: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(symmetric)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root
