"""Lines that bound a function of one number from below and above on an interval.

Each function here maps the ends of intervals, `low` ≤ `high` of any shape, to `Lines` of that
shape. A bound by lines is sound for every value of the interval, and tight at its ends or at one
point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

GRID = 48  # points of an interval at which a smooth function is compared with its line
NARROW = 1e-7  # a chord over a narrower interval has no slope that can be trusted


@dataclass(frozen=True, eq=False)
class Lines:
    """slope · z + intercept, below and above a function on an interval; all of one shape."""

    below: Tensor
    below_at_0: Tensor
    above: Tensor
    above_at_0: Tensor


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of one number that is applied value by value.

    Attributes:
        value: the function.
        lines: the lines that bound it.
        span: its smallest and largest values on an interval.
        unsettled: the values whose bounds are worth the work: where the lines are not exact.
        domain: the function is defined, and its lines hold, above this number only.
    """

    value: Callable[[Tensor], Tensor]
    lines: Callable[[Tensor, Tensor], Lines]
    span: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    unsettled: Callable[[Tensor, Tensor], Tensor]
    domain: float = -math.inf


def relu_lines(low: Tensor, high: Tensor) -> Lines:
    """Below: slope 0 or 1, whichever leaves the smaller area; above: the chord (Zhang et al.,
    NeurIPS 2018).
    """
    crosses = (low < 0) & (high > 0)
    always = (low >= 0).to(low)
    chord = torch.where(crosses, high / (high - low).clamp_min(NARROW), always)
    # the chord of a narrower interval than NARROW would be too flat: slope 1 from low on is above
    chord = torch.where(crosses & (high - low < NARROW), 1.0, chord)
    below = torch.where(crosses, (high > -low).to(low), always)
    zero = torch.zeros_like(low)
    return Lines(below, zero, chord, torch.where(crosses, -chord * low, 0.0))


def _with_slope(bend: float, slope: float) -> Callable[[Tensor, Tensor], Lines]:
    """The lines of bend · relu(z) + slope · z, bend > 0."""

    def lines(low: Tensor, high: Tensor) -> Lines:
        found = relu_lines(low, high)
        return Lines(
            bend * found.below + slope, bend * found.below_at_0, bend * found.above + slope, bend * found.above_at_0
        )

    return lines


def leaky_relu(slope: float) -> Curve:
    """z above zero and slope · z below, 0 ≤ slope < 1."""

    def value(z: Tensor) -> Tensor:
        return F.leaky_relu(z, slope)

    return Curve(value, _with_slope(1 - slope, slope), _rising(value), _crosses)


def _crosses(low: Tensor, high: Tensor) -> Tensor:
    return (low < 0) & (high > 0)


def _anywhere(low: Tensor, high: Tensor) -> Tensor:
    return high > low


def _rising(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return lambda low, high: (function(low), function(high))


def _falling(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return lambda low, high: (function(high), function(low))


def _chord(function: Callable[[Tensor], Tensor], slope: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The slope between the ends; `slope`, the derivative in the middle, where they are too
    close.
    """
    wide = high - low > NARROW * (1 + low.abs())
    return torch.where(wide, (function(high) - function(low)) / torch.where(wide, high - low, 1.0), slope)


def convex(function: Callable[[Tensor], Tensor], derivative: Callable[[Tensor], Tensor]) -> Callable[..., Lines]:
    """Below: the tangent in the middle; above: the chord, raised to hold at both ends."""

    def lines(low: Tensor, high: Tensor) -> Lines:
        middle = (low + high) / 2
        tangent = derivative(middle)
        chord = _chord(function, tangent, low, high)
        above = torch.maximum(function(low) - chord * low, function(high) - chord * high)
        return Lines(tangent, function(middle) - tangent * middle, chord, above)

    return lines


def concave(function: Callable[[Tensor], Tensor], derivative: Callable[[Tensor], Tensor]) -> Callable[..., Lines]:
    """Above: the tangent in the middle; below: the chord, lowered to hold at both ends."""
    mirrored = convex(lambda z: -function(z), lambda z: -derivative(z))

    def lines(low: Tensor, high: Tensor) -> Lines:
        found = mirrored(low, high)
        return Lines(-found.above, -found.above_at_0, -found.below, -found.below_at_0)

    return lines


def smooth(function: Callable[[Tensor], Tensor], curvature: float) -> Callable[..., Lines]:
    """Two parallel lines along the chord of a function whose derivative changes by at most
    `curvature` per unit.

    The largest distances from the chord are read off a grid. Between two of its points, h apart,
    such a function leaves the chord of the two by at most curvature · h² / 8.
    """

    def lines(low: Tensor, high: Tensor) -> Lines:
        chord = _chord(function, torch.zeros_like(low), low, high)
        least, most = torch.full_like(low, math.inf), torch.full_like(low, -math.inf)
        for number in range(GRID + 1):
            z = low + (high - low) * (number / GRID)
            apart = function(z) - chord * z
            least, most = torch.minimum(least, apart), torch.maximum(most, apart)
        between = curvature * ((high - low) / GRID).square() / 8
        return Lines(chord, least - between, chord, most + between)

    return lines


def _smooth_span(
    function: Callable[[Tensor], Tensor], curvature: float
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    bounding = smooth(function, curvature)

    def span(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        lines = bounding(low, high)
        below = torch.minimum(lines.below * low, lines.below * high) + lines.below_at_0
        above = torch.maximum(lines.above * low, lines.above * high) + lines.above_at_0
        return below, above

    return span


def _even(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The span of a function that falls to 0 at 0, and rises from there."""

    def span(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        ends = function(low), function(high)
        return torch.where(_crosses(low, high), 0.0, torch.minimum(*ends)), torch.maximum(*ends)

    return span


def _monotone(function: Callable[[Tensor], Tensor], curvature: float) -> Curve:
    return Curve(function, smooth(function, curvature), _rising(function), _anywhere)


def _wavy(function: Callable[[Tensor], Tensor], curvature: float) -> Curve:
    return Curve(function, smooth(function, curvature), _smooth_span(function, curvature), _anywhere)


def _gelu_tanh(z: Tensor) -> Tensor:
    return F.gelu(z, approximate="tanh")


RELU = Curve(torch.relu, relu_lines, _rising(torch.relu), _crosses)
ABS = Curve(torch.abs, _with_slope(2.0, -1.0), _even(torch.abs), _crosses)
SIGMOID = _monotone(torch.sigmoid, 0.0963)  # max |f''|, rounded up, here and below
TANH = _monotone(torch.tanh, 0.7699)
SOFTPLUS = _monotone(F.softplus, 0.25)
ELU = _monotone(F.elu, 1.0)
GELU = _wavy(F.gelu, 0.7979)
GELU_TANH = _wavy(_gelu_tanh, 0.81)
SILU = _wavy(F.silu, 0.5)
SQUARE = Curve(torch.square, convex(torch.square, lambda z: 2 * z), _even(torch.square), _anywhere)
EXP = Curve(torch.exp, convex(torch.exp, torch.exp), _rising(torch.exp), _anywhere)
LOG = Curve(torch.log, concave(torch.log, torch.reciprocal), _rising(torch.log), _anywhere, 0.0)
SQRT = Curve(torch.sqrt, concave(torch.sqrt, lambda z: z.rsqrt() / 2), _rising(torch.sqrt), _anywhere, 0.0)
RECIPROCAL = Curve(
    torch.reciprocal,
    convex(torch.reciprocal, lambda z: -z.reciprocal().square()),
    _falling(torch.reciprocal),
    _anywhere,
    0.0,
)
RSQRT = Curve(torch.rsqrt, convex(torch.rsqrt, lambda z: -z.rsqrt() / (2 * z)), _falling(torch.rsqrt), _anywhere, 0.0)
