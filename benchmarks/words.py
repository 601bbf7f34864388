"""Answers in words under attack: the search against PGD-100 on the mean cross-entropy of tokens,
at eight radii.

The committed `tiny-vlm` answers test questions of `vqa-words`. PGD runs 100 steps at every radius
from the clean input, and edits of the question are chosen anew in each step. The search runs once.
A failure is an answer that the judge calls wrong. A bare pass is one forward and backward pass of
all samples, untouched. `python -m benchmarks.words --samples 40`.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from attacks.ascent import ascend
from attacks.mixed import Mixed, edited
from attacks.objective import Named, preserved
from attacks.presets import FAST, STANDARD, THOROUGH
from attacks.region import Region
from attacks.scenario import parse
from attacks.search_state import search_all
from harness.engine.loading import load_model, load_task
from harness.engine.objective import TaskObjective

SCENARIOS = ("image@linf:1", "question@tokens:1", "image@linf:1 + question@tokens:1")
RADII = torch.tensor([1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6], dtype=torch.float64)
PRESETS = {"fast": FAST, "standard": STANDARD, "thorough": THOROUGH}


def pgd(objective: TaskObjective, region: Region, samples: tuple[str, ...], steps: int) -> Tensor:
    """The share that withstands each radius, (radii,)."""
    shares = []
    for radius in RADII:
        strength = radius.expand(len(region))
        start = region.clean | edited(region, strength, samples, 0, 0)
        mover = Mixed.begin(region, steps)
        found = ascend(objective, region, strength, mover, steps=steps, loss=Named("cross_entropy"), start=start)
        shares.append(1 - found.fails.double().mean())
    return torch.stack(shares)


def bare(objective: TaskObjective, region: Region, turns: int = 10) -> float:
    """The seconds of one forward and backward pass of all samples."""
    begun = time.monotonic()
    for _ in range(turns):
        leaves = {name: x.clone().requires_grad_() for name, x in region.clean.items()}
        loss = objective(region.complete(leaves)).losses["cross_entropy"].sum()
        torch.autograd.grad(loss, list(leaves.values()))
    return (time.monotonic() - begun) / turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--preset", default="standard", choices=PRESETS)
    options = parser.parse_args()
    task = load_task("vqa-words")
    model = load_model("tiny-vlm", task, torch.device("cpu")).module
    batch = task.splits["test"].take(range(options.samples))
    present = torch.ones(len(batch), len(task.names), dtype=torch.bool)
    bounds = task.bounds(batch)
    with preserved(model):
        extra = {name: x for name, x in batch.inputs.items() if name not in task.names}
        objective = TaskObjective(model, task, batch.targets, present, extra)
        for scenario in SCENARIOS:
            begun = time.monotonic()
            steps = search_all(
                PRESETS[options.preset],
                objective,
                batch.inputs,
                bounds,
                [parse(scenario)],
                samples=batch.samples,
                limit=8,
            )
            done = dict(steps)
            seconds, gradients = (
                time.monotonic() - begun,
                sum(float(each.gradients.double().mean()) for each in done.values()),
            )
            ours = (done[parse(scenario)].strength[:, None] > RADII).double().mean(0)
            passes = seconds / gradients / bare(objective, Region.of(batch.inputs, bounds, scenario))
            print(
                f"{scenario}: {options.preset} {_line(ours)}, {seconds:.0f} s, {gradients:.0f} gradients, each in"
                f" the time of {passes:.2f} bare passes",
                flush=True,
            )
            begun = time.monotonic()
            theirs = pgd(objective, Region.of(batch.inputs, bounds, scenario), batch.samples, options.steps)
            print(f"{scenario}: PGD-{options.steps} {_line(theirs)}, {time.monotonic() - begun:.0f} s", flush=True)


def _line(shares: Tensor) -> str:
    return f"mean {100 * float(shares.mean()):.2f} % ({', '.join(f'{100 * share:.0f}' for share in shares.tolist())})"


if __name__ == "__main__":
    main()
