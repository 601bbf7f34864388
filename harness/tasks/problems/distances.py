"""Distances between two sets of images by their features: FID (Heusel et al., NeurIPS 2017) and
KID (Bińkowski et al., ICLR 2018).

Both depend on the extractor of the features, on the number of images and on the protocol. Published
values come from Inception and cannot be compared with those of another extractor.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

DEGREE = 3  # of KID's polynomial kernel


@runtime_checkable
class Extractor(Protocol):
    """Features of images, by a fixed network; `name` becomes part of the metrics' names."""

    name: str
    width: int

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
