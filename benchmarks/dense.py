"""Maps under attack: what is left of pixel accuracy and mIoU, the search against SegPGD, CosPGD and
ALMA prox.

SegPGD and CosPGD attack at every radius with their own steps and keep their best iterate. ALMA prox
(adv-lib, where it is installed; L∞ only) looks for the smallest change that makes half of the
pixels wrong, and nearly all; with both it spends as many steps as the others at all radii. A change
that is larger than a radius is clipped to it. The search runs once and its fronts are read at the
same radii. `python -m benchmarks.dense --samples 16`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attacks.decay import Unended
from attacks.dense import cospgd, segpgd
from attacks.objective import preserved
from attacks.presets import FAST, STANDARD, THOROUGH
from attacks.region import Region
from attacks.scenario import parse
from attacks.search_state import search_all
from harness.engine import graded
from harness.engine.loading import load_model, load_task
from harness.engine.objective import TaskObjective

RADII = tuple(2.0**power for power in range(-4, 4))
SCENARIOS = (
    "rgb@linf:8",
    "depth@linf:0.1",
    "rgb@linf:8 + depth@linf:0.1",
    "rgb@l2:200",
    "rgb@l1:4000",
)
PRESETS = {"fast": FAST, "standard": STANDARD, "thorough": THOROUGH}
Judged = list[tuple[Tensor, Tensor]]
"""Per radius, scores (B,) and tallies (B, T)."""
RIVALS = {"segpgd": segpgd, "cospgd": cospgd}
SHARES = (0.5, 0.99)  # of the pixels that ALMA prox makes wrong


def fixed(attack: Callable[..., Any], objective: TaskObjective, region: Region, steps: int) -> Judged:
    """Per radius, score (B,) and tally (B, T) of the best iterate."""
    found = []
    for radius in RADII:
        reached = attack(Unended(objective), region, radius, steps=steps)
        with torch.no_grad():
            outputs = objective.outputs(region.complete(reached.inputs))
        problem = objective.task.problem
        found.append((problem.score(outputs, objective.targets), problem.tally(outputs, objective.targets)))
    return found


def alma_prox(objective: TaskObjective, region: Region, steps: int) -> Judged:
    """The same by ALMA prox, on all attacked modalities as one vector in units of their radii."""
    from benchmarks.libraries import adv_lib

    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # it asks for a compiler
    adv_lib()
    attack = importlib.import_module("adv_lib.attacks.segmentation.alma_prox").alma_prox
    radii = {ball.modality: ball.radius for ball in region.scenario.attacked}
    ends = {name: [float(end.max()) for end in region.ranges[name].ends] for name in radii}
    largest = max((ends[name][1] - ends[name][0]) / radius for name, radius in radii.items())

    def joined(inputs: Mapping[str, Tensor]) -> Tensor:
        parts = [(inputs[name] - ends[name][0]) / radius for name, radius in radii.items()]
        return torch.cat(parts, 1) / largest

    def apart(flat: Tensor) -> dict[str, Tensor]:
        channels = [region.inputs[name].shape[1] for name in radii]
        parts = zip(radii.items(), (flat * largest).split(channels, 1), strict=True)
        return {name: (part * radius + ends[name][0]).clamp(*ends[name]) for (name, radius), part in parts}

    clean = joined(region.inputs)
    masks = objective.targets != objective.task.problem.ignore  # type: ignore[attr-defined]
    labels = objective.targets.where(masks, 0)

    def answers(aim: TaskObjective, there: Region, flat: Tensor) -> Tensor:
        return aim.answers(there.complete(apart(flat)))

    def found(share: float) -> Tensor:
        """One image at a time: it fails on images that ignore different numbers of pixels."""
        each = {"adv_threshold": share, "num_steps": steps * len(RADII) // len(SHARES)}
        parts = []
        for row in torch.arange(len(labels)).split(1):
            model = partial(answers, objective.take(row), region.take(row))
            parts.append(attack(model, clean[row], labels[row], masks=masks[row], **each))
        return torch.cat(parts)

    moved = [found(share) for share in SHARES]
    return [
        _best(objective, region, [apart(clean + (x - clean).clamp(-r, r)) for x in moved])
        for r in (radius / largest for radius in RADII)
    ]


def _best(objective: TaskObjective, region: Region, tried: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Per sample the lowest score (B,) of some changes, and its tally (B, T)."""
    with torch.no_grad():
        outputs = [objective.outputs(region.complete(each)) for each in tried]
    problem, targets = objective.task.problem, objective.targets
    scores = torch.stack([problem.score(each, targets) for each in outputs])
    tallies = torch.stack([problem.tally(each, targets) for each in outputs])
    lowest = scores.argmin(0)
    rows = torch.arange(len(targets))
    return scores[lowest, rows], tallies[lowest, rows]


def searched(
    preset: object, objective: TaskObjective, batch: Any, scenario: str, untouched: tuple[Tensor, Tensor]
) -> tuple[Judged, float]:
    """The same by the search, read off its fronts; and the gradients of a sample."""

    def search(aim: TaskObjective, **watched: Any) -> Any:
        bounds = objective.task.bounds(batch)
        return search_all(
            preset, aim, batch.inputs, bounds, [parse(scenario)], samples=batch.samples, limit=8, **watched
        )  # type: ignore[arg-type]

    thresholds = sorted(objective.task.problem.thresholds, reverse=True)  # type: ignore[attr-defined]
    spent, front = 0.0, None
    for results in graded.searched(search, objective, objective, batch.inputs, thresholds):
        if results[0].scenario == parse(scenario):  # those below it are rows of their own
            spent = sum(float(result.found.gradients.double().mean()) for result in results)
            front = results[0].front
    assert front is not None
    found = []
    for radius in RADII:
        scores, tallies = untouched[0].clone(), untouched[1].clone()
        for row in range(len(batch)):
            for strength, score, tally in front.points(row):
                if strength <= radius and score < float(scores[row]):
                    scores[row], tallies[row] = score, torch.tensor(tally)
        found.append((scores, tallies))
    return found, spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--preset", default="standard", choices=PRESETS)
    parser.add_argument("--model", default="segmenter")
    parser.add_argument("--alma", action="store_true", help="ALMA prox too, of adv-lib")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    task = load_task("rooms")
    model = load_model(options.model, task, torch.device("cpu")).module
    batch = task.splits["test"].take(range(options.samples))
    present = torch.ones(len(batch), len(task.names), dtype=torch.bool)
    rows = []
    with preserved(model):
        objective = TaskObjective(model, task, batch.targets, present, {})
        with torch.no_grad():
            outputs = objective.outputs(batch.inputs)
        untouched = task.problem.score(outputs, batch.targets), task.problem.tally(outputs, batch.targets)
        for scenario in SCENARIOS:
            region = Region.of(batch.inputs, task.bounds(batch), scenario)
            begun = time.monotonic()
            ours, spent = searched(PRESETS[options.preset], objective, batch, scenario, untouched)
            rows.append(_row(task, scenario, options.preset, ours, spent, time.monotonic() - begun))
            for name, attack in RIVALS.items():
                begun = time.monotonic()
                theirs = fixed(attack, objective, region, options.steps)
                rows.append(_row(task, scenario, name, theirs, options.steps * len(RADII), time.monotonic() - begun))
            if options.alma and region.scenario.attacked[0].norm_name == "linf":
                begun = time.monotonic()
                theirs = alma_prox(objective, region, options.steps)
                rows.append(
                    _row(task, scenario, "alma prox", theirs, options.steps * len(RADII), time.monotonic() - begun)
                )
            for row in rows:
                print(json.dumps(row) if options.json else _line(row), flush=True)
            rows.clear()


def _row(task: Any, scenario: str, name: str, found: Any, gradients: float, seconds: float) -> dict[str, Any]:
    return {
        "scenario": scenario,
        "attack": name,
        "pixel accuracy": [float(scores.double().mean()) for scores, _ in found],
        "mIoU": [task.problem.metrics(tallies)["miou"] for _, tallies in found],
        "gradients": gradients,
        "seconds": seconds,
    }


def _line(row: dict[str, Any]) -> str:
    accuracy, iou = (100 * sum(row[name]) / len(RADII) for name in ("pixel accuracy", "mIoU"))
    means = f"mean over radii: pixel accuracy {accuracy:.2f}, mIoU {iou:.2f}"
    return f"{row['scenario']:28} {row['attack']:10} {means}; {row['gradients']:.0f} gradients, {row['seconds']:.0f} s"


if __name__ == "__main__":
    main()
