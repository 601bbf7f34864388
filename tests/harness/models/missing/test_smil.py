"""SMIL: the codebook and its weights, the inference networks, and the step of second order."""

import pytest
import torch
from torch.func import functional_call

from attacks.errors import BadInput
from harness.models.fused import Fused
from harness.models.missing.completed import Completed
from harness.models.missing.smil import CENTROIDS, Codebook, InferenceNetwork, Posterior, divergence, smil, smil_elbo
from harness.models.missing.smil_recipe import Objective, adapted
from harness.tasks import Task

OBSERVED, SIZE = 7, 12


def book(how: str = "kmeans") -> Codebook:
    generator = torch.Generator().manual_seed(0)
    codebook = Codebook(OBSERVED, SIZE, how)  # type: ignore[arg-type]
    codebook.fit(torch.randn(60, SIZE, generator=generator))
    return codebook


def observed(count: int = 20) -> torch.Tensor:
    return torch.randn(count, OBSERVED, generator=torch.Generator().manual_seed(1))


def fusion_of(model: Fused) -> Completed:
    assert isinstance(model.fusion, Completed)
    return model.fusion


@pytest.mark.parametrize("how", ["kmeans", "pca"])
def test_weights_are_positive_and_the_features_inside_the_hull(how: str) -> None:
    codebook = book(how)
    weights = codebook.weights(10 * observed())
    assert weights.shape == (20, CENTROIDS) and bool((weights > 0).all())
    shares = weights / weights.sum(1, keepdim=True)
    torch.testing.assert_close(codebook(10 * observed()), shares @ codebook.points)
    torch.testing.assert_close(shares.sum(1), torch.ones(20))
    low, high = codebook.points.amin(0), codebook.points.amax(0)
    assert bool(((codebook(observed()) >= low) & (codebook(observed()) <= high)).all())


def test_equal_weights_are_the_mean_of_the_points() -> None:
    codebook = book()
    torch.nn.init.zeros_(codebook.fc0.weight)
    torch.nn.init.constant_(codebook.fc0.bias, 0.3)
    torch.testing.assert_close(codebook(observed()), codebook.points.mean(0).expand(20, -1))


def test_the_prior_holds_the_weights_at_one() -> None:
    codebook = book()
    torch.nn.init.zeros_(codebook.fc0.weight)
    torch.nn.init.constant_(codebook.fc0.bias, torch.expm1(torch.ones(())).log().item())  # softplus of it is 1
    torch.testing.assert_close(codebook.cost(observed(), observed()), torch.zeros(()))
    torch.nn.init.constant_(codebook.fc0.bias, 5.0)
    assert codebook.cost(observed(), observed()) > 0


def test_kmeans_finds_clusters_that_are_there() -> None:
    centres = 10 * torch.eye(CENTROIDS)
    samples = centres.repeat(30, 1) + 0.1 * torch.randn(
        30 * CENTROIDS, CENTROIDS, generator=torch.Generator().manual_seed(0)
    )
    codebook = Codebook(OBSERVED, CENTROIDS)
    codebook.fit(samples)
    assert torch.cdist(centres, codebook.points).amin(1).amax() < 0.2
    assert codebook.variance.amax() < 0.02


def test_pca_finds_the_line_the_features_lie_on() -> None:
    line = torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(200, 1, generator=generator) * line + 0.01 * torch.randn(200, 10, generator=generator)
    codebook = Codebook(OBSERVED, 10, "pca")
    codebook.fit(samples)
    step = codebook.points[0] - samples.mean(0)
    torch.testing.assert_close(step.abs(), line, rtol=0.15, atol=0.05)


def test_a_codebook_needs_samples() -> None:
    with pytest.raises(BadInput, match="9 complete training samples are too few for a codebook of 10"):
        Codebook(OBSERVED, SIZE).fit(torch.randn(9, SIZE))


@pytest.mark.parametrize("noise", ["additive", "multiplicative"])
def test_the_inference_network_is_noisy_only_on_request(noise: str) -> None:
    network, codebook = InferenceNetwork(OBSERVED, SIZE, noise), book()  # type: ignore[arg-type]
    layer = torch.nn.Linear(OBSERVED + SIZE, 64)
    torch.manual_seed(0)
    quiet, again, noisy, other = (network(observed(), codebook, layer, asked) for asked in (False, False, True, True))
    assert torch.equal(quiet.u, again.u) and torch.equal(quiet.v, again.v)
    assert not torch.equal(noisy.u, other.u) and not torch.equal(noisy.v, quiet.v)
    plain = torch.cat([observed(), codebook(observed())], dim=1)
    perturbation = torch.nn.functional.softplus(network.fc1(observed()))
    torch.testing.assert_close(quiet.u, plain + perturbation if noise == "additive" else plain * perturbation)
    assert network.mismatch(quiet, again) == 0 and network.mismatch(quiet, noisy) > 0


def test_the_divergence_is_that_of_gaussians() -> None:
    generator = torch.Generator().manual_seed(0)
    means, scales = torch.randn(2, 4, SIZE, generator=generator), 0.5 + torch.rand(2, 4, SIZE, generator=generator)
    first, second = (torch.distributions.Normal(m, s) for m, s in zip(means, scales, strict=True))
    expected = torch.distributions.kl_divergence(first, second).sum(1)
    torch.testing.assert_close(divergence(means[0], 2 * scales[0].log(), means[1], 2 * scales[1].log()), expected)


def test_the_posterior_at_its_prior_costs_nothing() -> None:
    posterior, codebook = Posterior(OBSERVED, SIZE), book()
    for head, bias in ((posterior.mean, codebook.points.mean(0)), (posterior.log_variance, codebook.variance.log())):
        torch.nn.init.zeros_(head.weight)
        head.bias.data.copy_(bias)
    torch.nn.init.zeros_(codebook.fc0.weight)
    torch.nn.init.zeros_(codebook.fc0.bias)
    hidden = posterior(observed(), codebook, torch.nn.Identity(), True)
    torch.testing.assert_close(hidden.cost, torch.zeros(()), atol=1e-5, rtol=0)
    drawn = torch.stack(
        [posterior(observed(200), codebook, torch.nn.Identity(), True).u[:, OBSERVED:] for _ in range(50)]
    ).flatten(0, 1)
    torch.testing.assert_close(drawn.mean(0), codebook.points.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.var(0), codebook.variance, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("build", [smil, smil_elbo])
def test_the_inner_step_moves_neither_the_missing_modality_nor_its_inference(build: object, digits: Task) -> None:
    torch.manual_seed(0)
    model = build(digits)  # type: ignore[operator]
    objective, batch = Objective(model, digits.problem, 0.0), digits.splits["train"].take(range(16))
    before = {name: value.clone() for name, value in objective.named_parameters()}
    movable = objective.adaptable()
    moved = adapted(movable, objective(batch, None, True), 0.1)
    assert {name.split(".")[1] + "." + name.split(".")[2] for name in moved} == {
        "encoders.image",
        "encoders.text",
        "fusion.classifier",
    }
    assert all(not torch.equal(value, before[name]) for name, value in moved.items())
    loss = functional_call(objective, moved, (batch, torch.zeros(16, fusion_of(model).size), False))
    loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in objective.named_parameters())
    touched = {
        name for name, value in objective.named_parameters() if value.grad is not None and bool(value.grad.any())
    }
    assert any("imputer.fc0" in name for name in touched) and any("inference" in name for name in touched)
    assert not any("encoders.audio" in name for name in touched)


def test_the_step_is_of_second_order() -> None:
    """On a quadratic the gradient through the step is (I - λH) times that at the adapted point."""
    w = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    curvature = torch.tensor([3.0, 5.0])
    moved = adapted({"w": w}, (curvature * w.square()).sum() / 2, 0.1)
    moved["w"].square().sum().backward()
    torch.testing.assert_close(w.grad, 2 * (1 - 0.1 * curvature) ** 2 * w.detach())


def test_with_the_sound_present_nothing_is_made_up(digits: Task) -> None:
    torch.manual_seed(0)
    model, inputs = smil(digits).eval(), digits.splits["test"].take(range(8)).inputs
    present, absent = torch.ones(8, 3, dtype=torch.bool), torch.tensor([[True, False, True]]).expand(8, -1)
    there, gone = model(inputs, present), model(inputs, absent)
    fusion = fusion_of(model)
    for value in (*fusion.imputer.state_dict().values(), *fusion.inference.state_dict().values()):
        value.fill_(torch.nan)
    assert torch.equal(model(inputs, present), there)
    assert not torch.equal(model(inputs, absent), gone)
