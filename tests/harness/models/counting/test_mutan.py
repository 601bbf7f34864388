"""MUTAN is bilinear, of few slices."""

import torch
from torch import nn

from harness.models.counting.asked import CHANNELS, STATE
from harness.models.counting.mutan import Glimpse, Mutan


def test_without_tanh_and_biases_it_is_bilinear_of_its_rank() -> None:
    torch.manual_seed(0)
    fusion = Mutan(6, 5, 4, rank=2).double()
    for part in fusion.modules():
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    fusion.seen[1], fusion.asked[1] = nn.Identity(), nn.Identity()
    core = torch.stack([torch.stack([fusion(v, q) for q in torch.eye(5).double()]) for v in torch.eye(6).double()])  # (6, 5, 4)
    v, q = torch.randn(6).double(), torch.randn(5).double()
    torch.testing.assert_close(fusion(v, q), torch.einsum("vqo,v,q->o", core, v, q))
    assert int(torch.linalg.matrix_rank(core.permute(2, 0, 1), atol=1e-9).max()) == 2


def test_each_glimpse_is_an_average_over_places_and_they_stand_side_by_side() -> None:
    torch.manual_seed(0)
    glimpse, grid, question = Glimpse(2), torch.randn(3, CHANNELS, 4, 5), torch.randn(3, STATE)
    places = grid.flatten(2).transpose(1, 2)
    weights = glimpse.weights(places, question)
    torch.testing.assert_close(weights.sum(1), torch.ones(3, 2))
    one, other = ((weights[:, :, [number]] * places).sum(1) for number in (0, 1))
    torch.testing.assert_close(glimpse(grid, question), torch.cat([one, other], 1))
    assert not torch.allclose(one, other)
