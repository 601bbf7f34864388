"""Counter-based randomness: a draw is a function of its key, not of what was drawn before it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from attacks.region import Inputs
from attacks.scenario import Scenario


def keyed_seed(*key: object) -> int:
    """A 63-bit seed from any printable key."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def keyed_generator(*key: object) -> torch.Generator:
    """A CPU generator seeded from the key; the draws are the same on every device."""
    return torch.Generator().manual_seed(keyed_seed(*key))


def unit_changes(scenario: Scenario, inputs: Inputs, samples: Sequence[str], seed: int, restart: object) -> Inputs:
    """A random change of gauge at most 1 for each sample: uniform in each modality's ball.

    Keyed on the seed, the sample, the attacked modalities with their norms (not the radii: a change
    of units changes nothing), the missing modalities and the restart.
    """
    norms = [(ball.modality, ball.norm_name) for ball in scenario.attacked]
    changes: Inputs = {}
    for ball in scenario.attacked:
        x = inputs[ball.modality]
        rows = []
        for sample in samples:
            generator = keyed_generator(seed, sample, norms, scenario.missing, restart, ball.modality)
            rows.append(ball.norm.random(x.shape[1:], generator) * ball.radius)
        changes[ball.modality] = torch.stack(rows).to(x)
    return changes
