"""Robust fusion (Yang et al., Defending multimodal fusion models against single-source adversaries,
CVPR 2021).

An odd-one-out network o finds the modality that is inconsistent with the rest. Its output mixes
experts: one that leaves out each modality, and one that sees them all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attacks.errors import BadInput
from attacks.region import Inputs
from harness.models.encoders import encoder
from harness.models.fused import Fused, without_missing
from harness.tasks import Task

WIDTH, HIDDEN = 64, 64
SLOPE = 0.1


class OddOneOutNetwork(nn.Module):
    """o(z): which of k features is inconsistent with the others.

    With k = 2 there is no majority: only traces of an attack can tell which of the two it is.
    """

    def __init__(self, size: int, modalities: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(size * modalities, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, modalities + 1)
        )

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        """Probabilities (B, k + 1): entry i that modality i is odd, the last that no modality is
        odd.

        Where modalities are missing, only these can be odd. If exactly one is missing, the rest
        goes to the expert without it.
        """
        logits: Tensor = self.mlp(torch.cat(without_missing(features, here), dim=1))
        complete = here.all(1, keepdim=True)
        possible = torch.cat([~here | complete, complete], dim=1)
        return logits.masked_fill(~possible, float("-inf")).softmax(1)


class RobustFusion(nn.Module):
    """The robust fusion layer, z_out = Σ_i e_i(z) · o(z)_i with e_i = NN(⊕z_{-i}) and e_{k+1} =
    NN(⊕z), and a linear map of it.

    Each expert ends in a layer norm, so all outputs have the same scale. Otherwise an attacked
    modality with a tiny weight from o could win by making the outputs of its experts large.

    Args:
        size: of each of the k features.
        hidden: the width of z_out, and of the odd-one-out network.
    """

    def __init__(self, size: int, modalities: int, outputs: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.odd = OddOneOutNetwork(size, modalities, hidden)
        seen = [modalities - 1] * modalities + [modalities]
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(size * count, hidden), nn.ReLU(), nn.LayerNorm(hidden)) for count in seen
        )
        self.head = nn.Linear(hidden, outputs)

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        return self.mixed(features, here, self.odd(features, here))

    def mixed(self, features: list[Tensor], here: Tensor, odd: Tensor) -> Tensor:
        """Outputs (B, width), given the output `odd` (B, k + 1) of the odd-one-out network."""
        outputs: Tensor = self.head((self.answers(features, here) * odd[:, :, None]).sum(1))
        return outputs

    def answers(self, features: list[Tensor], here: Tensor) -> Tensor:
        """e_i(z) of every expert, (B, k + 1, hidden)."""
        seen = without_missing(features, here)
        views = [seen[:left_out] + seen[left_out + 1 :] for left_out in range(len(seen))] + [seen]
        return torch.stack(
            [expert(torch.cat(view, dim=1)) for expert, view in zip(self.experts, views, strict=True)], dim=1
        )

    def alone(self, features: list[Tensor], here: Tensor) -> Tensor:
        """Outputs (B, k + 1, width); entry i is the output of expert i alone: o = one-hot(i)."""
        outputs: Tensor = self.head(self.answers(features, here))
        return outputs


class RobustlyFused(nn.Module):
    """A factored model with robust fusion that also returns the output of its odd-one-out
    network.
    """

    def __init__(self, fused: Fused) -> None:
        super().__init__()
        self.encoded = fused.encoded
        self.fused = fused

    def encode(self, name: str, x: Tensor) -> Tensor:
        """Features (B, D) of one modality in raw units."""
        return self.fused.encode(name, x)

    def fuse(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, width); a missing modality's features have no influence."""
        return self.fused.fuse(features, present)

    def forward(self, inputs: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, width) of inputs (B, ...) per modality."""
        outputs: Tensor = self.fused(inputs, present)
        return outputs

    def odd(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        """Probabilities (B, k + 1); see `OddOneOutNetwork`."""
        said: Tensor = self.fused.fusion.get_submodule("odd")(*self.fused.ordered(features, present))
        return said

    def alone(self, features: Inputs, present: Tensor | None = None) -> Tensor:
        """Outputs (B, k + 1, width) of each expert alone; see `RobustFusion`."""
        outputs: Tensor = self.fused.fusion.alone(*self.fused.ordered(features, present))  # type: ignore[operator]
        return outputs


def robust_fusion(task: Task) -> RobustlyFused:
    """Robust fusion: experts that each leave out a modality, mixed by an odd-one-out network (Yang
    et al., CVPR 2021).

    Raises:
        BadInput: the task has only one modality.
    """
    if len(task.names) == 1:
        raise BadInput(
            f"task {task.name!r} has only {task.names[0]!r}: robust fusion needs a second modality, or train model"
            " 'concat'"
        )
    fusion = RobustFusion(WIDTH, len(task.names), task.width)
    encoders = {modality.name: encoder(modality, WIDTH) for modality in task.modalities}
    return RobustlyFused(Fused(task, encoders, fusion))
