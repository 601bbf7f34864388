"""Law 2: a larger scenario is never safer, sample by sample."""

import torch

from attacks.presets import FAST
from attacks.scenario import parse
from attacks.search_state import search_all
from harness.engine.loading import Loaded
from harness.engine.objective import TaskObjective
from harness.tasks import Task


def test_larger_scenarios_are_never_safer(system: Loaded, digits: Task) -> None:
    batch = digits.splits["test"].take(range(8))
    objective = TaskObjective(system.module, digits, batch.targets, torch.ones(8, 3, dtype=torch.bool), {})
    asked = [*digits.scenarios(), parse("image@linf:1.61"), parse("image@linf:1.7 + audio@linf:0.005")]
    found = dict(search_all(FAST, objective, batch.inputs, digits.bounds(batch), asked, samples=batch.samples))
    pairs = [(small, large) for small in found for large in found if small < large]
    assert len(pairs) > 12
    for small, large in pairs:
        assert bool((found[large].strength <= found[small].strength).all()), (str(small), str(large))
