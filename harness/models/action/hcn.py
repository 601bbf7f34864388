"""HCN, hierarchical co-occurrence network (Li et al., IJCAI 2018): convolutions over a skeleton
whose joints become channels.

After a public port to PyTorch, which is also what MMTM's fusion was read in. Positions and motion
have a branch each with the same layers; persons share all weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.fused import Fused
from harness.models.fusion.mean import mean_of_present
from harness.models.option_types import OneOrMore, Share
from harness.tasks import Modality, Task

POINT, JOINT_MAPS, BRANCH, TOGETHER, LAST = 64, 32, 64, 128, 256
"""Channels after each convolution; the second has as many as there are frames."""
SHORTEST, CENTRAL = 0.5, 0.95  # shares of the frames: the least in training, and in tests
HALVED = 16  # the positions along an axis after four poolings, as a share


class Prepared(nn.Module):
    """A skeleton (B, 3, T, V, M) around the first joint of the first person in every frame, and a
    part of its frames stretched to all: a random part in training, else the central one. Persons
    who are not there are zeros and stay so.
    """

    def forward(self, x: Tensor) -> Tensor:
        there = x.flatten(1, 3).any(1)[:, None, None, None]
        x = torch.where(there, x - x[:, :, :, :1, :1], 0.0)
        total = x.shape[2]
        kept = max(2, round(total * (float(torch.empty(()).uniform_(SHORTEST, 1)) if self.training else CENTRAL)))
        start = int(torch.randint(total - kept + 1, ())) if self.training else (total - kept) // 2
        part = x[:, :, start : start + kept].flatten(3)
        return F.interpolate(part, size=(total, part.shape[3]), mode="bilinear", align_corners=True).reshape(x.shape)


class Standardised(nn.Module):
    """Coordinates (B, 3, T, V), each with mean 0 and variance 1 over the persons of the training
    data; persons who are not there stay zeros. The port has no such layer and 400 epochs. Without
    it, 20 epochs on small motions in metres learn nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, eps=1e-10, affine=False)  # motions of millimetres too

    def forward(self, x: Tensor) -> Tensor:
        there = x.flatten(1).any(1)
        if not bool(there.any()):
            return x
        return torch.zeros_like(x).index_put((there,), self.norm(x[there]))


class Branch(nn.Module):
    """Frames and joints (B, 3, T, V) to maps (B, 64, T / 4, T / 4): first over the frames of every
    joint, then joints are channels.
    """

    def __init__(self, frames: int, joints: int, dropout: float) -> None:
        super().__init__()
        self.point = nn.Sequential(Standardised(), nn.Conv2d(3, POINT, 1), nn.ReLU())
        self.frames = nn.Conv2d(POINT, frames, (3, 1), padding=(1, 0))
        self.joints = nn.Sequential(nn.Conv2d(joints, JOINT_MAPS, 3, padding=1), nn.MaxPool2d(2))
        self.maps = nn.Sequential(nn.Conv2d(JOINT_MAPS, BRANCH, 3, padding=1), nn.Dropout2d(dropout), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.maps(self.joints(self.frames(self.point(x)).permute(0, 3, 2, 1)))
        return maps


class Positions(nn.Module):
    """A skeleton (B, 3, T, V, M) to maps of positions and motion side by side, (B, M, 128, T / 4,
    T / 4).
    """

    def __init__(self, frames: int, joints: int, dropout: float) -> None:
        super().__init__()
        self.prepared = Prepared()
        self.places, self.motion = (Branch(frames, joints, dropout) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.prepared(x)
        persons = x.permute(0, 4, 1, 2, 3).flatten(0, 1)
        maps: Tensor = torch.cat([self.places(persons), self.motion(moved(persons))], 1)
        return maps.reshape(len(x), x.shape[4], *maps.shape[1:])


def moved(x: Tensor) -> Tensor:
    """The motion of (B, 3, T, V) from frame to frame, stretched to as many frames."""
    return F.interpolate(x[:, :, 1:] - x[:, :, :-1], size=x.shape[2:], mode="bilinear", align_corners=False)


class Convolved(nn.Module):
    """The same convolution of the maps (B, M, C, h, w) of every person, to half the size."""

    def __init__(self, narrow: int, wide: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(), nn.Dropout2d(dropout), nn.MaxPool2d(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.layers(x.flatten(0, 1))
        return maps.reshape(*x.shape[:2], *maps.shape[1:])


class Merged(nn.Module):
    """The maps of all persons, convolved, to the largest of them (B, C, h, w)."""

    def __init__(self, narrow: int, wide: int, dropout: float) -> None:
        super().__init__()
        self.convolved = Convolved(narrow, wide, dropout)

    def forward(self, x: Tensor) -> Tensor:
        largest: Tensor = self.convolved(x).amax(1)
        return largest


def skeleton_stages(modality: Modality, hidden: int, dropout: float) -> tuple[nn.ModuleList, list[int]]:
    """The parts of HCN after `Positions`, and the channels after each: maps of persons, maps, a
    vector.
    """
    positions = (modality.shape[1] // HALVED) ** 2
    vector = nn.Sequential(nn.Flatten(), nn.Linear(LAST * positions, hidden), nn.ReLU(), nn.Dropout(dropout))
    stages = nn.ModuleList([Convolved(TOGETHER, TOGETHER, dropout), Merged(TOGETHER, LAST, dropout), vector])
    return stages, [TOGETHER, LAST, hidden]


def skeleton_of(task: Task, model: str) -> Modality:
    """The modality that is a skeleton.

    Raises:
        BadInput: there is none, or more than one, or it has too few frames.
    """
    found = [each for each in task.modalities if _is_skeleton(each)]
    if len(found) != 1:
        raise BadInput(
            f"model {model!r} reads one skeleton, features of shape (3, frames, joints, persons) with at least {HALVED}"
            f" frames, and task {task.name!r} has {len(found) or 'none'}: choose another model"
        )
    return found[0]


def _is_skeleton(modality: Modality) -> bool:
    shape = modality.shape
    return modality.kind == "features" and len(shape) == 4 and shape[0] == 3 and shape[1] >= HALVED


class Alone(nn.Module):
    """One stream: its stages and a classifier; zeros where its modality is missing."""

    def __init__(self, stages: nn.ModuleList, head: nn.Module) -> None:
        super().__init__()
        self.stages, self.head = stages, head

    def forward(self, features: list[Tensor], here: Tensor) -> Tensor:
        x = features[0]
        for stage in self.stages:
            x = stage(x)
        return mean_of_present([self.head(x)], here)


def hcn(task: Task, hidden: OneOrMore = 256, dropout: Share = 0.5) -> Fused:
    """HCN: what a person does, from a skeleton alone.

    Args:
        hidden: of the last layer but one; 256 or 512 in the port.

    Raises:
        BadInput: the task has no skeleton, or several.
    """
    modality = skeleton_of(task, "hcn")
    stages, channels = skeleton_stages(modality, hidden, dropout)
    first = Positions(modality.shape[1], modality.shape[2], dropout)
    return Fused(task, {modality.name: first}, Alone(stages, nn.Linear(channels[-1], task.width)))
