"""Counting at a glance: which kinds there are, and that they are read from the mean of the places
and from nothing else.
"""

import torch

from harness.models.counting.backbone import CHANNELS
from harness.models.counting.kind_count_loss import Glance, counted

BOX = [0.1, 0.1, 0.2, 0.2]
NONE = [-1.0] * 6
SCENES = torch.tensor([[[*BOX, 0, 2], [*BOX, 1, 2], [*BOX, 0, 2], NONE], [[*BOX, 1, 0], NONE, NONE, NONE]])


def test_kinds_are_two_labels_together_or_the_one_there_is() -> None:
    assert counted(SCENES, [2, 3]).tolist() == [[0, 0, 2, 0, 0, 1], [0, 0, 0, 1, 0, 0]]
    assert counted(SCENES[..., :5], [2]).tolist() == [[2, 1], [0, 1]]
    three = torch.cat([SCENES, SCENES[..., 4:5]], 2)
    assert counted(three, [2, 3, 2]).tolist()[1] == [0, 0, 0, 1, 0, 0, *[0, 0, 0, 1], *[0, 1, 0, 0, 0, 0]]
    assert not counted(torch.full((2, 3, 6), -1.0), [2, 3]).any()


def test_what_is_read_is_the_mean() -> None:
    """A grid in which each kind has a channel of its own is read without error, wherever its places
    are; another is not.
    """
    torch.manual_seed(0)
    objects = SCENES.repeat(8, 1, 1)[torch.randperm(16)]
    kinds = counted(objects, [2, 3])
    grid = torch.zeros(16, CHANNELS, 4, 4)
    grid[:, : kinds.shape[1], 1, 2] = kinds
    glance = Glance([2, 3])
    optimizer = torch.optim.Adam(glance.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        glance(grid, objects).backward()
        optimizer.step()
    glance.eval()
    assert glance(grid, objects) < 1e-2
    torch.testing.assert_close(glance(grid.flip(2, 3), objects), glance(grid, objects))
    assert glance(grid.roll(1, 0), objects) > 0.1 and glance(grid.roll(1, 1), objects) > 0.1


def test_a_single_image_teaches_nothing() -> None:
    grid = torch.rand(1, CHANNELS, 4, 4, requires_grad=True)
    loss = Glance([2, 3])(grid, SCENES[:1])
    loss.backward()
    assert loss == 0 and grid.grad is not None and not grid.grad.any()
