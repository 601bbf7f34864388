"""Methods of attribution: gradients, ablation and games."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from attacks.region import Inputs
from harness.analysis.measures import bits, shapley
from harness.engine.sweep import MAX_SUBSETS
from harness.tasks import Batch, Modality, Task

GRADIENTS, ABLATION, SHOWN = "integrated gradients", "feature ablation", "shown"
STEPS, MORE_STEPS = 64, 256  # steps of the path from the stand-ins to the input
CERTAIN = 100.0  # larger margins, which models give to impossible classes, are cut to this in a game
# as a share of the difference that attributions add up to: the gap allowed before more steps, then
# ablation, take over
TRUSTED = 0.1
AT_ONCE = 64  # inputs the model sees together
PIECES = 64  # the approximate number of parts of an image or a sound that are removed one by one


@dataclass(frozen=True, eq=False)
class Case:
    """One condition of a few samples: the inputs (B, ...) as they are there, and which modalities
    are present, bool (B, M).
    """

    name: str
    batch: Batch
    present: Tensor

    def of(self, row: int) -> Case:
        """One of the samples."""
        return Case(self.name, self.batch.take([row]), self.present[row : row + 1])


@dataclass(frozen=True, eq=False)
class Explanation:
    """The result of one method for a case.

    Attributes:
        parts: for each modality, (B, *shape); for a model's internal form of a modality, under
            ``modality, name``.
        output, baseline: the attributed number at the inputs and at the stand-ins, (B,).
    """

    method: str
    parts: Inputs
    output: Tensor
    baseline: Tensor

    def delta(self, names: Sequence[str]) -> Tensor:
        """The gap between the sum of the attributions of these modalities and the difference that
        they should add up to, (B,).
        """
        return sum((self.parts[name].flatten(1).sum(1) for name in names), torch.zeros_like(self.output)) - (
            self.output - self.baseline
        )


def explained(module: nn.Module, task: Task, case: Case) -> Explanation:
    """Integrated gradients from the stand-ins to the inputs (Sundararajan et al., ICML 2017);
    ablation if the gradients do not add up to the difference.

    More steps are tried first, because a path with kinks needs them. For a model without gradients,
    each part is replaced by its stand-in, and the drop of the output is its attribution. Text is
    attributed by position.
    """
    found = _along(module, task, case, STEPS)
    if not _adds_up(found, task):
        found = _along(module, task, case, MORE_STEPS)
    if not _adds_up(found, task):
        found = _ablated(module, task, case)
    inside = dict(_inside(module, task, case)) if found.method == GRADIENTS else {}
    parts = {name: part.sum(-1) if task.modality(name).kind == "text" else part for name, part in found.parts.items()}
    return Explanation(found.method, {**parts, **inside}, found.output, found.baseline)


def _adds_up(found: Explanation, task: Task) -> bool:
    """Whether it does for every sample."""
    span = (found.output - found.baseline).abs().clamp_min(1e-3)
    return bool((found.delta(task.names).abs() <= TRUSTED * span).all())


def _along(module: nn.Module, task: Task, case: Case, steps: int) -> Explanation:
    from captum.attr import IntegratedGradients

    stands, inputs, baselines, rest = _standing(module, task, case)
    parts = IntegratedGradients(stands).attribute(
        inputs,
        baselines,
        additional_forward_args=rest,
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=AT_ONCE,
    )
    return _explanation(GRADIENTS, stands, task, parts, inputs, baselines, rest)


def _ablated(module: nn.Module, task: Task, case: Case) -> Explanation:
    from captum.attr import FeatureAblation

    stands, inputs, baselines, rest = _standing(module, task, case)
    masks, first = [], 0
    for modality, x in zip(task.modalities, inputs, strict=True):
        mask = pieces(modality, x.shape[1:]).to(x.device) + first
        first = int(mask.max()) + 1
        masks.append(mask[None])
    with torch.no_grad():
        parts = FeatureAblation(stands).attribute(
            inputs, baselines, additional_forward_args=rest, feature_mask=tuple(masks)
        )
    # a piece's effect, shared by its values
    counted = [part / _sizes(mask[0])[None] for part, mask in zip(parts, masks, strict=True)]
    return _explanation(ABLATION, stands, task, counted, inputs, baselines, rest)


def _explanation(
    method: str,
    stands: Callable[..., Tensor],
    task: Task,
    parts: Sequence[Tensor],
    inputs: Any,
    baselines: Any,
    rest: Any,
) -> Explanation:
    with torch.no_grad():
        output, baseline = stands(*inputs, *rest), stands(*baselines, *rest)
    named = {name: part.detach().to(output.dtype) for name, part in zip(task.names, parts, strict=True)}
    return Explanation(method, named, output.detach(), baseline.detach())


def _standing(
    module: nn.Module, task: Task, case: Case
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...], tuple[Tensor, ...], Any]:
    """The attributed number as a function of all modalities, the inputs, the stand-ins, and the
    extra inputs beside them.
    """
    inputs = tuple(case.batch.inputs[name] for name in task.names)
    baselines = tuple(
        modality.stand_in(x).expand_as(x).clone() for modality, x in zip(task.modalities, inputs, strict=True)
    )
    given = tuple(case.batch.inputs[name] for name in task.extra_inputs)
    count = len(task.names)

    def stands(*args: Tensor) -> Tensor:
        xs, (*others, targets, present) = args[:count], args[count:]
        named = {**dict(zip(task.names, xs, strict=True)), **dict(zip(task.extra_inputs, others, strict=True))}
        margin = _margin(module, task, named, targets, present)
        # a modality that is not read has gradient 0
        unread = sum((0 * x.flatten(1).sum(1) for x in xs), torch.zeros_like(margin))
        return unread - margin

    return stands, inputs, baselines, (*given, case.batch.targets, case.present)


def _margin(module: nn.Module, task: Task, inputs: Inputs, targets: Tensor, present: Tensor) -> Tensor:
    """The margin (B,), below 0 where a sample withstands; of an answer made of many parts, the mean
    of theirs, as the margin itself is that of one part.
    """
    verdict = task.problem.verdict(module(task.with_stand_ins(inputs, present), present), targets)
    if verdict.parts is None:
        return verdict.losses["margin"]
    margins = verdict.parts.margins.flatten(1)
    counted = margins > float("-inf")
    return torch.where(counted, margins, 0.0).sum(1) / counted.sum(1)


def pieces(modality: Modality, shape: Sequence[int]) -> Tensor:
    """Which piece each value of a sample belongs to, whole numbers from 0 of the given shape: about
    64 in each modality.

    Squares of an image or of all frames of a video, windows of a sound, positions of a text, single
    features or runs of them.
    """
    if modality.kind == "text":
        return torch.arange(shape[0])[:, None].expand(*shape).clone()
    if modality.kind in ("image", "video") and len(shape) >= 2:
        side = max(1, math.isqrt(shape[-2] * shape[-1] // PIECES))
        rows, columns = (torch.arange(length) // side for length in shape[-2:])
        return (rows[:, None] * (int(columns.max()) + 1) + columns).expand(*shape).clone()
    size = math.prod(shape)
    return (torch.arange(size) * min(PIECES, size) // size).view(*shape)


def _sizes(mask: Tensor) -> Tensor:
    """The number of values in the piece of each value."""
    low = mask - mask.min()
    return low.flatten().bincount()[low]


def _inside(module: nn.Module, task: Task, case: Case) -> Iterator[tuple[str, Tensor]]:
    """Integrated gradients of the internal form of a modality that parts of the model show
    (`shows`), such as its log-mel energies.
    """
    from captum.attr import LayerIntegratedGradients

    showing = [
        part for part in module.modules() if getattr(part, "shows", "") and getattr(part, "of", "") in task.names
    ]
    for part in showing:
        if sum(other.of == part.of and other.shows == part.shows for other in showing) > 1:
            continue  # computed twice, as in an ensemble: neither is the model's only internal form
        stands, inputs, baselines, rest = _standing(module, task, case)
        found = LayerIntegratedGradients(stands, part).attribute(
            inputs,
            baselines,
            additional_forward_args=rest,
            n_steps=STEPS,
            method="gausslegendre",
            internal_batch_size=AT_ONCE,
        )
        yield f"{part.of}, {part.shows}", found.detach()[: len(case.batch)]


@torch.no_grad()
def games_of(module: nn.Module, task: Task, case: Case) -> Inputs:
    """Each modality's exact Shapley value for the distance of a sample from failing, (B,), over all
    sets of the modalities that are present; required ones are in every set, and are no players.
    """
    players = [task.names.index(name) for name in task.optional]
    if len(players) > MAX_SUBSETS:
        return {}
    values = {}
    for size in range(len(players) + 1):
        for members in combinations(range(len(players)), size):
            present = case.present.clone()
            present[:, [place for at, place in enumerate(players) if at not in members]] = False
            margin = _margin(module, task, case.batch.inputs, case.batch.targets, present).clamp(-CERTAIN, CERTAIN)
            values[bits(len(players), members)] = -margin.double().cpu().numpy()
    return {name: torch.from_numpy(shapley(values, at)) for at, name in enumerate(task.optional)}
