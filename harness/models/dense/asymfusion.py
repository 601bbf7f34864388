"""AsymFusion (Wang et al., Learning deep multimodal feature representation with asymmetric
multi-layer fusion, ACM MM 2020): two modalities share every convolution, and swap and shift
channels without parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.errors import BadInput
from attacks.norms import per_sample
from harness.models.dense.branches import ENSEMBLE, branched
from harness.models.dense.refinenet import DecoderName
from harness.models.dense.resnet import Bottleneck, Maps, Place, SizeName, rectified
from harness.models.fused import Fused
from harness.tasks import Task

PARTS = 5  # of the channels, of which the last goes to the other modality
OFFSETS = ((-1, 0), (0, -1), (0, 1), (1, 0))  # rows and columns to the pixel that each group reads
MOST = 2  # modalities


class Shuffling(Bottleneck):
    """The last bottleneck of a stage: a shuffle after its first norm, and, after its second, the
    other modality's shifted map and another shuffle.
    """

    def inside(self, maps: Maps, here: Tensor) -> Maps:
        if len(maps) == 1:
            return super().inside(maps, here)
        both = per_sample(here.all(1), maps[0])
        moved = [torch.where(both, shifted(x), 0.0) for x in reversed(maps)]
        mixed = rectified(self.middle(shuffled(maps, both)))
        return shuffled([x + y for x, y in zip(mixed, moved, strict=True)], both)


def group(channels: int) -> int:
    """g, the channels of a group."""
    return channels // PARTS


def shuffled(maps: Maps, both: Tensor) -> Maps:
    """Two maps (B, C, H, W) that keep their first 4g channels and swap the others; each keeps all
    in samples that lack the other, bool (B, 1, 1, 1).
    """
    own = len(OFFSETS) * group(maps[0].shape[1])
    return [
        torch.where(both, torch.cat([x[:, :own], other[:, own:]], 1), x)
        for x, other in zip(maps, reversed(maps), strict=True)
    ]


def shifted(x: Tensor) -> Tensor:
    """The first four groups of channels of (B, C, H, W) moved down, right, left and up by a pixel;
    zeros at the edge and in the remaining channels.
    """
    size, (height, width) = group(x.shape[1]), x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    parts = [
        padded[:, place * size : (place + 1) * size, 1 + row : 1 + row + height, 1 + column : 1 + column + width]
        for place, (row, column) in enumerate(OFFSETS)
    ]
    return torch.cat([*parts, torch.zeros_like(x[:, len(OFFSETS) * size :])], 1)


def asymfusion(task: Task, size: SizeName = "small", decoder: DecoderName = "refinenet", read: str = ENSEMBLE) -> Fused:
    """AsymFusion: one network with private norms; two modalities shuffle and shift channels.

    They do so at the end of each stage; recipe asymfusion trains it.

    Args:
        read: the ensemble, or the modality whose branch answers, from the same weights.

    Raises:
        BadInput: the task asks for no map, has more than two modalities, or one that is no image
            that fits.
    """
    if len(task.names) > MOST:
        raise BadInput(
            f"task {task.name!r} has {len(task.names)} modalities, and AsymFusion swaps the channels of two: "
            "choose model 'cen'"
        )
    return branched(task, _placed, size, decoder, read)


def _placed(place: Place) -> Bottleneck:
    return Shuffling(place) if place.last else Bottleneck(place)
