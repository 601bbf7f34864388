"""Intervals through affine steps: the sieve before linear bounds, loose and nearly free.

A step that is not known here has no interval; its values are then bounded by lines alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

Ends = tuple[Tensor, Tensor]

_T: Any = Tensor
MONOTONE: frozenset[Any] = frozenset(
    [
        *(_T.reshape, _T.view, _T.permute, _T.transpose, _T.flatten, _T.unflatten, _T.squeeze, _T.unsqueeze, _T.expand),
        *(_T.__getitem__, _T.contiguous, _T.clone, _T.repeat, _T.movedim, _T.mean, _T.sum, _T.double, _T.to, _T.unfold),
        *(_T.chunk, _T.split, _T.unbind, _T.flip, _T.roll, _T.select, _T.narrow, _T.expand_as, _T.view_as, _T.t),
        *(_T.repeat_interleave, _T.cumsum, _T.index_select, _T.gather, _T.mT.__get__, _T.T.__get__),
        *(torch.reshape, torch.permute, torch.transpose, torch.flatten, torch.squeeze, torch.unsqueeze, torch.mean),
        *(torch.sum, torch.cat, torch.stack, torch.concat, torch.chunk, torch.split, torch.unbind, torch.flip),
        *(torch.clone, torch.movedim, torch.roll, torch.unflatten, torch.add, _T.add, _T.__add__, _T.__radd__),
        *(torch.narrow, torch.select, torch.index_select, torch.gather, torch.cumsum, torch.swapaxes, _T.swapaxes),
        *(F.pad, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d),
        *(F.adaptive_avg_pool3d, torch.where, _T.where, _T.masked_fill, torch.masked_fill, F.unfold),
    ]
)
"""Functions that rise, or stay, with every value that depends on the inputs."""


class Intervals:
    """The ends of every value that depends on the inputs, as far as they are known."""

    def __init__(self) -> None:
        self._ends: Any = WeakTensorKeyDictionary()

    def of(self, z: Tensor) -> Ends | None:
        """The smallest and largest value of each element of `z`; None if they are not known, or if
        a step in place has changed `z` since.
        """
        version, ends = self._ends.get(z, (-1, None))
        return ends if version == z._version else None

    def note(self, z: Tensor, low: Tensor, high: Tensor) -> None:
        """Keep the ends of the elements of `z`."""
        self._ends[z] = z._version, (low, high)

    @torch.no_grad()
    def follow(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: object) -> None:
        """Note the ends of what an affine function returned, if its arguments have ends."""
        rule = _RULES.get(function)
        if "alpha" in kwargs or (rule is None and function not in MONOTONE):
            return
        known = [self.of(each) is not None for each in dependent((args, dict(kwargs)))]
        if not known or not all(known):
            return
        if rule is not None:
            ends = rule(self, *args, **kwargs)
        else:
            ends = tuple(function(*self._with(args, end), **self._with(dict(kwargs), end)) for end in (0, 1))
        if ends is None:
            return
        results = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, tuple | list) else []
        lows, highs = ([each] if isinstance(each, Tensor) else each for each in ends)
        for z, low, high in zip(results, lows, highs, strict=True):
            if isinstance(z, Tensor) and low.shape == z.shape:
                self.note(z, low, high)

    def _with(self, given: Any, end: int) -> Any:
        """The arguments with every dependent tensor replaced by one end of it."""
        if isinstance(given, Tensor) and given.requires_grad:
            ends = self.of(given)
            assert ends is not None, "every dependent argument has ends"
            return ends[end]
        if isinstance(given, dict):
            return {key: self._with(each, end) for key, each in given.items()}
        if isinstance(given, tuple | list):
            return type(given)(self._with(each, end) for each in given)
        return given


def dependent(given: Any) -> Iterator[Tensor]:
    """The tensors among arguments that depend on the inputs."""
    if isinstance(given, Tensor):
        if given.requires_grad:
            yield given
    elif isinstance(given, dict):
        yield from dependent(tuple(given.values()))
    elif isinstance(given, tuple | list):
        for each in given:
            yield from dependent(each)


def depends(given: Any) -> bool:
    """Whether any of these arguments depends on the inputs."""
    return any(True for _ in dependent(given))


def _pair(known: Intervals, z: Any) -> Ends:
    if isinstance(z, Tensor) and z.requires_grad:
        found = known.of(z)
        assert found is not None
        return found
    z = torch.as_tensor(z)
    return z, z


def _minus(known: Intervals, a: Any, b: Any, **options: Any) -> Ends | None:
    if options:
        return None
    (low, high), (least, most) = _pair(known, a), _pair(known, b)
    return low - most, high - least


def _minus_from(known: Intervals, a: Any, b: Any) -> Ends | None:
    return _minus(known, b, a)


def _negated(known: Intervals, z: Tensor) -> Ends:
    low, high = _pair(known, z)
    return -high, -low


def _scaled(known: Intervals, a: Any, b: Any) -> Ends | None:
    if isinstance(a, Tensor) and a.requires_grad and isinstance(b, Tensor) and b.requires_grad:
        return None
    z, factor = (a, b) if isinstance(a, Tensor) and a.requires_grad else (b, a)
    low, high = _pair(known, z)
    return torch.minimum(low * factor, high * factor), torch.maximum(low * factor, high * factor)


def _divided(known: Intervals, a: Any, b: Any, **options: Any) -> Ends | None:
    if options or (isinstance(b, Tensor) and b.requires_grad):
        return None
    return _scaled(known, a, 1 / b)


def _around(ends: Ends, centre: Callable[[Tensor], Tensor], radius: Callable[[Tensor], Tensor]) -> Ends:
    low, high = ends
    middle, wide = centre((low + high) / 2), radius((high - low) / 2)
    return middle - wide, middle + wide


def _linear(known: Intervals, z: Tensor, weight: Tensor, bias: Tensor | None = None) -> Ends | None:
    if depends(weight) or depends(bias):
        return None
    return _around(_pair(known, z), lambda m: F.linear(m, weight, bias), lambda r: F.linear(r, weight.abs()))


def _product(known: Intervals, a: Tensor, b: Tensor) -> Ends | None:
    if depends(a) and depends(b):
        return None
    if depends(a):
        return _around(_pair(known, a), lambda m: m @ b, lambda r: r @ b.abs())
    return _around(_pair(known, b), lambda m: a @ m, lambda r: a.abs() @ r)


def _convolved(function: Any) -> Callable[..., Ends | None]:
    def rule(
        known: Intervals, z: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kw: Any
    ) -> Ends | None:
        if depends(weight) or depends(bias):
            return None
        return _around(
            _pair(known, z),
            lambda m: function(m, weight, bias, *args, **kw),
            lambda r: function(r, weight.abs(), None, *args, **kw),
        )

    return rule


def _normalised(known: Intervals, z: Tensor, *args: Any, **kwargs: Any) -> Ends | None:
    if depends(args) or kwargs.get("training") or (len(args) > 4 and args[4]):
        return None
    one, other = (F.batch_norm(end, *args, **kwargs) for end in _pair(known, z))
    return torch.minimum(one, other), torch.maximum(one, other)


_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((torch.sub, _T.sub, _T.__sub__), _minus),
    _T.__rsub__: _minus_from,
    **dict.fromkeys((torch.neg, _T.neg, _T.__neg__), _negated),
    **dict.fromkeys((torch.mul, _T.mul, _T.__mul__, _T.__rmul__), _scaled),
    **dict.fromkeys((torch.div, _T.div, _T.__truediv__), _divided),
    F.linear: _linear,
    **dict.fromkeys((torch.matmul, _T.matmul, _T.__matmul__, torch.bmm, torch.mm, _T.mm, _T.bmm), _product),
    **{each: _convolved(each) for each in (F.conv1d, F.conv2d, F.conv3d)},
    F.batch_norm: _normalised,
}
