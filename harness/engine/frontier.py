"""A frontier between two modalities: five rays of different ratio in the space of radii, each
searched like any scenario.
"""

from __future__ import annotations

from attacks.errors import BadInput
from attacks.scenario import Ball, Scenario, parse
from harness.tasks import Task

RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the second radius to the first, in units of the tasks' own
GRAMMAR = "MODALITY,MODALITY"


def rays(text: str, task: Task) -> list[Scenario]:
    """The five scenarios of a frontier; along each, neither radius exceeds the modality's own at
    strength 1.

    Raises:
        BadInput: it does not name two different modalities of the task.
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or names[0] == names[1]:
        raise BadInput(f"frontier {text!r} does not name two different modalities: write {GRAMMAR}")
    first, second = (parse(f"{name}@{task.modality(name).ball}").attacked[0] for name in names)
    return [Scenario((_scaled(first, min(1.0, 1 / ratio)), _scaled(second, min(1.0, ratio)))) for ratio in RATIOS]


def _scaled(ball: Ball, share: float) -> Ball:
    return Ball(ball.modality, ball.norm_name, ball.radius * share)
