"""The odd-one-out network and the robust fusion layer."""

import pytest
import torch
from torch import Tensor

from attacks.errors import BadInput
from defenses.protocols import Experts, OddOneOut
from defenses.robust_fusion import OddOneOutNetwork, RobustFusion, robust_fusion
from tests.tiny import tiny

SIZE, MODALITIES, SAMPLES = 5, 3, 7
HERE = torch.ones(SAMPLES, MODALITIES, dtype=torch.bool)


def drawn() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SAMPLES, SIZE, generator=generator).requires_grad_() for _ in range(MODALITIES)]


def one_hot(entry: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.full((SAMPLES,), entry), MODALITIES + 1).float()


def test_what_is_odd_is_a_distribution() -> None:
    said = OddOneOutNetwork(SIZE, MODALITIES)(drawn(), HERE)
    assert said.shape == (SAMPLES, MODALITIES + 1)
    torch.testing.assert_close(said.sum(1), torch.ones(SAMPLES))


@pytest.mark.parametrize("odd", range(MODALITIES))
def test_the_odd_one_has_no_influence(odd: int) -> None:
    features = drawn()
    outputs = RobustFusion(SIZE, MODALITIES, 2).mixed(features, HERE, one_hot(odd))
    moved = torch.autograd.grad(outputs.sum(), features)
    assert [bool(slope.any()) for slope in moved] == [modality != odd for modality in range(MODALITIES)]


def test_where_none_is_odd_it_is_plain_fusion() -> None:
    fusion, features = RobustFusion(SIZE, MODALITIES, 2), drawn()
    plain = fusion.head(fusion.experts[-1](torch.cat(features, dim=1)))
    torch.testing.assert_close(fusion.mixed(features, HERE, one_hot(MODALITIES)), plain)


def test_an_expert_alone_is_what_is_heard_where_its_entry_is_one() -> None:
    fusion, features = RobustFusion(SIZE, MODALITIES, 2), drawn()
    alone = fusion.alone(features, HERE)
    assert alone.shape == (SAMPLES, MODALITIES + 1, 2)
    for entry in range(MODALITIES + 1):
        torch.testing.assert_close(alone[:, entry], fusion.mixed(features, HERE, one_hot(entry)))


def test_all_experts_speak_equally_loud() -> None:
    fusion, (first, *others) = RobustFusion(SIZE, MODALITIES, 2), drawn()
    loud = fusion.answers([100 * first, *others], HERE).norm(dim=2)
    torch.testing.assert_close(loud, torch.full_like(loud, fusion.head.in_features**0.5), rtol=1e-2, atol=0)


def test_a_sole_missing_one_is_odd() -> None:
    here = HERE.clone()
    here[:, 1] = False
    assert torch.equal(OddOneOutNetwork(SIZE, MODALITIES)(drawn(), here), one_hot(1))


def test_of_several_missing_ones_each_may_be_odd() -> None:
    here = HERE.clone()
    here[:, 1:] = False
    said = OddOneOutNetwork(SIZE, MODALITIES)(drawn(), here)
    assert not bool(said[:, [0, 3]].any()) and bool((said[:, 1:3] > 0).all())


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_model_finds_the_odd_modality(modalities: int) -> None:
    task = tiny(modalities)
    model, batch = robust_fusion(task).eval(), task.splits["test"]
    assert isinstance(model, OddOneOut) and isinstance(model, Experts)
    said = model.odd({name: model.encode(name, batch.inputs[name]) for name in model.encoded})
    assert said.shape == (len(batch), modalities + 1)


def test_one_modality_alone_cannot_be_odd() -> None:
    with pytest.raises(BadInput, match="only 'a'"):
        robust_fusion(tiny(1))
