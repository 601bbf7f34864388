"""A task of videos with sound."""

import torch

from harness.tasks import Task

SHAPE = (3, 6, 12, 12)


def clips() -> Task:
    """Does the spot move right, and is the sound loud? Two answers, four classes."""
    generator = torch.Generator().manual_seed(0)
    right, loud = torch.randint(2, (2, 80), generator=generator)
    clip = 0.1 * torch.rand(80, *SHAPE, generator=generator)
    for frame in range(SHAPE[1]):
        place = torch.where(right == 1, 2 + frame, 9 - frame)
        clip[torch.arange(80), :, frame, 6, place] = 1.0
    sound = (0.2 + loud[:, None]) * torch.randn(80, 400, generator=generator)
    return Task.from_arrays(
        {"clip": clip, "sound": sound},
        right + 2 * loud,
        name="clips",
        kinds={"clip": "video", "sound": "audio"},
        ranges={"clip": (0, 1)},
    )
