"""Law 5: one input split into two modalities has the critical strength of the whole (L∞)."""

import pytest
import torch

from attacks.objective import Classification
from attacks.presets import STANDARD
from attacks.search import search


@pytest.mark.parametrize("seed", [0, 1])
def test_split_equals_whole(seed: int) -> None:
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4)).requires_grad_(False)
    x = torch.randn(24, 20)
    labels = net(x).argmax(1)
    whole = search(Classification(lambda i: net(i["x"]), labels), {"x": x}, {}, "x@linf:0.1", algorithm=STANDARD)
    halves = {"left": x[:, :7], "right": x[:, 7:]}
    joined = Classification(lambda i: net(torch.cat([i["left"], i["right"]], 1)), labels)
    split = search(joined, halves, {}, "left@linf:0.1 + right@linf:0.1", algorithm=STANDARD)
    assert bool(whole.strength.isfinite().all())
    torch.testing.assert_close(split.strength, whole.strength, rtol=0.02, atol=0)
