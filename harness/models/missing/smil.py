"""SMIL, multimodal learning with severely missing modality (Ma et al., AAAI 2021): a codebook of
the missing modality's features.

A missing modality's features are a mean of the codebook's, weighted by the other modalities. A
network that learned on incomplete and complete samples corrects the layers that follow.
`smil_recipe` trains it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.errors import BadInput
from harness.models.fused import Fused
from harness.models.missing.completed import HIDDEN, Hidden, Imputer, completed
from harness.tasks import Task

CENTROIDS = 10
PRIOR = 0.01  # the weight of the prior of the codebook's weights, beside a loss per sample
ALIGNMENT = 0.01  # of each of the reference's two square errors
LEAST_VARIANCE = 1e-2  # of a feature that hardly varies within a cluster


class Codebook(nn.Module):
    """ẑ = Σ_k w_k c_k / Σ_k w_k with w = softplus(fc0(z)), c_k fixed points among the missing
    modality's features.

    The prior of the weights is the paper's Gaussian with identity mean, w_k ~ N(1, 1).

    Args:
        how: the c_k are centroids by k-means, or PCA's mean plus one standard deviation along each
            component.
    """

    def __init__(self, observed: int, size: int, how: Literal["kmeans", "pca"] = "kmeans") -> None:
        super().__init__()
        self.how = how
        self.fc0 = nn.Linear(observed, CENTROIDS)
        self.register_buffer("points", torch.zeros(CENTROIDS, size))
        self.register_buffer("variance", torch.ones(size))
        self.points: Tensor
        self.variance: Tensor

    def weights(self, observed: Tensor) -> Tensor:
        """w, (B, 10), above 0."""
        return F.softplus(self.fc0(observed))

    def forward(self, observed: Tensor) -> Tensor:
        weights = self.weights(observed)
        return weights @ self.points / weights.sum(1, keepdim=True)

    def fit(self, missing: Tensor) -> None:
        """Find the points, and the variance (M,) of the features about the nearest of them.

        Raises:
            BadInput: there are fewer samples than points.
        """
        if len(missing) < CENTROIDS:
            raise BadInput(
                f"{len(missing)} complete training samples are too few for a codebook of {CENTROIDS}: lower the rate"
                " of --train-missing"
            )
        self.points.copy_(_points(missing, self.how))
        nearest = self.points[torch.cdist(missing, self.points).argmin(1)]
        self.variance.copy_((missing - nearest).square().mean(0).clamp_min(LEAST_VARIANCE))

    def cost(self, observed: Tensor, missing: Tensor) -> Tensor:
        """The negative logarithm of the prior of the weights, of which only the mean depends on
        them.
        """
        return PRIOR * (self.weights(observed) - 1).square().mean() / 2


def _points(missing: Tensor, how: str) -> Tensor:
    """The codebook (10, M) of features (N, M)."""
    from sklearn.cluster import KMeans  # takes a second to import, and only training needs it
    from sklearn.decomposition import PCA

    values = missing.detach().cpu().double().numpy()
    if how == "kmeans":
        points = KMeans(CENTROIDS, n_init=10, random_state=0).fit(values).cluster_centers_
    else:
        found = PCA(CENTROIDS, random_state=0).fit(values)
        points = found.mean_ + found.components_ * found.explained_variance_[:, None] ** 0.5
    return torch.as_tensor(points, dtype=missing.dtype, device=missing.device)


class InferenceNetwork(nn.Module):
    """The reference's: u = [z; ẑ] + softplus(fc1(z) + ξ) and v = ReLU(W₁u) + softplus(fc2(u) + ξ).

    ξ ~ N(0, I) in meta-training, else 0. Training brings u and v near those of complete samples.

    Args:
        noise: added as in the reference's code for avMNIST, or multiplied as in the paper.
    """

    def __init__(self, observed: int, size: int, noise: Literal["additive", "multiplicative"] = "additive") -> None:
        super().__init__()
        self.noise = noise
        self.fc1, self.fc2 = nn.Linear(observed, observed + size), nn.Linear(observed + size, HIDDEN)

    def forward(self, observed: Tensor, imputer: Imputer, layer: Callable[[Tensor], Tensor], noisy: bool) -> Hidden:
        u = self._perturbed(torch.cat([observed, imputer(observed)], dim=1), self.fc1(observed), noisy)
        v = self._perturbed(layer(u), self.fc2(u), noisy)
        return Hidden(u, v, u.new_zeros(()))

    def _perturbed(self, x: Tensor, mean: Tensor, noisy: bool) -> Tensor:
        perturbation = F.softplus(mean + torch.randn_like(mean) if noisy else mean)
        return x + perturbation if self.noise == "additive" else x * perturbation

    def mismatch(self, inferred: Hidden, complete: Hidden) -> Tensor:
        return ALIGNMENT * (F.mse_loss(inferred.u, complete.u) + F.mse_loss(inferred.v, complete.v))


class Posterior(nn.Module):
    """The objective as an ELBO, E_q[log p(y|x, z)] - KL[q(z|x; ψ) ‖ p(z|x)], z the missing
    modality's features.

    q is a Gaussian with a head for its mean and one for its variance, p one about the codebook's ẑ
    with the variance that features have about their nearest centroid. z is drawn from q in
    meta-training, and q's mean is taken else. The divergence counts per feature, like the
    reference's square errors: as a sum, that of 320 features outweighs the label.
    """

    def __init__(self, observed: int, size: int) -> None:
        super().__init__()
        self.mean, self.log_variance = nn.Linear(observed, size), nn.Linear(observed, size)

    def forward(self, observed: Tensor, imputer: Codebook, layer: Callable[[Tensor], Tensor], noisy: bool) -> Hidden:
        mean, log_variance = self.mean(observed), self.log_variance(observed)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean) if noisy else mean
        u = torch.cat([observed, z], dim=1)
        kl = divergence(mean, log_variance, imputer(observed), imputer.variance.log())
        return Hidden(u, layer(u), kl.mean() / mean.shape[1])

    def mismatch(self, inferred: Hidden, complete: Hidden) -> Tensor:
        """Nothing: the complete samples' features speak through the codebook."""
        return inferred.u.new_zeros(())


def divergence(mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor) -> Tensor:
    """KL (B,) of diagonal Gaussians (B, M), of the first from the second."""
    ratio = log_variance - prior_log_variance
    return (ratio.exp() + (mean - prior_mean).square() / prior_log_variance.exp() - 1 - ratio).sum(1) / 2


def smil(
    task: Task,
    missing: str | None = None,
    codebook: Literal["kmeans", "pca"] = "kmeans",
    noise: Literal["additive", "multiplicative"] = "additive",
) -> Fused:
    """SMIL: a missing sound (or last modality) is made up from a codebook, and an inference network
    corrects it.
    """
    return completed(
        task,
        missing,
        lambda observed, size: (Codebook(observed, size, codebook), InferenceNetwork(observed, size, noise)),
    )


def smil_elbo(task: Task, missing: str | None = None, codebook: Literal["kmeans", "pca"] = "kmeans") -> Fused:
    """SMIL by its evidence lower bound: a Gaussian for the features of a missing sound (or last
    modality), held near the codebook's.
    """
    return completed(
        task, missing, lambda observed, size: (Codebook(observed, size, codebook), Posterior(observed, size))
    )
