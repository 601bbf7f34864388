"""A named input of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from attacks.errors import BadInput, unknown
from attacks.region import Range
from harness.tasks.axes import check_axes, vocabulary_first

Kind = Literal["image", "video", "audio", "text", "features"]


@dataclass(frozen=True, eq=False)
class Modality:
    """A named input: the shape and range of its values, and its stand-in when it is absent.

    Attributes:
        name: as scenarios and the command line write it.
        shape: of one sample: image (C, H, W) or (H, W), video (C, T, H, W), audio (T,), text
            (positions, vocabulary) as a one-hot matrix, features of any shape; see
            `harness.tasks.axes`.
        kind: image, video, audio, text or features; models choose their encoder by it.
        low, high: the valid range in raw units; a scalar or one value per feature; may be infinite.
        absent: the stand-in value of the missing modality; broadcasts to `shape`.
        ball: the attack at strength 1 if the user names no attack, as in ``linf:1.6``.
        sample_rate: of audio, in Hz.
        tokens: for one-hot text, the token of each column of the vocabulary; empty if unknown.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind = "features"
    low: Tensor | float = float("-inf")
    high: Tensor | float = float("inf")
    absent: Tensor | float = 0.0
    ball: str = "linf:0.1"
    sample_rate: int | None = None
    tokens: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise unknown("kind", str(self.kind), get_args(Kind), where=f" of modality {self.name!r}")
        check_axes(self.name, self.kind, self.shape)
        if not self.name or any(character in "@+: \t" for character in self.name):
            raise BadInput(f"modality name {self.name!r} must be non-empty, without spaces, '@', '+' or ':'")
        if self.tokens and len(self.tokens) != self.shape[-1]:
            raise BadInput(
                f"modality {self.name!r} has {len(self.tokens)} tokens for {self.shape[-1]} columns: name one for each"
            )
        low, high, absent = (
            per_feature(self.name, what, getattr(self, what), self.shape) for what in ("low", "high", "absent")
        )
        if bool((low.isnan() | high.isnan()).any()):
            raise BadInput(
                f"modality {self.name!r}: the range {self._written} holds NaN: give numbers, or ±inf where it has"
                " no end"
            )
        if not bool((low <= high).all()):
            raise BadInput(f"modality {self.name!r}: the range's low end is above its high end: swap them")
        if not bool((absent.isfinite() & (low <= absent) & (absent <= high)).all()):
            worst = absent[~(absent.isfinite() & (low <= absent) & (absent <= high))].flatten()[0]
            raise BadInput(
                f"modality {self.name!r}: the absent value {worst:g} is not in the range {self._written}: choose a"
                " value in it"
            )

    @property
    def _written(self) -> str:
        return f"{torch.as_tensor(self.low).min():g} to {torch.as_tensor(self.high).max():g}"

    @property
    def valid(self) -> Range:
        """The valid values."""
        return Range(self.low, self.high)

    def stand_in(self, like: Tensor) -> Tensor:
        """The absent value in the shape of the batch `like` (B, ...)."""
        return torch.as_tensor(self.absent, dtype=like.dtype, device=like.device).expand_as(like)

    def check(self, x: Tensor) -> None:
        """Refuse samples (B, ...) of another shape, that are not real and finite, or that do not
        lie in the range.

        Raises:
            BadInput: naming what is wrong.
        """
        self.check_parts((x,))

    def check_parts(self, parts: Iterable[Tensor]) -> None:
        """The same of samples that come in parts, of which one is in memory at a time."""
        nan, infinite, outside, least, most = 0, 0, 0, math.inf, -math.inf
        for x in parts:
            self._check_shape(x)
            nan += int(x.isnan().flatten(1).any(1).sum())
            infinite += int(x.isinf().flatten(1).any(1).sum())
            valid = self.valid.over(x)
            beyond = (x < valid.low) | (x > valid.high)
            if count := int(beyond.sum()):
                outside, least, most = (
                    outside + count,
                    min(least, float(x[beyond].min())),
                    max(most, float(x[beyond].max())),
                )
        if nan:
            raise BadInput(f"modality {self.name!r} holds NaN in {nan} samples: fill them")
        if infinite:
            raise BadInput(f"modality {self.name!r} holds infinite values in {infinite} samples: clip them")
        if outside:
            raise BadInput(
                f"modality {self.name!r} has {outside} values outside its declared range (they span"
                f" {least:g} to {most:g}; the range is {self._written}): mend the data, or declare their range"
            )

    def _check_shape(self, x: Tensor) -> None:
        if x.ndim < 2:
            raise BadInput(f"modality {self.name!r} has one number per sample and no axis for it: reshape it to (N, 1)")
        if 0 in x.shape[1:]:
            raise BadInput(
                f"modality {self.name!r} has no values, its shape is {tuple(x.shape[1:])} per sample: leave it out"
            )
        if tuple(x.shape[1:]) != self.shape:
            raise BadInput(f"modality {self.name!r} has shape {tuple(x.shape[1:])} per sample, declared {self.shape}")
        if self.kind == "text" and x.ndim == 3 and vocabulary_first(x):
            raise BadInput(
                f"modality {self.name!r} is one-hot along its first axis, {self.shape} per sample, but a text must"
                " be (positions, vocabulary): move the vocabulary last, x.transpose(1, 2), or declare its kind as"
                " features"
            )
        if not x.is_floating_point():
            raise BadInput(f"modality {self.name!r} holds {x.dtype}: make it float32")


def per_feature(name: str, what: str, value: Tensor | float, shape: tuple[int, ...]) -> Tensor:
    """A number, or one per feature, in the shape of a sample of the named modality.

    Raises:
        BadInput: it does not fit that shape.
    """
    tensor = torch.as_tensor(value)
    try:
        return tensor.expand(shape)
    except RuntimeError:
        raise BadInput(
            f"modality {name!r}: {what} has shape {tuple(tensor.shape)}, a sample has {shape}: give one number, or one"
            " per feature"
        ) from None
