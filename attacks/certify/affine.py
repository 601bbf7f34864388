"""Is what a model computes affine, but for the steps that are bounded by lines?

The answer comes from autograd's own graph. Only nodes on a list pass; whatever is not on it, such
as a clamp, TorchScript or a function with a backward of its own, refuses.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from torch.autograd.graph import Node

_LINEAR = (
    "Add Alias AsStrided Cat Clone Conj Copy Cumsum Diagonal Expand FftC2C FftC2R FftR2C Flip Gather Imag Index"
    " IndexAdd IndexPut IndexSelect MaskedFill Mean Narrow Neg Permute Real Repeat ReshapeAlias Roll Rsub Scatter"
    " ScatterAdd Select Slice Split SplitWithSizes Squeeze Stack Sub Sum T ToCopy Transpose Tril Triu Unbind"
    " Unfold Unsqueeze UnsafeView View ViewAsComplex ViewAsReal Where"
    " ConstantPadNd ReflectionPad1D ReflectionPad2D ReflectionPad3D ReplicationPad1D ReplicationPad2D"
    " ReplicationPad3D"
    " AdaptiveAvgPool1D AdaptiveAvgPool2D AdaptiveAvgPool3D AvgPool2D AvgPool3D Im2Col Col2Im PixelShuffle"
    " UpsampleBilinear2D UpsampleLinear1D UpsampleNearest1D UpsampleNearest2D UpsampleNearest3D"
    " UpsampleNearestExact1D UpsampleNearestExact2D UpsampleBicubic2D UpsampleTrilinear3D"
)
ALWAYS = frozenset(f"{name}Backward{number}" for name in _LINEAR.split() for number in range(3)) | {
    "torch::autograd::CopyBackwards",
    "torch::autograd::AccumulateGrad",
}
"""Affine in all that depends on the inputs."""
PRODUCTS = {
    "MulBackward0": (0, 1),
    "MmBackward0": (0, 1),
    "BmmBackward0": (0, 1),
    "MvBackward0": (0, 1),
    "DotBackward0": (0, 1),
    "AddmmBackward0": (1, 2),
    "AddmvBackward0": (1, 2),
    "AddbmmBackward0": (1, 2),
    "BaddbmmBackward0": (1, 2),
    "ConvolutionBackward0": (0, 1),
}
"""Affine where only one of these two factors depends on the inputs."""
QUOTIENTS = {"DivBackward0": (1,), "EmbeddingBackward0": ()}
"""Affine where none of these depends on them."""
NORMALISED = ("NativeBatchNormBackward0", "CudnnBatchNormBackward0", "MiopenBatchNormBackward0")


class Uncertified(Exception):
    """A model or a scenario that cannot be certified. The message says which step is in the way."""


class Affine:
    """Checks results of one forward pass; what was checked before is not walked again.

    Args:
        bounded: the autograd functions whose backward is a bound.
    """

    def __init__(self, bounded: Collection[type]) -> None:
        self._bounded = tuple(each._backward_cls for each in bounded)  # type: ignore[attr-defined]
        self._seen: dict[int, Node] = {}

    def check(self, result: Tensor) -> None:
        """Raise Uncertified, naming the first step that is neither affine nor bounded."""
        left = [result.grad_fn] if result.grad_fn is not None else []
        while left:
            node = left.pop()
            if id(node) in self._seen:
                continue
            self._seen[id(node)] = node  # held, so that no other node takes its number
            if not isinstance(node, self._bounded):
                _refuse_unless_affine(node)
            left += [above for above, _ in node.next_functions if above is not None]


def _refuse_unless_affine(node: Node) -> None:
    name = node.name()
    if isinstance(node, torch.autograd.function.BackwardCFunction):
        raise Uncertified(f"a function with a backward of its own ({name})")
    depends = [above is not None for above, _ in node.next_functions]
    factors = [depends[place] for place in PRODUCTS.get(name, ()) if place < len(depends)]
    below = [depends[place] for place in QUOTIENTS.get(name, ()) if place < len(depends)]
    affine = (
        name in ALWAYS
        or (name in PRODUCTS and sum(factors) < 2)
        or (name in QUOTIENTS and not any(below))
        or (name in NORMALISED and not getattr(node, "_saved_training", True) and depends[0] and not any(depends[1:]))
    )
    if not affine:
        raise Uncertified(operation(name))


def operation(node: str) -> str:
    """The name of an operation, from that of its node: ClampBackward1 is clamp."""
    return node.removeprefix("torch::autograd::").partition("Backward")[0].lower() or node
