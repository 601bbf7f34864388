"""Memory of large maps: a cell of 512×512 pixels and 40 classes against the bare forward and
backward pass of its model.

Each runs in a process of its own, on Linux; what the process holds before the work begins is taken
off its peak. The engine fills batches up to multiples of eight, so fewer samples would be compared
with eight. `python -m benchmarks.large_maps --samples 8`.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.presets import FAST

CLASSES, SIDE, HIDDEN = 40, 512, 16
THRESHOLDS = (0.5,)
MIB = 1024
SHORT = replace(FAST, steps=2, rounds=1, ladder=16)


class Net(nn.Module):
    """Three convolutions over two aligned images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(4, HIDDEN, 3, padding=1), nn.ReLU(), nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1), nn.ReLU(),
            nn.Conv2d(HIDDEN, CLASSES, 1),
        )  # fmt: off

    def forward(self, inputs: dict[str, Tensor], present: Tensor | None = None) -> Tensor:
        found: Tensor = self.layers(torch.cat([inputs["rgb"], inputs["depth"]], 1))
        return found


def images(samples: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(samples, 4, SIDE, SIDE, generator=generator)
    return {"rgb": x[:, :3], "depth": x[:, 3:]}


def bare(samples: int) -> Callable[[], object]:
    """One pass forward and back to the inputs, with the loss that training has."""
    net, inputs = Net(), {name: x.requires_grad_() for name, x in images(samples).items()}
    targets = torch.randint(CLASSES, (samples, SIDE, SIDE))

    def run() -> object:
        return torch.autograd.grad(F.cross_entropy(net(inputs), targets), list(inputs.values()))

    return run


def cell(samples: int) -> Callable[[], object]:
    """A cell of the same samples: one scenario and one threshold; more follow each other. The
    search is short: its steps need the same memory each."""
    from attacks.scenario import parse
    from attacks.search_state import search_all
    from harness.engine import graded
    from harness.engine.objective import TaskObjective
    from harness.tasks import Segmentation, Task

    net, inputs = Net(), images(samples + 2)  # one more for each other split
    with torch.no_grad():
        targets = net(inputs).argmax(1)
    problem = Segmentation(CLASSES, (SIDE, SIDE), thresholds=THRESHOLDS)
    task = Task.from_arrays(
        inputs, targets, kinds=dict.fromkeys(inputs, "image"), ranges=dict.fromkeys(inputs, (0, 1)), problem=problem,
        splits=["train", "val", *["test"] * samples],
    )  # fmt: off
    batch = task.splits["test"]
    present = torch.ones(samples, 2, dtype=torch.bool)
    objective = TaskObjective(net, task, batch.targets, present, {})
    scenarios = [parse("rgb@linf:0.01")]

    def search(aim: TaskObjective, **watched: object) -> object:
        bounds = task.bounds(batch)
        return search_all(SHORT, aim, batch.inputs, bounds, scenarios, samples=batch.samples, **watched)  # type: ignore[arg-type]

    return lambda: list(graded.searched(search, objective, objective, batch.inputs, list(THRESHOLDS)))  # type: ignore[arg-type]


def used(name: str, samples: int) -> float:
    """The memory in MiB that the work adds to its process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (name, samples))


def _measured(name: str, samples: int) -> float:
    torch.set_num_threads(1)
    run = {"bare": bare, "cell": cell}[name](samples)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    run()
    return _resident("VmHWM") - before


def _resident(entry: str) -> float:
    """MiB in memory now (VmRSS) or at most (VmHWM)."""
    with Path("/proc/self/status").open(encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(entry)) / MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, default=8)
    samples = parser.parse_args().samples
    found = {name: used(name, samples) for name in ("bare", "cell")}
    print(f"{samples} samples: bare {found['bare']:.0f} MiB, cell {found['cell']:.0f} MiB,", end=" ")
    print(f"{found['cell'] / found['bare']:.2f} times as much")


if __name__ == "__main__":
    main()
