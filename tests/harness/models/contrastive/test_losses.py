"""The losses against numbers worked out by hand, and in every direction that matters."""

import math

import pytest
import torch

from harness.models.contrastive.losses import info_nce, nt_xent, regression


@pytest.mark.parametrize(
    ("count", "temperature", "expected"), [(2, 0.5, 0.239545), (4, 0.5, 0.594438), (4, 0.1, 2.7236e-4)]
)
def test_orthonormal_pairs(count: int, temperature: float, expected: float) -> None:
    views = torch.eye(count)
    assert nt_xent(views, views, temperature).item() == pytest.approx(expected, rel=5e-4)
    assert expected == pytest.approx(math.log(1 + (2 * count - 2) * math.exp(-1 / temperature)), rel=1e-4)


def test_collapsed_views_are_guessed() -> None:
    same = torch.ones(5, 3)
    assert nt_xent(same, same, 0.5).item() == pytest.approx(math.log(2 * 5 - 1))
    assert info_nce(same, same, 0.5).item() == pytest.approx(math.log(5))


def test_only_directions_count() -> None:
    one, other = torch.randn(6, 4), torch.randn(6, 4)
    scale = torch.rand(6, 1) + 0.5
    assert nt_xent(one * scale, other, 0.3).item() == pytest.approx(nt_xent(one, other, 0.3).item(), rel=1e-5)
    assert info_nce(one * scale, other, 0.3).item() == pytest.approx(info_nce(one, other, 0.3).item(), rel=1e-5)


def test_contrast_is_symmetric_and_rises_with_wrong_partners() -> None:
    one = torch.eye(4)
    assert info_nce(one, one.roll(1, 0), 0.5) > info_nce(one, one, 0.5)
    assert info_nce(one, 2 * one + 0.1, 0.5).item() == pytest.approx(info_nce(2 * one + 0.1, one, 0.5).item())


def test_regression_lies_between_0_and_4() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    y = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    assert regression(x, y).tolist() == pytest.approx([0, 2, 4])
