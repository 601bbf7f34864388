"""UpDown looks by a softmax over a fixed number of regions, so that its average grows with the
number of objects.
"""

from itertools import pairwise

import torch
from torch import nn

from harness.models.counting.backbone import STATE
from harness.models.counting.regions import BOX, REGION, Regions
from harness.models.counting.updown import UpDown

PLACES = 6


def regions(objects: int) -> Regions:
    """So many regions alike; the others are no regions, whatever their features."""
    real = (torch.arange(PLACES) < objects)[None]
    features = torch.where(real[:, :, None], torch.ones(1, PLACES, REGION), torch.full((1, PLACES, REGION), 7.0))
    return Regions(features, torch.zeros(1, PLACES, BOX), real, torch.zeros(1, REGION, 4, 4))


def test_where_all_fit_alike_each_region_has_the_share_of_one_place() -> None:
    head, question = UpDown(4), torch.zeros(1, STATE)
    nn.init.zeros_(head.weigh.weight)
    for objects in range(PLACES + 1):
        weights = head.weights(regions(objects), question)
        torch.testing.assert_close(weights.sum(), torch.tensor(objects / PLACES))
        assert not bool(weights[:, objects:].any())


def test_more_objects_alike_are_seen_as_more() -> None:
    torch.manual_seed(0)
    head, question = UpDown(4), torch.randn(1, STATE)
    seen = [head.weights(regions(objects), question).sum().item() for objects in range(1, PLACES + 1)]
    assert all(more > less + 1e-3 for less, more in pairwise(seen))


def test_the_order_of_regions_and_what_fills_them_up_do_not_matter() -> None:
    torch.manual_seed(0)
    head, question, given = UpDown(4), torch.randn(1, STATE), regions(3)
    order = torch.randperm(PLACES)
    turned = Regions(given.features[:, order], given.boxes[:, order], given.real[:, order], given.grid)
    filled = Regions(
        torch.where(given.real[:, :, None], given.features, -given.features), given.boxes, given.real, given.grid
    )
    for other in (turned, filled):
        torch.testing.assert_close(head(other, question), head(given, question))
