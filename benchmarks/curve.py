"""One search against an attack per radius: time, gradient evaluations and robust accuracy, side by
side in one process.

    python benchmarks/curve.py --case digits --samples 256 --json curve.json

(a) our search over every single-modality scenario and the joint one, read at 16 radii; (b)
torchattacks' PGD, 100 steps of 2.5·ε/steps, once per radius, two seeds; (c) foolbox's LinfPGD once
per radius and its FMN once; (d) torchattacks' AutoAttack at one radius; (e) a bare forward-backward
loop over the batches of (a): of the case's own model and, as `overhead`, of a convolutional one,
where time goes into the model as it does for most users.

The libraries attack whole batches here, and see the attacked modalities as one image in [0, 1]
whose middle is the clean input and whose edge the largest radius; ranges are clipped before the
model sees it.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attacks.objective import preserved
from attacks.region import Inputs
from attacks.scenario import Scenario, parse
from attacks.search_state import Found, SearchState, search_all
from benchmarks.problem import RADII, Cube, Curve, Problem, convolutional, generated, of_digits
from harness.engine.objective import TaskObjective
from harness.references.registry import resolve

AUTOATTACK_AT = 4  # index of the radius of (d): a quarter of the largest
PGD_STEPS, FOOLBOX_FMN_STEPS = 100, 100
SEEDS = (0, 1)


@dataclass
class Timed:
    """What one method gave: robust accuracy at each radius per scenario, seconds, gradient
    evaluations per sample.
    """

    curves: dict[str, Curve]
    seconds: float
    gradients: float


def scenarios(problem: Problem) -> list[Scenario]:
    """Every modality alone, and all together; L∞ throughout, as the libraries know no other joint
    attack.
    """
    singles = [parse(f"{name}@{ball}") for name, ball in problem.balls.items()]
    return [*singles, Scenario(tuple(ball for single in singles for ball in single.attacked))]


def read(found: dict[Scenario, Found], problem: Problem, count: int = RADII) -> dict[str, Curve]:
    """The robust accuracy of every scenario at its radii."""
    return {
        str(s): [(found[s].strength > radius).double().mean().item() for radius in problem.radii(s, count)]
        for s in scenarios(problem)
    }


def ours(problem: Problem, search: str, count: int = RADII) -> Timed:
    """(a)"""
    started = time.perf_counter()
    steps = search_all(
        resolve("search", search).target,
        problem.objective,
        problem.batch.inputs,
        problem.task.bounds(problem.batch),
        scenarios(problem),
        samples=problem.batch.samples,
    )
    found = dict(steps)
    curves = read(found, problem, count)
    spent = sum(each.gradients.double().mean().item() for each in found.values())
    return Timed(curves, time.perf_counter() - started, spent)


def per_radius(problem: Problem, attacked: Callable[[Cube, float], Tensor]) -> Timed:
    """An attack once per radius and scenario; `attacked` answers the images it found."""
    curves, calls, started = {}, 0, time.perf_counter()
    for scenario in scenarios(problem):
        cube = Cube(problem, scenario)
        curves[str(scenario)] = [withstood(cube, attacked(cube, radius)) for radius in problem.radii(scenario)]
        calls += cube.calls
    return Timed(curves, time.perf_counter() - started, calls / len(problem.batch))


@torch.no_grad()
def withstood(cube: Cube, image: Tensor) -> float:
    """The share that is still right: PGD answers its last iterate."""
    return (cube(image).argmax(1) == cube.objective.targets).double().mean().item()


def torchattacks_pgd(problem: Problem, seed: int) -> Timed:
    """(b)"""
    import torchattacks

    def attacked(cube: Cube, radius: float) -> Tensor:
        torch.manual_seed(seed)
        eps = cube.eps(radius)
        images: Tensor = torchattacks.PGD(cube, eps=eps, alpha=2.5 * eps / PGD_STEPS, steps=PGD_STEPS)(
            cube.middle, cube.objective.targets
        )
        return images

    return per_radius(problem, attacked)


def foolbox_pgd(problem: Problem) -> Timed:
    """(c), at each radius"""
    import foolbox

    def attacked(cube: Cube, radius: float) -> Tensor:
        torch.manual_seed(0)
        model = foolbox.PyTorchModel(cube.eval(), bounds=(0, 1), device=cube.place.device)
        images: Tensor = foolbox.attacks.LinfPGD(steps=40)(
            model, cube.middle, cube.objective.targets, epsilons=cube.eps(radius)
        )[1]
        return images

    return per_radius(problem, attacked)


def foolbox_fmn(problem: Problem) -> Timed:
    """(c), once: a minimum-norm attack gives the whole curve."""
    import foolbox

    curves, calls, started = {}, 0, time.perf_counter()
    for scenario in scenarios(problem):
        cube = Cube(problem, scenario).eval()
        model = foolbox.PyTorchModel(cube, bounds=(0, 1), device=cube.place.device)
        attack = foolbox.attacks.LInfFMNAttack(steps=FOOLBOX_FMN_STEPS)
        images = attack(model, cube.middle, cube.objective.targets, epsilons=None)[0]
        with torch.no_grad():
            fails = cube(images).argmax(1) != cube.objective.targets
            fails_clean = cube(cube.middle).argmax(1) != cube.objective.targets
        distance = (images - 0.5).abs().flatten(1).amax(1) * 2 * cube.top
        strength = torch.where(fails, distance, float("inf")).masked_fill(fails_clean, 0.0)
        curves[str(scenario)] = [(strength > radius).double().mean().item() for radius in problem.radii(scenario)]
        calls += cube.calls
    return Timed(curves, time.perf_counter() - started, calls / len(problem.batch))


def autoattack(problem: Problem) -> Timed:
    """(d), at one radius of every scenario"""
    import torchattacks

    curves, calls, started = {}, 0, time.perf_counter()
    for scenario in scenarios(problem):
        cube = Cube(problem, scenario, numbered=True)
        eps = cube.eps(problem.radii(scenario)[AUTOATTACK_AT])
        images = torchattacks.AutoAttack(cube, norm="Linf", eps=eps, seed=0, n_classes=problem.task.width)(
            cube.middle, cube.objective.targets
        )
        curves[str(scenario)] = [withstood(cube, images)]
        calls += cube.calls
    return Timed(curves, time.perf_counter() - started, calls / len(problem.batch))


def recorded(problem: Problem, search: str, scenario: Scenario) -> list[int]:
    """The batch size of every gradient evaluation of one scenario's search."""
    sizes: list[int] = []

    @dataclass(frozen=True, eq=False)
    class Watched(TaskObjective):
        def __call__(self, inputs: Inputs) -> Any:
            if torch.is_grad_enabled():
                sizes.append(len(self.targets))
            return super().__call__(inputs)

    plain = problem.objective
    state = SearchState(
        Watched(plain.model, plain.task, plain.targets, plain.present, {}),
        problem.region(scenario),
        problem.batch.samples,
        0,
        8.0,
    )
    resolve("search", search).target(state)
    return sizes


def bare(problem: Problem, scenario: Scenario, sizes: list[int]) -> float:
    """(e) seconds of a forward-backward loop over batches of the same sizes."""
    region, objective = problem.region(scenario), problem.objective
    largest = objective.holding(region.inputs, scenario.attacked_names)
    bound = {
        size: (largest.take(rows), region.take(rows))
        for size in set(sizes)
        for rows in [torch.arange(size, device=largest.targets.device)]
    }
    started = time.perf_counter()
    for size in sizes:
        part, at = bound[size]
        leaves = {name: x.detach().requires_grad_() for name, x in at.clean.items()}
        loss = nn.functional.cross_entropy(part.answers({**at.inputs, **leaves}), part.targets, reduction="sum")
        torch.autograd.grad(loss, list(leaves.values()))
    return time.perf_counter() - started


def overhead(problem: Problem, search: str) -> dict[str, float]:
    """Our time over (e), as a fraction, for the joint scenario attacked at once; of five turns
    each, the fastest counts.
    """
    scenario = scenarios(problem)[-1]
    sizes = recorded(problem, search, scenario)
    times, bares = [], []
    for _ in range(5):
        state = SearchState(problem.objective, problem.region(scenario), problem.batch.samples, 0, 8.0)
        started = time.perf_counter()
        resolve("search", search).target(state)
        times.append(time.perf_counter() - started)
        bares.append(bare(problem, scenario, sizes))
    return {
        "overhead": min(times) / min(bares) - 1,
        "ms_per_step": 1000 * min(bares) / len(sizes),
        "joint_seconds": min(times),
    }


def excess(mine: Timed, others: list[Timed]) -> tuple[float, float]:
    """Points of robust accuracy above the best of the others: the largest at any radius, the
    largest mean of a scenario.
    """
    worst, means = -100.0, []
    for scenario, curve in mine.curves.items():
        gaps = [100 * (here - min(other.curves[scenario][at] for other in others)) for at, here in enumerate(curve)]
        worst, means = max(worst, *gaps), [*means, sum(gaps) / len(gaps)]
    return worst, max(means)


def compare(problem: Problem, search: str) -> Iterator[tuple[str, Any]]:
    """Every measurement, one after the other."""
    turns = [(ours(problem, search), ours(problem, search, 4 * RADII)) for _ in range(3)]
    # of three turns, the fastest counts
    mine, fine = (min(each, key=attrgetter("seconds")) for each in zip(*turns, strict=True))
    yield "(a) search", mine
    yield "(a) at 64 radii", fine
    pgd = [torchattacks_pgd(problem, seed) for seed in SEEDS]
    yield "(b) torchattacks PGD, one seed", pgd[0]
    box = [foolbox_pgd(problem), foolbox_fmn(problem)]
    yield "(c) foolbox LinfPGD", box[0]
    yield "(c) foolbox FMN", box[1]
    auto = autoattack(problem)
    yield "(d) AutoAttack, one radius", auto
    worst, mean = excess(mine, [*pgd, *box])
    joint, usual = overhead(problem, search), overhead(convolutional(problem.batch.targets.device), search)
    at_auto = Timed({s: [curve[AUTOATTACK_AT]] for s, curve in mine.curves.items()}, 0, 0)
    yield (
        "ratios",
        {
            "speedup_vs_torchattacks": pgd[0].seconds / mine.seconds,
            "excess_points": worst,
            "mean_excess_points": mean,
            "autoattack_time_ratio": mine.seconds / auto.seconds,
            "autoattack_excess_points": excess(at_auto, [auto])[0],
            "overhead": usual["overhead"],
            "overhead_ms_per_step": usual["ms_per_step"],
            "overhead_of_case": joint["overhead"],
            "overhead_of_case_ms_per_step": joint["ms_per_step"],
            "radii_64_over_16": fine.seconds / mine.seconds,
            "subsets_7_over_1": mine.seconds / joint["joint_seconds"] if len(problem.task.modalities) == 3 else None,
        },
    )


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", choices=("digits", "generated"), default="digits")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--search", default="standard")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = torch.device(options.device)
    problem = {"digits": of_digits, "generated": generated}[options.case](options.samples, device)
    machine = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    )
    print(f"{options.case}, {len(problem.batch)} samples, {options.search}, {machine}, torch {torch.__version__}")
    ratios: dict[str, Any] = {}
    with preserved(problem.model):
        for name, result in compare(problem, options.search):
            if isinstance(result, Timed):
                print(f"\n{name}: {result.seconds:.1f} s, {result.gradients:.0f} gradient evaluations per sample")
                for scenario, curve in result.curves.items():
                    print(
                        f"  {scenario:55s} "
                        + " ".join(f"{100 * value:5.1f}" for value in curve[:: max(1, len(curve) // RADII)]),
                        flush=True,
                    )
            else:
                ratios = result
    for key, value in ratios.items():
        print(f"{key:28s} {value}")
    if options.json:
        options.json.write_text(
            json.dumps({"case": options.case, "samples": len(problem.batch), "machine": machine, **ratios}, indent=1)
            + "\n"
        )


if __name__ == "__main__":
    main()
