"""`search`: the best known critical strength of every sample of a batch, under one scenario."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.names import DEFAULT_LIMIT
from attacks.objective import Objective
from attacks.presets import STANDARD
from attacks.region import Bounds, Inputs
from attacks.scenario import Scenario, parse
from attacks.search_state import Found, Search, search_all


def search(
    objective: Objective,
    inputs: Inputs,
    bounds: Bounds,
    scenario: Scenario | str,
    *,
    algorithm: Search | None = None,
    samples: Sequence[str] | None = None,
    seed: int = 0,
    limit: float = DEFAULT_LIMIT,
) -> Found:
    """The best known critical strength of every sample under one scenario.

    Args:
        objective: bound to this batch; see `attacks.objective`.
        inputs: one tensor (B, ...) per modality.
        bounds: the valid range per modality.
        scenario: the changes that the adversary may make; see `attacks.scenario`.
        algorithm: the search; `attacks.presets.STANDARD` if absent.
        samples: names of the samples, to key randomness on; row numbers if absent.
        limit: the largest strength searched.

    Raises:
        BadInput: the scenario does not parse or names a modality the inputs lack, or an input lies
            outside its range.
    """
    wanted = parse(scenario) if isinstance(scenario, str) else scenario
    steps = search_all(
        algorithm or STANDARD, objective, inputs, bounds, [wanted], samples=samples, seed=seed, limit=limit
    )
    return dict(steps)[wanted]
