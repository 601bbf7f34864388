"""MUTAN is bilinear, of few slices."""

import torch
from torch import nn

from harness.models.counting.backbone import CHANNELS, STATE
from harness.models.counting.mutan import Answer, Glimpse, Mutan


def test_without_tanh_and_biases_it_is_bilinear_of_its_rank() -> None:
    torch.manual_seed(0)
    fusion = Mutan(6, 5, 4, rank=2).double()
    for part in fusion.modules():
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    fusion.seen[1], fusion.asked[1] = nn.Identity(), nn.Identity()
    # (6, 5, 4)
    core = torch.stack([torch.stack([fusion(v, q) for q in torch.eye(5).double()]) for v in torch.eye(6).double()])
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


def test_without_attention_the_mean_is_heard_however_little_an_object_moves_it() -> None:
    torch.manual_seed(0)
    answer, grid = Answer(3, attention=False), torch.zeros(64, CHANNELS, 16, 16)
    grid[range(64), :, 0, 0] = torch.randint(5, (64, CHANNELS)).float()
    seen: list[torch.Tensor] = []
    answer.fuse.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    answer([grid, torch.randn(64, STATE)], torch.ones(64, 2, dtype=torch.bool))
    assert float(grid.mean((2, 3)).std(0).max()) < 0.01
    assert float(seen[0].detach().std(0).min()) > 0.5
