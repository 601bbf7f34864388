"""The latent ensemble layer, and what its weights cost."""

import torch

from defenses.latent_ensemble import SPARSITY, LatentEnsemble, latent_ensemble
from defenses.protocols import penalty
from harness.models.fusion.concat import concat
from tests.tiny import tiny


def test_its_weights_cost_their_l1_norm() -> None:
    model, nothing = latent_ensemble(tiny()), torch.zeros(())
    assert isinstance(model.fusion, LatentEnsemble)
    torch.testing.assert_close(penalty(model, nothing), SPARSITY * model.fusion.mix.weight.abs().sum())
    assert penalty(concat(tiny()), nothing) == 0


def test_it_takes_two_modalities() -> None:
    task = tiny(2)
    assert latent_ensemble(task).eval()(task.splits["test"].inputs).shape == (
        len(task.splits["test"]),
        task.width,
    )
