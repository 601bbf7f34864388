"""Law 3: a missing modality has no influence; which modality is attacked does."""

import torch

from attacks.presets import FAST
from attacks.search import search
from harness.engine.loading import Loaded
from harness.engine.objective import TaskObjective
from harness.tasks import Task


def test_missing_has_no_influence_on_the_model(system: Loaded, digits: Task) -> None:
    batch, other = (digits.splits["test"].take(rows) for rows in (range(8), range(8, 16)))
    for column, name in enumerate(digits.names):
        present = torch.ones(8, 3, dtype=torch.bool)
        present[:, column] = False
        swapped = {**batch.inputs, name: other.inputs[name]}
        assert torch.equal(system.module(batch.inputs, present), system.module(swapped, present))


def test_missing_has_no_influence_on_an_attack(system: Loaded, digits: Task) -> None:
    batch, other = (digits.splits["test"].take(rows) for rows in (range(6), range(6, 12)))
    present = torch.tensor([True, True, False]).expand(6, 3)
    objective = TaskObjective(system.module, digits, batch.targets, present, {})
    strengths = [
        search(
            objective,
            {**batch.inputs, "text": text},
            digits.bounds(batch),
            "image@linf:1.6 + text@missing",
            algorithm=FAST,
        ).strength
        for text in (batch.inputs["text"], other.inputs["text"])
    ]
    assert torch.equal(strengths[0], strengths[1])


def test_which_modality_is_attacked_matters(digits: Task) -> None:
    from harness.engine.loading import load_model

    batch = digits.splits["test"].take(range(8))
    module = load_model("concat", digits, torch.device("cpu")).module
    objective = TaskObjective(module, digits, batch.targets, torch.ones(8, 3, dtype=torch.bool), {})
    image, audio, _, _ = (
        search(objective, batch.inputs, digits.bounds(batch), s, algorithm=FAST).strength for s in digits.scenarios()
    )
    assert not torch.equal(image, audio)
