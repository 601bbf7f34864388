"""Certificates of a run, re-checked: no witness lies below one, and no random point does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from attacks.edits import Ranked
from attacks.randomness import keyed_generator
from attacks.region import Inputs, Region
from attacks.sampling import signs, unit_changes
from attacks.scenario import parse
from harness.engine.certifying import EQUAL
from harness.engine.objective import TaskObjective
from harness.engine.plan import Work
from harness.run.directory import RunDirectory

POINTS = 1000  # of each certificate
AT_ONCE = 250
INSIDE = 1 - 1e-6  # of the certified strength


def doubted(directory: RunDirectory, work: Work) -> Iterator[tuple[str, bool]]:
    """Each certificate of a run in words, and whether it holds: its sample's witness is not below
    it, and none of `POINTS` random points below it fails.
    """
    columns = ("model", "sample", "scenario", "strength", "certified")
    models = {model.name: model.module for model in work.models}
    for row in directory.ledger(columns).to_pylist():
        if row["certified"] is None or row["model"] not in models:
            continue
        named = f"certificate of {row['model']}, sample {row['sample']}, {row['scenario']}: {row['certified']:.4g}"
        below = row["strength"] is not None and row["certified"] > row["strength"] * (1 + EQUAL)
        yield named, not below and not (row["certified"] > 0 and _fails_inside(work, models[row["model"]], row))


@torch.no_grad()
def _fails_inside(work: Work, model: torch.nn.Module, row: Mapping[str, str | float]) -> bool:
    """Whether a random point below the certified strength fails."""
    task, scenario, sample = work.task, parse(str(row["scenario"])), str(row["sample"])
    split = task.splits["test"]
    batch = split.take([split.samples.index(sample)] * AT_ONCE)
    objective = TaskObjective(model, task, batch.targets, task.present(batch, scenario.missing), {})
    region = Region.of(batch.inputs, task.bounds(batch), scenario)
    strength = torch.full((AT_ONCE,), float(row["certified"]) * INSIDE, dtype=torch.float64)
    return any(
        bool(objective(region.complete(_points(region, strength, sample, number))).fails.any())
        for number in range(POINTS // AT_ONCE)
    )


def _points(region: Region, strength: torch.Tensor, sample: str, number: int) -> Inputs:
    """Random points: half of them corners where a norm has corners, and random edits of the largest
    size.
    """
    names = [f"{sample}|{place}" for place in range(len(strength))]
    plain, moved = region.plain, dict[str, torch.Tensor]()
    if plain.scenario.attacked:
        inside = plain.shifted(unit_changes(plain.scenario, region.inputs, names, 0, number), strength)
        far = {name: x + signs(x, names, 0, number) * (1e3 + x.abs().amax()) for name, x in plain.clean.items()}
        corners = plain.project(far, strength)
        even = torch.arange(len(strength), device=strength.device) % 2 == 0
        moved |= {
            name: torch.where(even.reshape(-1, *[1] * (x.ndim - 1)), corners[name], x) for name, x in inside.items()
        }
    for ball in region.scenario.edits:
        edit, place = ball.edit, region.place(ball.modality)
        assert isinstance(edit, Ranked)
        drawn = [torch.randn(place.x.shape[1:], generator=keyed_generator(0, name, number)) for name in names]
        direction = torch.stack(drawn)
        moved[ball.modality] = edit.best_edit(place, strength * ball.radius, direction.to(place.x))
    return moved
