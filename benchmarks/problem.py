"""What `curve.py` attacks: a model on a batch, and its attacked modalities as one image for the
libraries that attack images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from attacks.region import Region
from attacks.scenario import Scenario
from harness.engine.loading import load_model, load_task
from harness.engine.objective import TaskObjective
from harness.references.registry import resolve
from harness.tasks import Batch, Task
from harness.training.train import Training, fit

RADII = 16
TOPS = {1: 4.0, 2: 2.0, 3: 1.5}  # the largest radius, in units of strength, by the number of attacked modalities
DIGITS = {"image": "linf:1.6", "audio": "linf:0.005", "text": "linf:0.1"}  # text relaxed, as the libraries need it
GENERATED = {"a": "linf:0.01", "b": "linf:0.03"}
Curve = list[float]


@dataclass
class Problem:
    """A model on a batch."""

    task: Task
    model: nn.Module
    batch: Batch
    balls: dict[str, str]

    @property
    def objective(self) -> TaskObjective:
        present = torch.ones(
            len(self.batch), len(self.task.modalities), dtype=torch.bool, device=self.batch.targets.device
        )
        return TaskObjective(self.model, self.task, self.batch.targets, present, {})

    def region(self, scenario: Scenario) -> Region:
        return Region.of(self.batch.inputs, self.task.bounds(self.batch), scenario)

    def radii(self, scenario: Scenario, count: int = RADII) -> Curve:
        top = TOPS[len(scenario.attacked)]
        return [top * (number + 1) / count for number in range(count)]


class Cube(nn.Module):
    """The attacked modalities as one image u in [0, 1]^N, as a classifier of images: x' = clip(x +
    2 t r (u - 1/2)).

    With `numbered`, pixels of 0 or 1 tell the sample, for an attack that hands on subsets of its
    batch; they are read at 1/2, so that eps must be smaller.
    """

    def __init__(self, problem: Problem, scenario: Scenario, numbered: bool = False) -> None:
        super().__init__()
        self.bits = len(problem.batch).bit_length() if numbered else 0
        self.region, self.top = problem.region(scenario), TOPS[len(scenario.attacked)]
        self.objective = problem.objective
        self.place = nn.Parameter(torch.zeros(1, device=problem.batch.targets.device))
        self.calls = 0

    @property
    def middle(self) -> Tensor:
        width = sum(x[0].numel() for x in self.region.clean.values())
        rows = torch.arange(len(self.region), device=self.place.device)
        numbers = (
            torch.stack([(rows >> bit) & 1 for bit in range(self.bits)], 1).float()
            if self.bits
            else rows[:, None][:, :0].float()
        )
        return torch.cat([torch.full((len(rows), width), 0.5, device=rows.device), numbers], 1)[:, None, None]

    def forward(self, image: Tensor) -> Tensor:
        self.calls += len(image) if torch.is_grad_enabled() else 0
        *parts, numbers = image.flatten(1).split(
            [*(x[0].numel() for x in self.region.clean.values()), self.bits], dim=1
        )
        region, objective = self.region, self.objective
        if self.bits:
            rows = ((numbers > 0.5).long() << torch.arange(self.bits, device=image.device)).sum(1)
            region, objective = region.take(rows), objective.take(rows)
        moved = {}
        for ball, part in zip(region.scenario.attacked, parts, strict=True):
            x = region.inputs[ball.modality]
            free = x + 2 * self.top * ball.radius * (part.view_as(x) - 0.5)
            # The gradient passes the clip: a value that a random start put outside its range can
            # come back.
            moved[ball.modality] = region.ranges[ball.modality].clamp(free.detach()) + (free - free.detach())
        return objective.outputs(region.complete(moved))

    def eps(self, radius: float) -> float:
        return radius / (2 * self.top)


def of_digits(samples: int, device: torch.device) -> Problem:
    """The embedded task; concat, trained as committed."""
    task = load_task("digits")
    return Problem(
        task, load_model("concat", task, device).module, task.splits["test"].take(range(samples)).to(device), DIGITS
    )


def generated(samples: int, device: torch.device, shape: tuple[int, ...] = (784,), learnt_from: int = 3_500) -> Problem:
    """Ten classes as noisy templates in two modalities, `a` of this shape and 512 numbers; a concat
    model, trained here.
    """
    generator = torch.Generator().manual_seed(0)
    held_out, width = 500, math.prod(shape)
    count = learnt_from + held_out + samples
    labels = torch.randint(10, (count,), generator=generator)
    a, b = (torch.randn(10, size, generator=generator)[labels] for size in (width, 512))
    inputs = {
        "a": (0.5 + 0.03 * a + 0.25 * torch.randn(count, width, generator=generator)).clamp(0, 1).view(count, *shape),
        "b": 0.12 * b + torch.randn(count, 512, generator=generator),
    }
    splits = ["test"] * samples + ["val"] * held_out + ["train"] * learnt_from
    kinds = {"a": "image"} if len(shape) > 1 else {}
    task = Task.from_arrays(inputs, labels, kinds=kinds, ranges={"a": (0, 1)}, balls=GENERATED, splits=splits)
    from rich.console import Console

    model, _ = fit(
        Training("arrays", "concat", epochs=4),
        task,
        resolve("recipe", "supervised").target(),
        device,
        Console(quiet=True),
    )
    return Problem(task, model, task.splits["test"].to(device), GENERATED)


def convolutional(device: torch.device) -> Problem:
    """A model that spends its time in convolutions, as users' models do: `a` is a picture of 3 x 32
    x 32.
    """
    return generated(64, device, (3, 32, 32), learnt_from=1_000)
