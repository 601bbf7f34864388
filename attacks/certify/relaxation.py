"""One forward pass that bounds what it computes: linear relaxation by automatic differentiation.

Every step that is not affine is replaced by an autograd function whose backward returns the slope
of a line below or above the step, by the sign of the coefficient that arrives, in place of the
derivative. So a backward pass from any value gives a linear function of the inputs that bounds it
(CROWN, Zhang et al., NeurIPS 2018; LiRPA, Xu et al., NeurIPS 2020). The interval of each such
step's input comes from backward passes of the same kind, made on the way, in order of execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from attacks.certify.affine import Affine, Uncertified
from attacks.certify.intervals import Intervals, dependent, depends
from attacks.certify.lines import Curve, Lines
from attacks.certify.reach import Reach
from attacks.region import Inputs

Ends = tuple[Tensor, Tensor]
ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-9}
"""By how much every bound is lowered, relative to the sizes that it adds up, for rounding."""
TIGHTENED = 4096  # values of a sample at one step; of more, intervals that are known are kept
PROBED = 16  # values of a sample that are bounded first
GAIN = 1e-6  # where none of these is bounded tighter by this share, the interval is kept
MOST_AT_ONCE = 2**22  # numbers of one gradient of the rows that are bounded together


class ByLines(torch.autograd.Function):
    """A function of one number, whose backward is a bound by lines."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, value: Tensor, lines: Lines, gap: Tensor) -> Tensor:
        ctx.save_for_backward(z, value, lines.below, lines.below_at_0, lines.above, lines.above_at_0)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        z, value, below, below_at_0, above, above_at_0 = ctx.saved_tensors
        slope, at_0 = torch.where(g >= 0, below, above), torch.where(g >= 0, below_at_0, above_at_0)
        return g * slope, None, None, (g * (slope * z + at_0 - value)).reshape(len(z), -1).sum(1)


class ByPlanes(torch.autograd.Function):
    """A product of two numbers, whose backward is a bound by planes (McCormick, 1976)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, ends: tuple[Ends, Ends], gap: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, *ends[0], *ends[1])
        return x * y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, y, low, _, least, most = ctx.saved_tensors
        # x y ≥ least x + low y - low least, and three like it; below through (low, least), above
        # through (low, most)
        by_x, at_0 = torch.where(g >= 0, least, most), torch.where(g >= 0, -low * least, -low * most)
        gap = g * (by_x * x + low * y + at_0 - x * y)
        return g * by_x, g * low, None, gap.reshape(len(x), -1).sum(1)


class Relaxation(TorchFunctionMode):
    """Inside it, a model runs on the leaves of a batch, and every step is bounded.

    Args:
        reach: the changes of the inputs that are covered.
        rules: for each function that is not affine, what takes its place; it is called with the
            relaxation before the function's own arguments.
        sealed: functions that would let values through unseen, with the reason.
        known: the intervals of an earlier pass over a reach at least as large, in order.

    Attributes:
        inputs: to give to the model.
        intervals: of every step so far, in order.
        lost: the samples (B,) for which some step has no lines.
    """

    def __init__(
        self,
        reach: Reach,
        rules: dict[Any, Callable[..., Any]],
        sealed: dict[Any, str],
        known: Sequence[Ends] = (),
    ) -> None:
        super().__init__()
        self._reach, self._rules, self._sealed, self._known = reach, rules, sealed, known
        clean = reach.region.clean
        self._leaves = {name: x.detach().clone().requires_grad_() for name, x in clean.items()}
        dtype = next(iter(self._leaves.values())).dtype
        self._gap = torch.zeros_like(reach.strength, dtype=dtype).requires_grad_()
        self._rounding = ROUNDING.get(dtype, ROUNDING[torch.float32])
        self._affine, self._sieve = Affine((ByLines, ByPlanes)), Intervals()
        self._tight = Intervals()
        self.intervals: list[Ends] = []
        self.lost = torch.zeros(len(reach.strength), dtype=torch.bool, device=reach.strength.device)
        self.inputs: Inputs = {**reach.region.inputs, **{name: leaf.clone() for name, leaf in self._leaves.items()}}
        for ball in reach.region.scenario.attacked:
            self._sieve.note(self.inputs[ball.modality], *reach.box(ball))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self._sealed:
            raise Uncertified(self._sealed[func])
        if not depends((args, kwargs)):
            return func(*args, **kwargs)
        if not torch.is_grad_enabled():
            raise Uncertified(f"values computed without gradients ({_name_of(func)})")
        if func in self._rules:
            return self._rules[func](self, *args, **kwargs)
        result = func(*args, **kwargs)
        _refuse_values(func, result)
        _refuse_rounding(func, (args, kwargs), result)
        self._sieve.follow(func, args, kwargs, result)
        return result

    def check(self, z: Tensor) -> None:
        """Raise Uncertified where a step on the way to `z` is neither affine nor bounded."""
        self._affine.check(z)

    def bounds(self, z: Tensor, unsettled: Callable[[Tensor, Tensor], Tensor] | None = None) -> Ends:
        """An interval of every value of `z` (B, ...) over the whole reach.

        Args:
            unsettled: which values, by the ends of a first interval, deserve a tighter one; all,
                if absent.
        """
        if (found := self._tight.of(z)) is not None:
            return found
        if len(z) != len(self.lost):
            raise Uncertified("values of which one sample has several rows, or several samples one")
        self._affine.check(z)
        low, high = self._first(z)
        loose = ~(low.isfinite() & high.isfinite())
        wanted = loose | (torch.ones_like(loose) if unsettled is None else unsettled(low, high))
        wanted = wanted.flatten(1)
        wanted = wanted & ((wanted.sum(1) <= TIGHTENED) | loose.flatten(1).any(1))[:, None]
        if bool(wanted.any()):
            low, high = self._tightened(z, wanted, low, high)
        ends = self._widened(z.detach(), low, high)
        self.intervals.append(ends)
        for kept in (self._tight, self._sieve):
            kept.note(z, *ends)
        return ends

    def _first(self, z: Tensor) -> Ends:
        """The interval that is known without work."""
        nothing = torch.full_like(z.detach(), float("inf"))
        low, high = self._sieve.of(z) or (-nothing, nothing)
        if len(self.intervals) < len(self._known):
            earlier = self._known[len(self.intervals)]
            low, high = torch.maximum(low, earlier[0]), torch.minimum(high, earlier[1])
        return low, high

    def _tightened(self, z: Tensor, wanted: Tensor, low: Tensor, high: Tensor) -> Ends:
        """The interval with the ends of the `wanted` values (B, n) from backward passes, each
        sample's own values.
        """
        size = z[0].numel()
        least, most = low.flatten(1).clone(), high.flatten(1).clone()
        columns = wanted.int().argsort(dim=1, descending=True, stable=True)[:, : int(wanted.sum(1).max())]
        at_once = max(1, MOST_AT_ONCE // (2 * len(z) * max(size, self._widest)))
        probed = min(PROBED, columns.shape[1])
        sizes = [probed, *parts(columns.shape[1] - probed, at_once)]
        for number, some in enumerate(columns.split(sizes, dim=1)):
            chosen = torch.zeros(some.shape[1], len(z), size, dtype=z.dtype, device=z.device)
            chosen.scatter_(2, some.T.unsqueeze(2), 1.0)
            below = self.lowest(z, torch.cat([chosen, -chosen]))
            before = least.gather(1, some), most.gather(1, some)
            after = below[: some.shape[1]].T.to(z.dtype), -below[some.shape[1] :].T.to(z.dtype)
            own = wanted.gather(1, some)  # a sample's result does not depend on what others want
            least.scatter_(1, some, torch.where(own, torch.maximum(before[0], after[0]), before[0]))
            most.scatter_(1, some, torch.where(own, torch.minimum(before[1], after[1]), before[1]))
            if number == 0:
                gains = own & (before[1] - before[0] > (after[1] - after[0]) * (1 + GAIN))
                wanted = wanted & gains.any(1, keepdim=True)
            if not bool(wanted.any()):
                break
        return least.view_as(z), most.view_as(z)

    @property
    def _widest(self) -> int:
        return max([x[0].numel() for x in self._leaves.values()] + [low[0].numel() for low, _ in self.intervals])

    def mixes(self, z: Tensor) -> bool:
        """Whether a row of `z` depends on another sample: by the slopes of random sums of each row
        alone.
        """
        rows = len(z)
        weights = torch.rand(z[0].numel(), generator=torch.Generator().manual_seed(0)).to(z) + 0.5
        alone = torch.eye(rows, dtype=z.dtype, device=z.device)[:, :, None] * weights
        start, leaves = alone.reshape(rows, *z.shape), list(self._leaves.values())
        found = torch.autograd.grad(z, leaves, start, retain_graph=True, allow_unused=True, is_grads_batched=True)
        others = ~torch.eye(rows, dtype=torch.bool, device=z.device)
        return any(bool((each.flatten(2) != 0).any(2)[others].any()) for each in found if each is not None)

    def lowest(self, z: Tensor, weights: Tensor) -> Tensor:
        """A lower bound of ⟨weights, z⟩ over the whole reach, (S, B).

        Args:
            weights: (S, B, numbers of a row of z).
        """
        value = (weights * z.detach().flatten(1)).sum(2, dtype=torch.float64)
        start = weights.reshape(len(weights), *z.shape)
        leaves = [*self._leaves.values(), self._gap]
        found = torch.autograd.grad(z, leaves, start, retain_graph=True, allow_unused=True, is_grads_batched=True)
        slopes = {
            name: torch.zeros(len(weights), *leaf.shape, dtype=leaf.dtype, device=leaf.device)
            if each is None
            else -each
            for (name, leaf), each in zip(self._leaves.items(), found[:-1], strict=True)
        }
        gap = torch.zeros_like(value) if found[-1] is None else found[-1]
        gained = self._reach.gained(slopes)
        return value + gap - gained - self._rounding * (value.abs() + gap.abs() + gained)

    def _widened(self, z: Tensor, low: Tensor, high: Tensor) -> Ends:
        """The same for all that rounds, and around the clean value in any case."""
        slack = self._rounding * torch.maximum(low.abs(), high.abs())
        return torch.minimum(low - slack, z), torch.maximum(high + slack, z)

    def curved(self, z: Tensor, curve: Curve) -> Tensor:
        """A function of one number, value by value, bounded."""
        low, high = self._usable(z, *self.bounds(z, curve.unsettled), curve.domain)
        lines = curve.lines(low, high)
        bounded: Tensor = ByLines.apply(z, curve.value(z.detach()), lines, self._gap)  # type: ignore[no-untyped-call]
        self._sieve.note(bounded, *curve.span(low, high))
        return bounded

    def _usable(self, z: Tensor, low: Tensor, high: Tensor, domain: float) -> Ends:
        """The interval; the value alone where the interval leaves the domain of a function, or has
        no ends. Such a sample has no bound.
        """
        outside = ~((low > domain) & low.isfinite() & high.isfinite())
        self.lost = self.lost | outside.flatten(1).any(1)
        return torch.where(outside, z.detach(), low), torch.where(outside, z.detach(), high)

    def product(self, x: Tensor, y: Tensor) -> Tensor:
        """x · y, both of which depend on the inputs, bounded."""
        ends = [self._usable(each, *self.bounds(each), -float("inf")) for each in (x, y)]
        x, y, *sides = torch.broadcast_tensors(x, y, *ends[0], *ends[1])
        low, high, least, most = (each.contiguous() for each in sides)
        bounded: Tensor = ByPlanes.apply(x, y, ((low, high), (least, most)), self._gap)  # type: ignore[no-untyped-call]
        corners = torch.stack([low * least, low * most, high * least, high * most])
        self._sieve.note(bounded, corners.amin(0), corners.amax(0))
        return bounded

    def interval(self, z: Tensor) -> Ends | None:
        """The ends of `z` that are known without a backward pass."""
        return self._sieve.of(z)

    def note(self, z: Tensor, low: Tensor, high: Tensor) -> None:
        """Keep ends that a rule knows."""
        self._sieve.note(z, low, high)

    def affine(self, function: Any, *args: Any, **kwargs: Any) -> Tensor:
        """An affine function inside a rule, whose intervals are followed."""
        result: Tensor = function(*args, **kwargs)
        _refuse_rounding(function, (args, kwargs), result)
        self._sieve.follow(function, args, kwargs, result)
        return result


_OF_SHAPE = (
    "size dim stride numel nelement ndimension __len__ is_floating_point is_complex is_contiguous element_size"
    " storage_offset get_device is_pinned type zeros_like ones_like full_like empty_like new_zeros new_ones new_full"
    " new_empty new_tensor expand_as view_as reshape_as type_as"
)
_ATTRIBUTES = (
    "shape ndim dtype device layout is_cuda is_cpu is_mps is_meta is_sparse is_quantized is_nested is_mkldnn is_xpu"
    " requires_grad is_leaf names itemsize nbytes"
)
HARMLESS, SHOWN = frozenset(_OF_SHAPE.split()), frozenset(_ATTRIBUTES.split())
"""Functions and attributes of tensors that ask for a shape or a type, and for no value."""


def _refuse_values(func: Any, result: Any) -> None:
    """Refuse a function that gives away what it was given without a gradient: a comparison, a
    Python number, a detached copy.
    """
    name = _name_of(func)
    if name in (SHOWN if _is_attribute(func) else HARMLESS):
        return
    for each in _flat(result):
        followed = isinstance(each, Tensor) and each.requires_grad
        if not (followed or each is None or isinstance(each, torch.Size | torch.dtype | torch.device)):
            raise Uncertified(f"values that leave the graph by {name}")


def _refuse_rounding(func: Any, given: Any, result: Any) -> None:
    """Refuse a function whose result has fewer digits than what it was given."""
    most = max((torch.finfo(each.dtype).eps for each in dependent(given)), default=1.0)
    for each in dependent(result):
        if torch.finfo(each.dtype).eps > most:
            raise Uncertified(f"numbers rounded to {str(each.dtype).removeprefix('torch.')} ({_name_of(func)})")


def _is_attribute(func: Any) -> bool:
    return getattr(func, "__name__", "") == "__get__"


def _name_of(func: Any) -> str:
    """The name of a function or an attribute of tensors."""
    named = getattr(func, "__self__", func) if _is_attribute(func) else func
    return str(getattr(named, "__name__", named))


def _flat(result: Any) -> Iterable[Any]:
    if isinstance(result, tuple | list) and not isinstance(result, torch.Size):
        for each in result:
            yield from _flat(each)
    else:
        yield result


def parts(total: int, most: int) -> list[int]:
    """The sizes of parts of at most so many."""
    return [min(most, total - start) for start in range(0, max(total, 0), most)]
