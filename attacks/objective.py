"""The aim of an attack: a model's verdict on inputs, with losses to raise and a failure to
reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput, ModelBroke, unknown
from attacks.region import Inputs, Region

DLR_CLASSES = 4  # the fewest for which DLR says more than the margin
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Parts:
    """An answer that has many parts, such as a map of pixels.

    Attributes:
        margins: how far each part is from failing, (B, ...); negative where it is right, -inf where
            it is ignored; differentiable.
        quota: how many parts must fail before the sample has, int64 (B,).
        ways: the margins of the R nearest ways to fail (other classes of a pixel), (B, R, ...),
            nearest first. They cost more than an answer, so they are computed when asked for.
    """

    margins: Tensor
    quota: Tensor
    ways: Callable[[], Tensor]


class LossesOnDemand(Mapping[str, Tensor]):
    """Losses by name, each computed whenever it is looked up.

    An attack raises one of them, and a check of an answer needs no loss. For a map, each loss costs
    more than the answer.
    """

    def __init__(self, computed: Mapping[str, Callable[[], Tensor]]) -> None:
        self._computed = computed

    def __getitem__(self, name: str) -> Tensor:
        return self._computed[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._computed)

    def __len__(self) -> int:
        return len(self._computed)


@dataclass(frozen=True, eq=False)
class Verdict:
    """The result of a model on a batch.

    Attributes:
        losses: per name, a loss per sample (B,), higher is nearer to failing, differentiable. The
            first is what attacks raise by default; one is named ``margin`` and is negative exactly
            where a sample withstands.
        fails: whether each sample fails, bool (B,).
        margins: for a classifier, how far each class is ahead of the right one (B, K), -inf at the
            right one, differentiable; an attack may aim at one class.
        scores: for an answer that decays instead of flipping, how good each still is, in [0, 1],
            (B,), without a gradient. Attacks keep the iterate of the lowest score.
        parts: for an answer made of many, how each stands.
    """

    losses: Mapping[str, Tensor]
    fails: Tensor
    margins: Tensor | None = None
    scores: Tensor | None = None
    parts: Parts | None = None


@runtime_checkable
class Loss(Protocol):
    """The number of a verdict that an attack raises. It is bound to a batch, as its objective
    is.
    """

    def __call__(self, verdict: Verdict) -> Tensor:
        """The number, (B,)."""

    def take(self, rows: Tensor) -> Loss:
        """The same for the chosen rows only."""


@dataclass(frozen=True)
class Named:
    """A loss of the objective by its name; its first, if none is named."""

    name: str | None = None

    def __call__(self, verdict: Verdict) -> Tensor:
        if self.name is None:
            return next(iter(verdict.losses.values()))
        if self.name not in verdict.losses:
            raise unknown("loss", self.name, verdict.losses)
        return verdict.losses[self.name]

    def take(self, rows: Tensor) -> Named:
        return self


@dataclass(frozen=True, eq=False)
class Toward:
    """The margin of one chosen wrong class per sample, int64 (B,)."""

    classes: Tensor

    def __call__(self, verdict: Verdict) -> Tensor:
        assert verdict.margins is not None, "only a classifier has classes to aim at"
        return verdict.margins.gather(1, self.classes[:, None]).squeeze(1)

    def take(self, rows: Tensor) -> Toward:
        return Toward(self.classes[rows])


@runtime_checkable
class Objective(Protocol):
    """A verdict on inputs, bound to one batch of targets.

    Calls must be per sample: one row's verdict may not depend on the other rows.
    """

    def __call__(self, inputs: Inputs) -> Verdict:
        """Judge a batch, one tensor (B, ...) per modality."""

    def take(self, rows: Tensor) -> Objective:
        """The same objective for the chosen rows only."""

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> Objective:
        """An equal objective that may reuse its results on `inputs` outside the `moving`
        modalities.
        """


def classification_verdict(logits: Tensor, labels: Tensor) -> Verdict:
    """Cross-entropy, margin and DLR of logits (B, K), labels (B,).

    The margin is the largest wrong logit minus the right one; a tie counts as a failure: the right
    class is not ahead. DLR (Croce & Hein, ICML 2020) divides it by the distance of the first from
    the third logit; with fewer than four classes it is left out, as that distance then all but
    follows the margin.

    Raises:
        BadInput: logits or labels are of another shape or type.
    """
    if logits.ndim != 2 or logits.shape[1] < 2 or labels.shape != logits.shape[:1] or labels.dtype != torch.int64:
        raise BadInput(
            f"logits of shape {tuple(logits.shape)} with labels of shape {tuple(labels.shape)}, {labels.dtype}: "
            "give logits (B, K) for two classes or more, and labels int64 (B,)"
        )
    right = logits.gather(1, labels[:, None])
    margins = (logits - right).scatter(1, labels[:, None], float("-inf"))
    margin = margins.amax(1)
    losses = {"cross_entropy": F.cross_entropy(logits, labels, reduction="none"), "margin": margin}
    if logits.shape[1] >= DLR_CLASSES:
        first, _, third = logits.topk(3, dim=1).values.unbind(1)
        losses["dlr"] = margin / (first - third).clamp_min(TINY)
    return Verdict(losses, margin >= 0, margins)


@dataclass(frozen=True, eq=False)
class Classification:
    """A classifier of plain tensors that must keep predicting `labels`.

    Attributes:
        forward: maps a dict of inputs to logits (B, K), K ≥ 2; a module or any function.
        labels: int64 (B,).
    """

    forward: Callable[[Inputs], Tensor]
    labels: Tensor

    def __call__(self, inputs: Inputs) -> Verdict:
        return classification_verdict(self.forward(inputs), self.labels)

    def take(self, rows: Tensor) -> Classification:
        return Classification(self.forward, self.labels[rows])

    def holding(self, inputs: Inputs, moving: tuple[str, ...]) -> Classification:
        return self


def judged_gradient(objective: Objective, region: Region, at: Inputs, loss: Loss) -> tuple[Verdict, Tensor, Inputs]:
    """The verdict at the attacked modalities `at`, the loss (B,) there, and its gradient.

    A modality the model does not read gets a zero gradient. No parameter's `.grad` is touched.
    """
    leaves = {name: x.detach().requires_grad_() for name, x in at.items()}
    with torch.enable_grad():
        verdict = objective(region.complete(leaves))
        value = loss(verdict)
        found: tuple[Tensor | None, ...] = (None,) * len(leaves)
        if value.requires_grad:
            found = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True)
    gradient = {
        name: torch.zeros_like(x) if part is None else torch.nan_to_num(part)
        for (name, x), part in zip(at.items(), found, strict=True)
    }
    return verdict, value.detach().float(), gradient


def refuse_nan(broken: Tensor) -> None:
    """Raise ModelBroke where the model answered NaN, bool (B,). Waits for the device."""
    if bool(broken.any()):
        raise ModelBroke(
            f"the model answers NaN on {int(broken.sum())} of {len(broken)} samples under attack: mend the model"
        )


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Evaluate a model and leave no trace, also after an exception.

    Inside, the model is in evaluation mode, and its recurrent layers run without cuDNN, which
    differentiates them in training mode only. Afterwards the mode of every module, the gradients
    and `requires_grad` of every parameter, every buffer, and torch's global random state are as
    they were.
    """
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(p, p.requires_grad, p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with (
        torch.random.fork_rng(devices=devices),
        _without_cudnn(m for m in model.modules() if isinstance(m, nn.RNNBase)),
    ):
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for buffer, content in buffers:
                buffer.copy_(content)
            for parameter, requires_grad, gradient, values in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient
                if gradient is not None and values is not None:
                    gradient.copy_(values)


@contextmanager
def _without_cudnn(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Inside, these modules are called with cuDNN off; all others as ever."""
    before: list[bool] = []

    def off(*_: object) -> None:
        before.append(torch.backends.cudnn.enabled)
        torch.backends.cudnn.enabled = False

    def back(*_: object) -> None:
        torch.backends.cudnn.enabled = before.pop()

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_pre_hook(off).remove)
            hooks.callback(module.register_forward_hook(back, prepend=True, always_call=True).remove)
        yield
