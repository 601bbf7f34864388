"""An outside oracle: where foolbox's PGD breaks a sample, the search breaks it at that radius or
below.
"""

import warnings

import pytest
import torch
from torch import nn

from attacks.objective import Classification
from attacks.presets import STANDARD
from attacks.region import Range
from attacks.search import search

RADIUS = 0.06


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_foolbox_breaks_no_more(norm: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

    torch.manual_seed(0)
    net = (
        nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
        .eval()
        .requires_grad_(False)
    )
    x = torch.rand(64, 24)
    labels = net(x).argmax(1)
    radius = RADIUS if norm == "linf" else RADIUS * 24**0.5
    attack = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm](steps=40, rel_stepsize=0.1)
    _, _, broken = attack(foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, labels, epsilons=radius)
    found = search(
        Classification(lambda i: net(i["x"]), labels),
        {"x": x},
        {"x": Range(0, 1)},
        f"x@{norm}:{radius}",
        algorithm=STANDARD,
    )
    ours = found.strength <= 1
    assert 10 < int(broken.sum()) < 64
    assert int((broken & ~ours).sum()) == 0
