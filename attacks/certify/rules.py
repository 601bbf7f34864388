"""The steps of networks that are not affine, made of those few that lines and planes bound.

A maximum is a + relu(b - a), a softmax the reciprocal of a sum of exponentials, attention two
products and a softmax. A function that is not here, and not affine, is refused by `affine.Affine`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.certify import lines
from attacks.certify.affine import Uncertified
from attacks.certify.intervals import depends
from attacks.certify.lines import Curve
from attacks.certify.relaxation import Relaxation

_T: Any = Tensor


def _curve(curve: Curve) -> Callable[..., Tensor]:
    def rule(relaxed: Relaxation, z: Tensor, *, inplace: bool = False) -> Tensor:
        bounded = relaxed.curved(z.clone() if inplace else z, curve)
        return z.copy_(bounded) if inplace else bounded

    return rule


def _in_place(curve: Curve) -> Callable[..., Tensor]:
    return lambda relaxed, z: _curve(curve)(relaxed, z, inplace=True)


def _relu(relaxed: Relaxation, z: Tensor, inplace: bool = False) -> Tensor:
    return _curve(lines.RELU)(relaxed, z, inplace=inplace)


def _gelu(relaxed: Relaxation, z: Tensor, approximate: str = "none") -> Tensor:
    return relaxed.curved(z, lines.GELU if approximate == "none" else lines.GELU_TANH)


def _silu(relaxed: Relaxation, z: Tensor, inplace: bool = False) -> Tensor:
    return _curve(lines.SILU)(relaxed, z, inplace=inplace)


def _elu(relaxed: Relaxation, z: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    if alpha != 1.0:
        raise Uncertified(f"elu with alpha {alpha:g}")
    return _curve(lines.ELU)(relaxed, z, inplace=inplace)


def _softplus(relaxed: Relaxation, z: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    if beta != 1.0 or threshold < 20.0:
        raise Uncertified(f"softplus with beta {beta:g} and threshold {threshold:g}")
    return relaxed.curved(z, lines.SOFTPLUS)


def _leaky_relu(relaxed: Relaxation, z: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    if not 0 <= negative_slope < 1:
        raise Uncertified(f"leaky relu with slope {negative_slope:g}")
    return _curve(lines.leaky_relu(negative_slope))(relaxed, z, inplace=inplace)


def _power(relaxed: Relaxation, z: Tensor, exponent: Any) -> Tensor:
    if depends(exponent) or exponent not in (2, 0.5, -0.5, -1, 1):
        raise Uncertified("a power other than 2, 1/2, -1/2 and -1")
    if exponent == 1:
        return z + 0.0
    curve = {2: lines.SQUARE, 0.5: lines.SQRT, -0.5: lines.RSQRT, -1: lines.RECIPROCAL}[exponent]
    return relaxed.curved(z, curve)


def _times(relaxed: Relaxation, x: Any, y: Any) -> Tensor:
    if not (depends(x) and depends(y)):
        return relaxed.affine(torch.mul, x, y)
    return relaxed.curved(x, lines.SQUARE) if x is y else relaxed.product(x, y)


def _divided(relaxed: Relaxation, x: Any, y: Any, *, rounding_mode: str | None = None) -> Tensor:
    if rounding_mode is not None:
        raise Uncertified(f"a division rounded by {rounding_mode}")
    if not depends(y):
        return relaxed.affine(torch.div, x, y)
    return _times(relaxed, x, relaxed.curved(y, lines.RECIPROCAL))


def _divided_into(relaxed: Relaxation, y: Tensor, x: Any) -> Tensor:
    return _divided(relaxed, x, y)


def _matmul(relaxed: Relaxation, x: Tensor, y: Tensor) -> Tensor:
    if not (depends(x) and depends(y)):
        return relaxed.affine(torch.matmul, x, y)
    if x.ndim < 2 or y.ndim < 2:
        raise Uncertified("a product of vectors that both depend on the inputs")
    relaxed.bounds(x), relaxed.bounds(y)
    pairs = relaxed.product(relaxed.affine(torch.unsqueeze, x, -1), relaxed.affine(torch.unsqueeze, y, -3))
    return relaxed.affine(torch.sum, pairs, -2)


def _linear(relaxed: Relaxation, z: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if not depends(weight):
        return relaxed.affine(F.linear, z, weight, bias)
    product = _matmul(relaxed, z, weight.mT)
    return product if bias is None else product + bias


def _largest_of_two(relaxed: Relaxation, a: Tensor, b: Tensor) -> Tensor:
    apart = relaxed.affine(torch.sub, b, a)
    return relaxed.affine(torch.add, a, relaxed.curved(apart, lines.RELU)) if depends(apart) else torch.maximum(a, b)


def _minimum(relaxed: Relaxation, a: Tensor, b: Tensor) -> Tensor:
    return -_largest_of_two(relaxed, -a, -b)


def _largest(relaxed: Relaxation, z: Tensor) -> Tensor:
    """The largest along the last axis, in pairs: (..., n) to (...)."""
    while (count := z.shape[-1]) > 1:
        half = count // 2
        one, other = relaxed.affine(_T.narrow, z, -1, 0, half), relaxed.affine(_T.narrow, z, -1, half, half)
        paired = _largest_of_two(relaxed, one, other)
        rest = relaxed.affine(_T.narrow, z, -1, 2 * half, count - 2 * half)
        z = relaxed.affine(torch.cat, [paired, rest], -1) if count % 2 else paired
    return relaxed.affine(_T.squeeze, z, -1)


def _amax(relaxed: Relaxation, z: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    axes = (dim,) if isinstance(dim, int) else tuple(dim) or tuple(range(z.ndim))
    axes = tuple(sorted(axis % z.ndim for axis in axes))
    rest = [axis for axis in range(z.ndim) if axis not in axes]
    if 0 in axes:
        raise Uncertified("a maximum over the samples of a batch")
    moved = relaxed.affine(torch.permute, z, (*rest, *axes))
    found = _largest(relaxed, relaxed.affine(torch.flatten, moved, len(rest)))
    for axis in axes if keepdim else ():
        found = relaxed.affine(torch.unsqueeze, found, axis)
    return found


def _max(relaxed: Relaxation, z: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, Tensor):
        return _largest_of_two(relaxed, z, dim)
    if dim is None:
        raise Uncertified("a maximum over the samples of a batch")
    return torch.return_types.max((_amax(relaxed, z, dim, keepdim), torch.zeros(0)))


def _min(relaxed: Relaxation, z: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, Tensor):
        return _minimum(relaxed, z, dim)
    found = _max(relaxed, -z, dim, keepdim)
    return torch.return_types.min((-found[0], found[1]))


def _each(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes if len(value) == 1 else 1)


def _max_pool(axes: int) -> Callable[..., Tensor]:
    def rule(
        relaxed: Relaxation,
        z: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        if return_indices or set(_each(dilation, axes)) != {1}:
            raise Uncertified("a max pool with dilation or indices")
        kernel = _each(kernel_size, axes)
        stride = kernel if stride is None or stride == [] else _each(stride, axes)
        pads = [
            (pad, pad + (_beyond(size, wide, step, pad) if ceil_mode else 0))
            for size, wide, step, pad in zip(z.shape[-axes:], kernel, stride, _each(padding, axes), strict=True)
        ]
        if any(map(any, pads)):  # an edge that is repeated adds nothing new to a window that the edge is in
            z = relaxed.affine(F.pad, z, [side for pad in reversed(pads) for side in pad], mode="replicate")
        first = z.ndim - axes
        for axis in range(axes):
            z = relaxed.affine(_T.unfold, z, first + axis, kernel[axis], stride[axis])
        return _largest(relaxed, relaxed.affine(torch.flatten, z, -axes))

    return rule


def _beyond(size: int, kernel: int, stride: int, pad: int) -> int:
    """How far the last window of a pool whose size is rounded up reaches beyond the padded end; it
    must begin before the end.
    """
    windows = -(-(size + 2 * pad - kernel) // stride) + 1
    if (windows - 1) * stride >= size + pad:
        windows -= 1
    return max(0, (windows - 1) * stride + kernel - size - 2 * pad)


def _adaptive_max_pool(axes: int) -> Callable[..., Tensor]:
    def rule(relaxed: Relaxation, z: Tensor, output_size: Any, return_indices: bool = False) -> Tensor:
        if return_indices:
            raise Uncertified("a max pool with indices")
        for axis, count in zip(range(z.ndim - axes, z.ndim), _each(output_size, axes), strict=True):
            if count is not None:
                z = _pooled(relaxed, z, axis, count)
        return z

    return rule


def _pooled(relaxed: Relaxation, z: Tensor, axis: int, count: int) -> Tensor:
    """Maxima over `count` windows of an axis, from ⌊i n / count⌋ to ⌈(i + 1) n / count⌉; the
    windows, made equally long by repeating their last place, are bounded together.
    """
    size = z.shape[axis]
    spans = [(place * size // count, -(-(place + 1) * size // count)) for place in range(count)]
    longest = max(end - start for start, end in spans)
    places = torch.tensor([min(start + step, end - 1) for start, end in spans for step in range(longest)])
    gathered = relaxed.affine(torch.index_select, z, axis, places.to(z.device))
    windows = relaxed.affine(_T.unflatten, gathered, axis, (count, longest))
    return _largest(relaxed, relaxed.affine(torch.movedim, windows, axis + 1, -1))


def _softmax(relaxed: Relaxation, z: Tensor, dim: int, *_: Any, **__: Any) -> Tensor:
    """1 / Σ_j exp(z_j - z_i); what is masked by -inf counts nothing."""
    moved = relaxed.affine(torch.movedim, z, dim, -1)
    seen = moved.detach() > -math.inf
    moved = relaxed.affine(torch.where, seen, moved, torch.zeros_like(moved.detach()))
    apart = relaxed.affine(
        torch.sub, relaxed.affine(torch.unsqueeze, moved, -2), relaxed.affine(torch.unsqueeze, moved, -1)
    )
    others = seen.unsqueeze(-2) & ~torch.eye(seen.shape[-1], dtype=torch.bool, device=seen.device)
    raised = relaxed.curved(apart, lines.EXP)
    counted = relaxed.affine(torch.where, others, raised, torch.zeros_like(raised.detach()))
    total = relaxed.affine(torch.add, relaxed.affine(torch.sum, counted, -1), 1.0)
    share = relaxed.affine(torch.mul, relaxed.curved(total, lines.RECIPROCAL), seen.to(z.dtype))
    return relaxed.affine(torch.movedim, share, -1, dim)


def _log_sum_exp(relaxed: Relaxation, z: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    if not isinstance(dim, int):
        (dim,) = dim
    shift = z.detach().flatten(1).amax(1).reshape(-1, *[1] * (z.ndim - 1))
    raised = relaxed.curved(relaxed.affine(torch.sub, z, shift), lines.EXP)
    found = relaxed.affine(
        torch.add, relaxed.curved(relaxed.affine(torch.sum, raised, dim, keepdim=True), lines.LOG), shift
    )
    return found if keepdim else relaxed.affine(torch.squeeze, found, dim)


def _log_softmax(relaxed: Relaxation, z: Tensor, dim: int, *_: Any, **__: Any) -> Tensor:
    return relaxed.affine(torch.sub, z, _log_sum_exp(relaxed, z, dim, True))


def _attention(
    relaxed: Relaxation,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if dropout_p or enable_gqa:
        raise Uncertified("attention with dropout or with grouped queries")
    scaled = relaxed.affine(torch.mul, query, 1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    scores = _matmul(relaxed, scaled, relaxed.affine(torch.transpose, key, -2, -1))
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        hidden = torch.zeros(()).masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else attn_mask
        scores = relaxed.affine(torch.add, scores, hidden)
    weights = _softmax(relaxed, scores, -1) if depends(scores) else scores.softmax(-1)
    return _matmul(relaxed, weights, value)


def _layer_norm(
    relaxed: Relaxation,
    z: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    centred = relaxed.affine(torch.sub, z, relaxed.affine(torch.mean, z, axes, keepdim=True))
    spread = relaxed.affine(torch.mean, relaxed.curved(centred, lines.SQUARE), axes, keepdim=True)
    scale = relaxed.curved(relaxed.affine(torch.add, spread, eps), lines.RSQRT)
    normed = relaxed.product(centred, scale)
    normed = normed if weight is None else relaxed.affine(torch.mul, normed, weight)
    return normed if bias is None else relaxed.affine(torch.add, normed, bias)


def _dropout(relaxed: Relaxation, z: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if training and p:
        raise Uncertified("random numbers (dropout)")
    return z


def _stft(relaxed: Relaxation, z: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The spectrum, affine; where the window slides over real samples, its interval too."""
    spectrum = torch.stft(z, *args, **kwargs)
    ends = _stft_ends(relaxed, z, *args, **kwargs)
    if ends is not None:
        relaxed.note(spectrum, *ends)
    return spectrum


def _stft_ends(
    relaxed: Relaxation,
    z: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> tuple[Tensor, Tensor] | None:
    """The ends of both parts of each number, as those of convolutions by cosines and sines."""
    known = relaxed.interval(z)
    if known is None or normalized or onesided is False or not return_complex or (win_length or n_fft) != n_fft:
        return None
    low, high = (end.unsqueeze(1) for end in known)
    if center:
        low, high = (F.pad(end, (n_fft // 2, n_fft // 2), mode=pad_mode) for end in (low, high))
    time = torch.arange(n_fft, dtype=z.dtype, device=z.device)
    turns = 2 * math.pi / n_fft * torch.outer(torch.arange(n_fft // 2 + 1, dtype=z.dtype, device=z.device), time)
    shape = torch.ones_like(time) if window is None else window
    parts = []
    for wave in (turns.cos() * shape, -turns.sin() * shape):
        kernel, hop = wave.unsqueeze(1), hop_length or n_fft // 4
        middle = F.conv1d((low + high) / 2, kernel, stride=hop)
        wide = F.conv1d((high - low) / 2, kernel.abs(), stride=hop)
        parts.append((middle - wide, middle + wide))
    return torch.complex(parts[0][0], parts[1][0]), torch.complex(parts[0][1], parts[1][1])


def _part(getter: Any) -> Callable[..., Tensor]:
    """The real or the imaginary part, whose ends are the same part of the ends."""

    def rule(relaxed: Relaxation, z: Tensor) -> Tensor:
        part: Tensor = getter(z)
        known = relaxed.interval(z)
        if known is not None:
            relaxed.note(part, *(getter(end) for end in known))
        return part

    return rule


RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((F.relu, torch.relu, _T.relu), _relu),
    **dict.fromkeys((torch.relu_, _T.relu_), _in_place(lines.RELU)),
    F.leaky_relu: _leaky_relu,
    F.gelu: _gelu,
    F.silu: _silu,
    F.elu: _elu,
    F.softplus: _softplus,
    **dict.fromkeys((torch.sigmoid, _T.sigmoid, F.sigmoid), _curve(lines.SIGMOID)),
    **dict.fromkeys((torch.tanh, _T.tanh, F.tanh), _curve(lines.TANH)),
    **dict.fromkeys((torch.exp, _T.exp), _curve(lines.EXP)),
    **dict.fromkeys((torch.log, _T.log), _curve(lines.LOG)),
    **dict.fromkeys((torch.sqrt, _T.sqrt), _curve(lines.SQRT)),
    **dict.fromkeys((torch.rsqrt, _T.rsqrt), _curve(lines.RSQRT)),
    **dict.fromkeys((torch.square, _T.square), _curve(lines.SQUARE)),
    **dict.fromkeys((torch.reciprocal, _T.reciprocal), _curve(lines.RECIPROCAL)),
    **dict.fromkeys((torch.abs, _T.abs, _T.__abs__), _curve(lines.ABS)),
    **dict.fromkeys((torch.pow, _T.pow, _T.__pow__), _power),
    **dict.fromkeys((torch.mul, torch.multiply, _T.mul, _T.multiply, _T.__mul__, _T.__rmul__), _times),
    **dict.fromkeys((torch.div, torch.divide, _T.div, _T.divide, _T.__truediv__), _divided),
    _T.__rtruediv__: _divided_into,
    **dict.fromkeys((torch.matmul, torch.bmm, torch.mm, _T.matmul, _T.bmm, _T.mm, _T.__matmul__), _matmul),
    F.linear: _linear,
    **dict.fromkeys((torch.maximum, _T.maximum), _largest_of_two),
    **dict.fromkeys((torch.minimum, _T.minimum), _minimum),
    **dict.fromkeys((torch.amax, _T.amax), _amax),
    **dict.fromkeys((torch.max, _T.max), _max),
    **dict.fromkeys((torch.min, _T.min), _min),
    F.max_pool1d: _max_pool(1),
    F.max_pool2d: _max_pool(2),
    F.max_pool3d: _max_pool(3),
    F.adaptive_max_pool1d: _adaptive_max_pool(1),
    F.adaptive_max_pool2d: _adaptive_max_pool(2),
    F.adaptive_max_pool3d: _adaptive_max_pool(3),
    **dict.fromkeys((F.softmax, torch.softmax, _T.softmax), _softmax),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, _T.log_softmax), _log_softmax),
    **dict.fromkeys((torch.logsumexp, _T.logsumexp), _log_sum_exp),
    F.scaled_dot_product_attention: _attention,
    F.layer_norm: _layer_norm,
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, torch.dropout), _dropout),
    **dict.fromkeys((torch.stft, _T.stft), _stft),
    **{getter: _part(getter) for getter in (_T.real.__get__, _T.imag.__get__)},
}
"""What takes the place of each function."""

_RANDOM = "rand randn randint randperm rand_like randn_like randint_like bernoulli normal multinomial poisson"
SEALED: dict[Any, str] = {
    **{getattr(torch, name): f"random numbers ({name})" for name in _RANDOM.split()},
    **{
        getattr(_T, name): f"random numbers ({name})"
        for name in ("normal_", "uniform_", "bernoulli_", "bernoulli", "exponential_", "random_", "multinomial")
    },
}
"""What is never let through, with the reason."""
