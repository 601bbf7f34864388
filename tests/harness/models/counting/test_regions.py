"""The features inside a box, and the positions of boxes to each other."""

import torch

from harness.models.counting.backbone import CHANNELS
from harness.models.counting.rcn import geometry
from harness.models.counting.regions import BOX, Pooled, overlaps


def test_a_box_sees_what_lies_in_it_and_nothing_else() -> None:
    torch.manual_seed(0)
    pooled, grid = Pooled().eval(), torch.rand(1, CHANNELS, 16, 16, requires_grad=True)
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 0.75, 0.9]]])
    (gradient,) = torch.autograd.grad(pooled(grid, boxes).features.sum(), grid)
    rows, columns = gradient[0].abs().sum(0).nonzero().unbind(1)
    assert (rows.min(), rows.max()) == (8, 11) and (columns.min(), columns.max()) == (4, 7)


def test_bilinear_samples_of_a_plane_are_exact() -> None:
    pooled = Pooled()
    pooled.project = torch.nn.Identity()  # type: ignore[assignment]
    ramp = ((torch.arange(16) + 0.5) / 16).expand(1, CHANNELS, 16, 16)
    features = pooled(ramp, torch.tensor([[[0.2, 0.2, 0.8, 0.8, 1.0]]])).features[0, 0, :-BOX].reshape(CHANNELS, 3, 3)
    torch.testing.assert_close(features, torch.tensor([0.3, 0.5, 0.7]).expand(CHANNELS, 3, 3))


def test_filling_is_not_real() -> None:
    boxes = torch.tensor([[[0.1, 0.1, 0.4, 0.4, 1.0], [0.0] * BOX]])
    assert Pooled()(torch.zeros(1, CHANNELS, 4, 4), boxes).real.tolist() == [[True, False]]


def test_overlaps() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.4, 0.4], [0.2, 0.0, 0.6, 0.4], [0.7, 0.7, 0.9, 0.9], [0.0, 0.0, 0.2, 0.4]]])
    iou, covered = overlaps(boxes, boxes)
    torch.testing.assert_close(iou[0, 0], torch.tensor([1.0, 1 / 3, 0.0, 0.5]))
    torch.testing.assert_close(covered[0, :, 0], torch.tensor([1.0, 0.5, 0.0, 1.0]))


def test_geometry_is_sixteen_numbers() -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.4, 0.2], [0.2, 0.0, 0.6, 0.4]]])
    numbers = geometry(boxes, boxes)
    assert numbers.shape == (1, 2, 2, 16)
    torch.testing.assert_close(numbers[0, 0, 1, :6], torch.tensor([0.0, 0.0, 0.4, 0.2, 0.4, 0.2]))
    torch.testing.assert_close(numbers[0, 0, 1, 12:14], torch.tensor([0.2, 0.1]))
